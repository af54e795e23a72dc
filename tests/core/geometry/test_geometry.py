"""Cameras, the cuboid lattice and the augmentations that carry the cameras along."""

import numpy as np
import pytest
import torch
from gaussiancross.core.data.augment import (
    NO_AUGMENT,
    AugmentConfig,
    apply_transform,
    block_mask,
    random_mask,
    random_transform,
    voxelize,
)
from gaussiancross.core.data.batch import InputConfig, PointBatch, make_input
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.geometry.gaussians import Gaussians, quat_to_rotmat
from gaussiancross.core.geometry.lattice import CuboidLattice


def some_cameras() -> Cameras:
    eyes = torch.tensor([[3.0, 1.0, 1.5], [-2.0, 0.5, 1.0], [0.3, 0.2, 2.5]])
    viewmats = torch.stack([look_at(e, torch.tensor([0.2, -0.1, 0.8])) for e in eyes])
    return Cameras(viewmats, intrinsics(1.2, 64, 48).expand(3, 3, 3), 64, 48)


def some_points(n: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform([-2, -1, 0.1], [3, 2, 2.5], (n, 3)).astype(np.float32)


class TestCameras:
    def test_look_at_is_a_rotation_with_z_forward_and_y_down(self):
        viewmat = look_at(torch.tensor([3.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 1.0]))
        assert torch.det(viewmat[:3, :3]) == pytest.approx(1, abs=1e-6)
        assert (viewmat @ torch.tensor([1.0, 0.0, 1.0, 1.0]))[2] == pytest.approx(2, abs=1e-6)
        assert (viewmat @ torch.tensor([1.0, 0.0, 1.5, 1.0]))[1] < 0  # higher in the world is up in the image

    def test_autocast_does_not_move_pixels(self):
        cameras, points = some_cameras(), torch.from_numpy(some_points())
        depth = torch.full((3, 48, 64), 2.5)
        exact = (*cameras.project(points), cameras.unproject(depth))
        with torch.autocast("cpu", torch.bfloat16):
            cast = (*cameras.project(points), cameras.unproject(depth))
        assert all(torch.equal(a, b) for a, b in zip(exact, cast, strict=True))

    def test_looking_straight_down_works(self):
        viewmat = look_at(torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0.0, 0.0, 0.0]))
        assert torch.isfinite(viewmat).all()
        assert torch.det(viewmat[:3, :3]) == pytest.approx(1, abs=1e-6)

    def test_unproject_inverts_project(self):
        cameras = some_cameras()
        depth = torch.rand(3, 48, 64) * 3 + 0.5
        points = cameras.unproject(depth)
        for c in range(3):
            uv, z = cameras[c].project(points[c].reshape(-1, 3))
            assert torch.allclose(z[0], depth[c].flatten(), atol=1e-5)
            j, i = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(48) + 0.5, indexing="xy")
            assert torch.allclose(uv[0], torch.stack([j, i], -1).reshape(-1, 2), atol=1e-3)

    def test_resized_keeps_the_relative_position(self):
        points = torch.from_numpy(some_points())
        a, _ = some_cameras().project(points)
        b, _ = some_cameras().resized(32, 12).project(points)
        assert torch.allclose(a / torch.tensor([64, 48]), b / torch.tensor([32, 12]), rtol=1e-4, atol=1e-4)

    def test_wrong_shapes_are_refused(self):
        with pytest.raises(InputError, match="viewmats"):
            Cameras(torch.eye(4), torch.eye(3)[None], 4, 4)


