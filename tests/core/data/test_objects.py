"""Objects as network input: files, orientation, normalisation, augmentation, refusals."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.data.augment import NO_COLOR, ObjectAugmentConfig, augment_object
from gaussiancross.core.data.objects import (
    check_object,
    normalize_object,
    object_attributes,
    points_as_gaussians,
    read_object,
    resample,
    rotate_to_y_up,
    to_attributes,
    write_object_npz,
)
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import Gaussians, quat_multiply, quat_to_rotmat, transform_gaussians
from gaussiancross.core.io.ply import write_gaussians, write_points
from gaussiancross.core.io.splat import write_splat


def blob(n=200, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Gaussians(
        means=torch.randn(n, 3, generator=g) * torch.tensor([1.0, 2, 3]) + 5,
        quats=torch.randn(n, 4, generator=g),
        scales=torch.rand(n, 3, generator=g) * 0.2 + 0.01,
        opacities=torch.rand(n, generator=g) * 0.9 + 0.05,
        colors=torch.rand(n, 3, generator=g),
    )


def covariances(g):
    m = quat_to_rotmat(g.quats) * g.scales[:, None]
    return m @ m.transpose(1, 2)


class TestMoving:
    def test_covariances_follow(self):
        g, quat = blob(), torch.tensor([0.9, 0.1, -0.3, 0.2])
        out = transform_gaussians(g, quat, 2.5, torch.tensor([1.0, 2, 3]))
        linear = 2.5 * quat_to_rotmat(quat)
        torch.testing.assert_close(out.means, g.means @ linear.T + torch.tensor([1.0, 2, 3]))
        torch.testing.assert_close(covariances(out), linear @ covariances(g) @ linear.T, atol=1e-5, rtol=1e-4)
        assert torch.equal(out.colors, g.colors) and torch.equal(out.opacities, g.opacities)

    def test_product_of_quaternions_is_that_of_matrices(self):
        a, b = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(
            quat_to_rotmat(quat_multiply(a, b)), quat_to_rotmat(a) @ quat_to_rotmat(b), atol=1e-5, rtol=1e-4
        )

    @pytest.mark.parametrize(
        ("up", "axis"), [("y", [0, 1, 0]), ("z", [0, 0, 1]), ("-y", [0, -1, 0]), ("-z", [0, 0, -1])]
    )
    def test_up_becomes_y(self, up, axis):
        g = blob()
        top = replace(g, means=torch.tensor([axis], dtype=torch.float32).repeat(200, 1))
        turned = rotate_to_y_up(top, up).means[0]
        torch.testing.assert_close(turned, torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


class TestNormalising:
    def test_centre_and_radius(self):
        g = blob()
        out = normalize_object(g)
        torch.testing.assert_close(out.means.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
        assert float(out.means.norm(dim=1).max()) == pytest.approx(1, abs=1e-5)
        radius = (g.means - g.means.mean(0)).norm(dim=1).max()
        torch.testing.assert_close(out.scales.log(), g.scales.log() - radius.log())

    def test_place_and_size_do_not_matter(self):
        g = blob()
        other = transform_gaussians(g, torch.tensor([1.0, 0, 0, 0]), 0.01, torch.tensor([3.0, -9, 1]))
        torch.testing.assert_close(object_attributes(other, 200), object_attributes(g, 200), atol=1e-3, rtol=1e-3)

    def test_attributes(self):
        g = blob()
        a = to_attributes(g)
        assert a.shape == (200, 14)
        torch.testing.assert_close(a[:, 6].sigmoid(), g.opacities)
        torch.testing.assert_close(a[:, 7:10].exp(), g.scales)
        assert to_attributes(replace(g, opacities=torch.ones(200))).isfinite().all()

    @pytest.mark.parametrize(("size", "count"), [(10, 10), (10, 4), (10, 35)])
    def test_resampling(self, size, count):
        index = resample(size, count)
        counts = torch.bincount(index, minlength=size)
        assert len(index) == count and int(counts.max() - counts.min()) <= 1
        assert torch.equal(index, resample(size, count))
        if count != size:
            assert not torch.equal(index, resample(size, count, np.random.default_rng(5)))


class TestAugmenting:
    def test_everything_follows_one_similarity(self):
        g = normalize_object(blob())
        out = augment_object(g, ObjectAugmentConfig(color_drop=0), np.random.default_rng(0))
        shift = out.means.mean(0)
        size = (out.scales / g.scales).mean()
        assert 0.8 <= float(size) <= 1.25 and float(shift.abs().max()) <= 0.1
        a, b = g.means - g.means.mean(0), out.means - shift
        rotation = torch.linalg.lstsq(a, b / size).solution.T
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-4, rtol=0)
        expected = size**2 * rotation @ covariances(g) @ rotation.T
        torch.testing.assert_close(covariances(out), expected, atol=1e-5, rtol=1e-3)
        assert torch.equal(out.colors, g.colors)

    def test_up_stays_nearly_up(self):
        g, up = normalize_object(blob()), []
        for seed in range(30):
            out = augment_object(g, ObjectAugmentConfig(shift=0), np.random.default_rng(seed))
            rotation = torch.linalg.lstsq(g.means, out.means).solution.T
            up.append(float(rotation[1, 1] / rotation[:, 1].norm()))
        assert min(up) > np.cos(0.4) and min(up) < 1

    def test_colour_is_dropped_half_of_the_time(self):
        g = normalize_object(blob(64))
        drop = [
            bool((augment_object(g, ObjectAugmentConfig(), np.random.default_rng(s)).colors == NO_COLOR).all())
            for s in range(60)
        ]
        assert 15 < sum(drop) < 45

    def test_a_function_of_its_generator(self):
        g = blob(64)
        a, b = (to_attributes(augment_object(g, ObjectAugmentConfig(), np.random.default_rng(3))) for _ in range(2))
        assert torch.equal(a, b)


class TestFiles:
    def test_round_trips(self, tmp_path):
        g = blob()
        write_gaussians(tmp_path / "a.ply", g)
        write_object_npz(tmp_path / "a.npz", g)
        write_splat(tmp_path / "a.splat", g)
        for name, tolerance in (("a.ply", 1e-5), ("a.npz", 1e-3), ("a.splat", 0.02)):
            got = read_object(tmp_path / name)
            torch.testing.assert_close(got.means, g.means)
            torch.testing.assert_close(got.scales, g.scales, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(covariances(got), covariances(g), atol=tolerance * 0.05, rtol=tolerance * 5)
            torch.testing.assert_close(got.colors, g.colors, atol=tolerance, rtol=0)

    def test_a_point_cloud(self, tmp_path):
        rng = np.random.default_rng(0)
        coord = rng.uniform(size=(300, 3)).astype(np.float32)
        color = rng.integers(0, 255, (300, 3)).astype(np.uint8)
        write_points(tmp_path / "a.ply", PointScene("a", coord, color, np.zeros_like(coord)))
        g = read_object(tmp_path / "a.ply")
        np.testing.assert_allclose(g.means.numpy(), coord)
        np.testing.assert_allclose(g.colors.numpy(), color / 255, atol=1e-6)
        nearest = np.sort(np.linalg.norm(coord[:, None] - coord, axis=-1), 1)[:, 1:4]
        np.testing.assert_allclose(g.scales[:, 0].numpy(), np.sqrt((nearest**2).mean(1)), rtol=1e-3)

    def test_points_without_colour_and_copies(self):
        coord = np.repeat(np.random.default_rng(0).uniform(size=(40, 3)), 5, 0)
        g = points_as_gaussians(coord)
        assert bool((g.colors == NO_COLOR).all()) and bool((g.scales > 0).all())
        check_object(g, "copies")


class TestRefused:
    """One sentence each, with the file's name."""

    def check(self, path, g, match, write=write_gaussians):
        write(path, g)
        with warnings.catch_warnings(), pytest.raises(InputError, match=match) as error:
            warnings.simplefilter("ignore")
            read_object(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)

    def test_four_gaussians(self, tmp_path):
        self.check(tmp_path / "four.ply", blob(4), "at least 64 Gaussians, found 4")

    def test_nan_scales(self, tmp_path):
        bad = replace(blob(), scales=torch.full((200, 3), torch.nan))
        self.check(tmp_path / "a.ply", bad, "none of 200 usable: values that are not finite")
        self.check(tmp_path / "a.npz", bad, "200 of 200 with values that are not finite", write_object_npz)
        some = replace(blob(), scales=blob().scales.clone())
        some.scales[:150] = torch.nan
        self.check(tmp_path / "b.npz", some, "at least 64 usable Gaussians, found 150 of 200", write_object_npz)

    def test_zero_quaternions(self, tmp_path):
        bad = replace(blob(), quats=torch.zeros(200, 4))
        self.check(tmp_path / "a.ply", bad, "a rotation of zero length")
        self.check(tmp_path / "a.npz", bad, "a rotation of zero length", write_object_npz)

    def test_a_few_bad_ones_are_left_out_and_counted(self, tmp_path):
        g = blob()
        g.quats[:3] = 0
        write_object_npz(tmp_path / "a.npz", g)
        with pytest.warns(UserWarning, match="left out 3 of 200"):
            assert len(read_object(tmp_path / "a.npz")) == 197

    def test_all_at_one_place(self, tmp_path):
        self.check(tmp_path / "a.ply", replace(blob(), means=torch.ones(200, 3)), "all 200 at one place")

    def test_other_files(self, tmp_path):
        for name, match in (("a.obj", "the ending '.obj'"), ("a.npz", "no such file"), ("a.ply", "no such file")):
            with pytest.raises(InputError, match=match):
                read_object(tmp_path / name)
        np.savez(tmp_path / "b.npz", means=np.zeros((3, 3)))
        with pytest.raises(InputError, match="no quats, scales, opacities, colors"):
            read_object(tmp_path / "b.npz")
        (tmp_path / "c.npz").write_bytes(b"PK no zip")
        with pytest.raises(InputError, match="a damaged file"):
            read_object(tmp_path / "c.npz")
        np.savez(
            tmp_path / "d.npz", **{k: np.array([None]) for k in ("means", "quats", "scales", "opacities", "colors")}
        )
        with pytest.raises(InputError, match="a damaged file"):
            read_object(tmp_path / "d.npz")
        with pytest.raises(InputError, match="one of y, z"):
            read_object(tmp_path / "a.ply", "x")  # type: ignore[arg-type]


def test_a_captured_object(shared_data):
    path = shared_data / "splats" / "guitar.ply"
    if not path.exists():
        pytest.skip("no captured object")
    g = read_object(path, up="-y")
    a = object_attributes(g, 10_000)
    assert len(g) > 90_000 and a.shape == (10_000, 14) and a.isfinite().all()
    assert 0.9 < float(a[:, :3].norm(dim=1).max()) <= 1 + 1e-5