class TestAugment:
    @pytest.mark.parametrize("seed", range(20))
    def test_cameras_follow_and_depth_stays_metric(self, seed):
        """Regression of three faults of the published code base: the centre shift must reach the extrinsics, and scaled
        or mirrored scenes must still project to the same pixel at the same *metric* depth."""
        coord = some_points() + np.float32([10, -7, 3])
        shift = torch.eye(4)
        shift[:3, 3] = torch.tensor([10.0, -7.0, 3.0])
        cameras = some_cameras().transformed(shift)
        config = AugmentConfig(rotate_probability=1.0, scale=(0.5, 2.0))
        transform = random_transform(coord, config, np.random.default_rng(seed))
        moved, _ = apply_transform(transform, coord, np.zeros_like(coord))
        uv, z = cameras.project(torch.from_numpy(coord))
        uv2, z2 = cameras.transformed(torch.from_numpy(transform)).project(torch.from_numpy(moved))
        assert torch.allclose(z, z2, atol=1e-4)
        front = z > 0.2
        assert torch.allclose(uv[front], uv2[front], atol=2e-2)

    def test_scale_and_flips_are_in_the_extrinsics(self):
        coord = some_points()
        config = AugmentConfig(rotate_probability=0.0, scale=(2.0, 2.0), flip_probability=0.5)
        dets = set()
        for seed in range(20):
            transform = random_transform(coord, config, np.random.default_rng(seed))
            viewmats = some_cameras().transformed(torch.from_numpy(transform)).viewmats
            dets.add(round(float(torch.det(viewmats[0, :3, :3])), 4))
        assert dets == {0.125, -0.125}

    def test_center_puts_the_floor_at_zero(self):
        coord = some_points()
        moved, _ = apply_transform(random_transform(coord, NO_AUGMENT, np.random.default_rng(0)), coord, coord)
        assert moved[:, 2].min() == pytest.approx(0, abs=1e-5)
        assert (moved[:, :2].min(0) + moved[:, :2].max(0)) == pytest.approx([0, 0], abs=1e-5)

    def test_normals_stay_unit_and_perpendicular(self):
        rng = np.random.default_rng(1)
        a, b = rng.normal(size=(2, 50, 3))
        normal = np.cross(a, b)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        normal[0] = 0
        config = AugmentConfig(rotate_probability=1.0, rotate_xy=0.3, flip_probability=1.0, scale=(0.7, 0.7))
        transform = random_transform(a, config, rng)
        moved, turned = apply_transform(transform, a, normal)
        origin, _ = apply_transform(transform, np.zeros((1, 3)), np.zeros((1, 3)))
        assert np.linalg.norm(turned[1:], axis=1) == pytest.approx(1, abs=1e-5)
        assert (turned[0] == 0).all()
        assert ((moved - origin) * turned).sum(1) == pytest.approx(0, abs=1e-5)

    def test_mask_hides_the_exact_share(self):
        assert random_mask(101, 0.5, np.random.default_rng(0)).sum() == round(50.5)
        assert random_mask(1, 0.9, np.random.default_rng(0)).sum() == 0

    def test_block_mask_hides_whole_blocks(self):
        coord = some_points(2000)
        masked = block_mask(coord, 0.5, 0.5, np.random.default_rng(0))
        _, _, block = voxelize(coord, 0.5)
        shares = np.bincount(block, masked) / np.bincount(block)
        assert set(shares.tolist()) == {0.0, 1.0}
        assert 0.3 < masked.mean() < 0.7

    def test_voxelize_keeps_one_point_per_voxel(self):
        coord = some_points(3000)
        grid, index, inverse = voxelize(coord, 0.25, np.random.default_rng(0))
        expected = np.floor(coord / 0.25).astype(int)
        expected -= expected.min(0)
        assert len(np.unique(expected, axis=0)) == len(grid) == len(np.unique(grid, axis=0))
        assert (expected[index] == grid).all()
        assert (grid[inverse] == expected).all()

    def test_without_a_generator_nothing_is_random_or_dropped(self):
        scene = PointScene("s", some_points(500), np.zeros((500, 3), np.uint8), np.zeros((500, 3), np.float32))
        config = InputConfig(voxel_size=0.2, max_points=100)
        a, b = make_input(scene, config), make_input(scene, config)
        assert len(a.inverse) == 500
        assert torch.equal(a.points.coord, b.points.coord)

    def test_random_input_is_masked_and_subsampled(self):
        scene = PointScene("s", some_points(500), np.zeros((500, 3), np.uint8), np.zeros((500, 3), np.float32))
        given = make_input(scene, InputConfig(0.001, max_points=100), np.random.default_rng(0), AugmentConfig())
        assert len(given.inverse) == 50
        both = PointBatch.cat([given.points, given.points])
        assert both.offset.tolist() == [50, 100]
        assert both.spans() == [slice(0, 50), slice(50, 100)]

    def test_colours_and_normals_are_dropped_as_often_as_configured(self):
        """Whole scenes lose colours or normals with the configured chance, and some others those of a fifth."""
        n = 400
        normal = np.tile(np.array([[0, 0, 1]], np.float32), (n, 1))
        scene = PointScene("s", some_points(n), np.full((n, 3), 255, np.uint8), normal)
        config = InputConfig(0.001, mask_ratio=0.0, color_drop=0.5, normal_drop=0.2)
        shares = []
        for seed in range(200):
            feat = make_input(scene, config, np.random.default_rng(seed)).points.feat
            shares.append([float((feat[:, part] == 0).all(1).float().mean()) for part in (slice(0, 3), slice(3, 6))])
        color, normal = np.array(shares).T
        assert 0.4 < (color == 1).mean() < 0.6 and 0.12 < (normal == 1).mean() < 0.28
        partly = color[(color > 0) & (color < 1)]
        assert 0.15 < len(partly) / 200 < 0.35 and 0.15 < partly.mean() < 0.25
        assert (make_input(scene, config).points.feat == make_input(scene, InputConfig(0.001)).points.feat).all()


class TestCuboid:
    def test_ponder_is_the_normalised_lattice_mapped_back(self):
        """Spec: isotropic scale 1/extent, x and y centred, floor at z = −0.5, cells by floor((u + 0.5) · shape)."""
        coord = torch.from_numpy(some_points())
        shape = (16, 16, 8)
        lattice = CuboidLattice.ponder(coord, shape)
        low, high = coord.amin(0) - 1e-5, coord.amax(0) + 1e-5
        unit = (coord - (low + high) / 2) / (high - low).max()
        unit[:, 2] = (coord[:, 2] - low[2]) / (high - low).max() - 0.5
        cell = ((unit.clamp(-0.5 + 1e-5, 0.5 - 1e-5) + 0.5) * torch.tensor(shape)).long()
        flat = (cell[:, 0] * 16 + cell[:, 1]) * 8 + cell[:, 2]
        assert (lattice.cell_index(coord) == flat).float().mean() > 0.99  # float rounding at cell borders

    def test_ponder_spends_cells_on_empty_height_and_cuboid_does_not(self):
        coord = torch.from_numpy(some_points(5000) * np.float32([1, 1, 0.2]))
        ponder = CuboidLattice.ponder(coord, (32, 32, 16))
        cuboid = CuboidLattice.cuboid(coord, ponder.num_cells)
        assert ponder.centers()[:, 2].max() > coord[:, 2].max() * 2
        assert cuboid.centers()[:, 2].max() < coord[:, 2].max()
        assert cuboid.pitch.max() / cuboid.pitch.min() < 2
        assert all(s % 8 == 0 for s in cuboid.shape)
        assert 0.5 < cuboid.num_cells / ponder.num_cells < 2

    def test_every_center_lies_in_its_own_cell(self):
        lattice = CuboidLattice(torch.tensor([1.0, 2, 3]), torch.tensor([0.1, 0.2, 0.3]), (3, 4, 5))
        assert torch.equal(lattice.cell_index(lattice.centers()), torch.arange(60))

    def test_points_outside_go_to_the_border(self):
        lattice = CuboidLattice(torch.zeros(3), torch.ones(3), (2, 2, 2))
        assert lattice.cell_index(torch.tensor([[-5.0, 0.5, 9.0]])).tolist() == [1]

    def test_scatter_mean_against_a_loop(self):
        coord = torch.from_numpy(some_points(300))
        feat = torch.randn(300, 4)
        lattice = CuboidLattice.cuboid(coord, 200, multiple=2)
        volume, count = lattice.scatter_mean(feat, coord)
        index = lattice.cell_index(coord)
        for cell in range(lattice.num_cells):
            rows = feat[index == cell]
            assert count.flatten()[cell] == len(rows)
            expected = rows.mean(0) if len(rows) else torch.zeros(4)
            assert torch.allclose(volume.flatten(1)[:, cell], expected, atol=1e-5)

    def test_scatter_mean_is_exact_in_half_precision(self):
        coord = torch.rand(5000, 3)
        lattice = CuboidLattice.cuboid(coord, 2, multiple=1)
        feat = torch.rand(5000, 2)
        exact, _ = lattice.scatter_mean(feat, coord)
        volume, count = lattice.scatter_mean(feat.bfloat16(), coord)
        assert volume.dtype == torch.bfloat16
        assert count.sum() == 5000
        assert (volume.float() - exact).abs().max() < 0.01

    def test_sample_at_centers_returns_the_cells_and_is_linear_between(self):
        lattice = CuboidLattice(torch.zeros(3), torch.tensor([0.5, 1.0, 2.0]), (2, 3, 4))
        volume = torch.randn(5, 2, 3, 4)
        assert torch.allclose(lattice.sample(volume, lattice.centers()), volume.flatten(1).T, atol=1e-6)
        middle = torch.tensor([[0.25, 1.0, 1.0]])
        assert torch.allclose(lattice.sample(volume, middle)[0], volume[:, 0, :2, 0].mean(1), atol=1e-6)

    @pytest.mark.parametrize("coord", [torch.zeros(0, 3), torch.zeros(4, 2)])
    def test_nothing_to_span_is_refused(self, coord):
        with pytest.raises(InputError, match="points of shape"):
            CuboidLattice.ponder(coord)

    def test_a_single_point_gives_finite_cells(self):
        for lattice in (CuboidLattice.ponder(torch.ones(1, 3), (8, 8, 8)), CuboidLattice.cuboid(torch.ones(1, 3), 64)):
            assert (lattice.pitch > 0).all()
            assert torch.isfinite(lattice.scatter_mean(torch.ones(1, 2), torch.ones(1, 3))[0]).all()


class TestNouns:
    def test_gaussians_check_shapes_and_concatenate(self):
        g = Gaussians(torch.zeros(3, 3), torch.zeros(3, 4), torch.ones(3, 3), torch.ones(3), torch.ones(3, 3))
        assert len(Gaussians.cat([g, g[torch.tensor([0, 2])]])) == 5
        with pytest.raises(InputError, match=r"Gaussians\.quats"):
            Gaussians(torch.zeros(3, 3), torch.zeros(3, 3), torch.ones(3, 3), torch.ones(3), torch.ones(3, 3))
        with_features = Gaussians(g.means, g.quats, g.scales, g.opacities, g.colors, torch.ones(3, 2))
        with pytest.raises(InputError, match="features"):
            Gaussians.cat([g, with_features])

    def test_quaternions_of_any_length_are_rotations(self):
        rotation = quat_to_rotmat(torch.tensor([[0.0, 0, 0, 5.0], [2.0, 0, 0, 0]]))
        assert torch.allclose(rotation[0], torch.diag(torch.tensor([-1.0, -1, 1])), atol=1e-6)
        assert torch.allclose(rotation[1], torch.eye(3))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"coord": np.zeros((1, 3), np.float32)}, "at least 2 points"),
            ({"coord": np.full((200, 3), np.nan, np.float32)}, "finite coordinates"),
            ({"color": np.ones((200, 3), np.float32)}, "uint8"),
            ({"color": np.ones((200, 3), np.uint8)}, "only 0 and 1"),
            ({"normal": np.ones((199, 3), np.float32)}, r"normal of shape \(200, 3\)"),
            ({"segment": np.zeros(7, np.int64)}, "segment of shape"),
        ],
    )
    def test_an_unusable_scene_is_an_input_error(self, change, message):
        good = {
            "coord": some_points(),
            "color": np.full((200, 3), 9, np.uint8),
            "normal": np.zeros((200, 3), np.float32),
        }
        PointScene("good", **good).validated()
        with pytest.raises(InputError, match=message) as error:
            PointScene("kitchen", **{**good, **change}).validated()
        assert "kitchen" in str(error.value)
