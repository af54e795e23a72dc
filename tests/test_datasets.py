"""Captures, Pointcept folders and `open_dataset`, on a synthetic room whose depth is known exactly."""

import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.classes import S3DIS, SCANNET20, SCANNET200
from gaussiancross.core.data.scene import PointScene, PosedFrames
from gaussiancross.core.datasets import (
    Capture,
    PointceptDataset,
    fuse_points,
    open_dataset,
    open_scenes,
    read_pointcept_scene,
    read_rgbd_export,
)
from gaussiancross.core.datasets.rooms import Rooms
from gaussiancross.core.datasets.scenes import capture
from gaussiancross.core.datasets.scenes.capture import guess_up, hold_out
from gaussiancross.core.datasets.scenes.pose_check import check_poses
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import look_at
from gaussiancross.core.io import read_transforms, write_color, write_depth, write_points
from gaussiancross.core.io.frames import Lens

LIVINGROOM = Path(__file__).parents[2] / "shared" / "data" / "livingroom"

ROOM = np.array([4.0, 3.0, 2.5])
"""The room spans 0 … ROOM; x, y, z in metres, z up."""

SIZE = (64, 48)
FOCAL = 50.0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path_factory.mktemp("cache")))


def wall_color(points: np.ndarray) -> np.ndarray:
    """Colour of points on the walls: where they are, as RGB."""
    return (points / ROOM * 255).clip(0, 255)


def view(
    w2c: np.ndarray, size: tuple[int, int] = SIZE, f: float = FOCAL, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """What a pinhole camera in the room sees, its principal point ``shift`` pixels off the centre: RGB u8, z u16 mm."""
    w, h = size
    c2w = np.linalg.inv(w2c)
    v, u = np.mgrid[0:h, 0:w] + 0.5
    rays = np.stack([(u - w / 2 - shift) / f, (v - h / 2) / f, np.ones_like(u)], -1) @ c2w[:3, :3].T
    eye = c2w[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        exits = np.where(rays > 0, (ROOM - eye) / rays, np.where(rays < 0, -eye / rays, np.inf))
    z = exits.min(-1)
    color = wall_color(eye + rays * z[..., None])
    return (color + 0.5).astype(np.uint8), (z * 1000 + 0.5).astype(np.uint16)


def poses(count: int) -> list[np.ndarray]:
    """World → camera of cameras that walk around the middle of the room and look at its walls."""
    out = []
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        eye = torch.tensor([2 + 0.5 * np.cos(angle), 1.5 + 0.5 * np.sin(angle), 1.2], dtype=torch.float64)
        target = eye + torch.tensor([np.cos(angle), np.sin(angle), 0.3 * np.sin(3 * angle) - 0.1])
        out.append(look_at(eye, target).numpy())
    return out


def write_export(folder: Path, count: int = 12, suffix: str = "png", turn: np.ndarray | None = None) -> Path:
    """The room as an RGB-D export; ``turn`` [4, 4] moves its world."""
    for part in ("color", "depth", "pose", "intrinsic"):
        (folder / part).mkdir(parents=True)
    K = np.array([[FOCAL, 0, SIZE[0] / 2 - 0.5, 0], [0, FOCAL, SIZE[1] / 2 - 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for which in ("color", "depth"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{which}.txt", K)
    for i, w2c in enumerate(poses(count)):
        color, depth = view(w2c)
        write_color(folder / "color" / f"{i}.{suffix}", color)
        write_depth(folder / "depth" / f"{i}.png", depth)
        world = np.eye(4) if turn is None else turn
        np.savetxt(folder / "pose" / f"{i}.txt", world @ np.linalg.inv(w2c))
    return folder


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "room")


def wall_distance(points: np.ndarray) -> np.ndarray:
    """How far points lie from the nearest wall plane."""
    return np.minimum(np.abs(points), np.abs(points - ROOM)).min(1)


class TestRgbdExport:
    def test_frames_in_capture_order_with_our_pixel_centres(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        assert frames.names == tuple(map(str, range(12)))  # 9 before 10
        assert frames.skipped == {}
        assert (frames.cameras.width, frames.cameras.height) == SIZE
        assert frames.cameras.Ks[3].tolist() == [[FOCAL, 0, 32], [0, FOCAL, 24], [0, 0, 1]]
        assert np.allclose(frames.cameras.viewmats.numpy(), np.stack(poses(12)), atol=1e-5)

    def test_depth_is_metric_and_lies_on_the_walls(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        color, depth, cameras = frames.stack([0, 5], *SIZE)
        points = cameras.unproject(depth).reshape(-1, 3).numpy()
        assert wall_distance(points).max() < 2e-3  # half a millimetre of rounding, seen at a slant
        assert np.abs(wall_color(points) / 255 - color.reshape(-1, 3).numpy()).max() < 5e-3

    def test_small_frames_average_colour_and_pick_depth(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        full, small = frames.read(2, *SIZE), frames.read(2, 16, 12)
        boxes = full.color.reshape(12, 4, 16, 4, 3).mean((1, 3))
        assert np.abs(small.color - boxes).max() <= 1 / 255 + 1e-6  # two passes, each rounded
        assert np.array_equal(small.depth, full.depth[2::4, 2::4])

    def test_frames_are_independent_copies_and_cached(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        frames.read(0, 16, 12).depth[:] = -1
        shutil.rmtree(export / "depth")
        assert frames.read(0, 16, 12).depth.min() > 0

    def test_unusable_frames_are_counted(self, export: Path) -> None:
        (export / "pose" / "0.txt").write_text("-inf " * 16)
        (export / "pose" / "1.txt").write_text("1 2 3")
        (export / "pose" / "2.txt").unlink()
        (export / "depth" / "3.png").unlink()
        np.savetxt(export / "pose" / "4.txt", np.diag([2.0, 2, 2, 1]))
        write_depth(export / "depth" / "5.png", np.ones((24, 32), np.uint16))
        (export / "color" / "6.png").write_bytes(b"")
        (export / "color" / "7.png").unlink()
        (export / "pose" / "8.txt").write_text("nan " * 16)
        frames = read_rgbd_export(export)
        assert frames.names == ("9", "10", "11")
        assert frames.skipped == {
            "pose not finite": 2,
            "unreadable pose": 1,
            "no pose": 1,
            "no depth image": 1,
            "pose not a rigid motion": 1,
            "images of another size": 1,
            "unreadable image": 1,
            "no colour image": 1,
        }

    def test_no_usable_frame(self, export: Path) -> None:
        for path in (export / "pose").iterdir():
            path.write_text("-inf " * 16)
        with pytest.raises(InputError, match=r"usable frame, found none \(12 × pose not finite"):
            read_rgbd_export(export)

    def test_not_an_export(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such folder"):
            read_rgbd_export(tmp_path / "none")
        (tmp_path / "color").mkdir()
        with pytest.raises(InputError, match="no depth/, no pose/"):
            read_rgbd_export(tmp_path)

    @pytest.mark.parametrize("part", ["color/3.png", "color/3.jpg", "depth/3.png"])
    def test_truncated_images(self, tmp_path: Path, part: str) -> None:
        export = write_export(tmp_path / "room", 4, "jpg" if part.endswith("jpg") else "png")
        data = (export / part).read_bytes()
        for cut in (60, len(data) // 3, len(data) // 2, len(data) * 9 // 10):
            (export / part).write_bytes(data[:cut])
            frames = read_rgbd_export(export)
            if "3" in frames.names:  # its header was whole
                with pytest.raises(InputError, match=f"{Path(part).name}.*cannot be decoded"):
                    frames.read(frames.names.index("3"), 16, 12)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1 2 3", "3 numbers"),
            ("a b", "something else"),
            ("0 0 9 0 9 9 0 0 1", "positive, finite"),
            ("500 0 320 0 500 240 0 0 1", "64×48 image.*320.5"),
        ],
    )
    def test_bad_intrinsics(self, export: Path, text: str, message: str) -> None:
        (export / "intrinsic" / "intrinsic_depth.txt").write_text(text)
        with pytest.raises(InputError, match=message):
            read_rgbd_export(export)

    @pytest.mark.parametrize("shift", [0.0, 6.5])
    def test_colour_of_another_camera_is_resampled_to_the_depths(self, export: Path, shift: float) -> None:
        size, f = (200, 140), 120.0  # wider field of view, more pixels, off-centre
        for i, w2c in enumerate(poses(12)):
            write_color(export / "color" / f"{i}.png", view(w2c, size, f, shift)[0])
        K = [[f, 0, size[0] / 2 + shift - 0.5], [0, f, size[1] / 2 - 0.5], [0, 0, 1]]
        np.savetxt(export / "intrinsic" / "intrinsic_color.txt", K)
        frames = read_rgbd_export(export)
        color, depth, cameras = frames.stack([1, 4], *SIZE)
        expected = wall_color(cameras.unproject(depth).reshape(-1, 3).numpy()) / 255
        error = np.abs(expected - color.reshape(-1, 3).numpy())
        assert np.percentile(error, 95) < 0.012  # half a pixel off would be 0.03
        assert error.mean() < 0.004

    def test_colour_that_misses_the_depths_view(self, export: Path) -> None:
        np.savetxt(export / "intrinsic" / "intrinsic_color.txt", [[80, 0, 31.5], [0, 80, 23.5], [0, 0, 1]])
        with pytest.raises(InputError, match=r"covers the depth camera's view.*short of it"):
            read_rgbd_export(export).read(0, *SIZE)

    def test_stale_colour_intrinsics_of_resized_images_are_not_used(self, export: Path) -> None:
        np.savetxt(export / "intrinsic" / "intrinsic_color.txt", [[1170, 0, 647.75], [0, 1170, 483.75], [0, 0, 1]])
        color = read_rgbd_export(export).read(0, *SIZE).color
        assert np.array_equal((color * 255).round().astype(np.uint8), view(poses(12)[0])[0])

    def test_max_frames_are_evenly_spaced(self, export: Path) -> None:
        assert read_rgbd_export(export, max_frames=4).names == ("0", "4", "7", "11")


class TestFuse:
    def test_points_on_the_walls_with_colours_and_normals(self, export: Path) -> None:
        scene = fuse_points(read_rgbd_export(export), stride=1, voxel=0.05)
        assert len(scene) > 3000
        assert wall_distance(scene.coord).max() < 2e-3 + 0.02  # voxels across a corner average two walls
        assert np.median(wall_distance(scene.coord)) < 1e-3
        assert np.percentile(np.abs(wall_color(scene.coord) - scene.color), 99) < 3
        known = np.linalg.norm(scene.normal, axis=1) > 0
        assert known.mean() > 0.8
        for axis in range(3):  # inside a wall, away from corners
            rest = [a for a in range(3) if a != axis]
            inner = ((scene.coord[:, rest] > 0.2) & (scene.coord[:, rest] < ROOM[rest] - 0.2)).all(1) & known
            for side, sign in ((0.0, 1.0), (ROOM[axis], -1.0)):
                wall = inner & (np.abs(scene.coord[:, axis] - side) < 5e-3)
                if wall.sum() > 20:
                    assert (sign * scene.normal[wall, axis]).min() > 0.99

    def test_one_point_per_voxel_in_a_fixed_order(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        a, b = fuse_points(frames, voxel=0.1), fuse_points(frames, voxel=0.1)
        assert np.array_equal(a.coord, b.coord)
        cells = np.floor(a.coord.astype(np.float64) / 0.1 + 1e-6).astype(int)
        assert len(np.unique(cells, axis=0)) > 0.97 * len(a)

    def test_only_the_frames_asked_for(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        both = fuse_points(frames, [1, 7])
        assert np.array_equal(both.coord, fuse_points(frames.subset([1, 7])).coord)
        assert len(both) < len(fuse_points(frames))

    def test_flying_pixels_and_far_depth_are_dropped(self, export: Path) -> None:
        depth = np.full(SIZE[::-1], 1000, np.uint16)
        depth[:, 30:] = 2000
        depth[:, 29] = 1500  # between the two surfaces
        depth[:, 60:] = 9000
        write_depth(export / "depth" / "0.png", depth)
        scene = fuse_points(read_rgbd_export(export), [0], stride=1, max_depth=6.0)
        z = scene.coord.astype(np.float64) @ poses(12)[0][2, :3] + poses(12)[0][2, 3]
        assert np.isclose(z, 1.0, atol=1e-3).any()
        assert np.isclose(z, 2.0, atol=1e-3).any()
        assert (np.minimum(abs(z - 1), abs(z - 2)) < 1e-3).all()

    def test_outliers_seen_once_are_dropped(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        one = np.zeros(SIZE[::-1], np.uint16)
        one[20:30, 20:30] = 1000  # 20 cm of surface, and
        one[5, 50] = 1000  # one stray pixel of 2 cm
        write_depth(export / "depth" / "0.png", one)
        kept, everything = (fuse_points(frames, [0], voxel=0.1, min_cover=c) for c in (0.25, 0.0))
        assert 0 < len(kept) < len(everything)
        assert (np.linalg.norm(kept.coord - kept.coord.mean(0), axis=1) < 0.2).all()

    def test_no_depth_at_all(self, export: Path) -> None:
        for path in (export / "depth").iterdir():
            write_depth(path, np.zeros(SIZE[::-1], np.uint16))
        frames = read_rgbd_export(export)
        with pytest.raises(InputError, match=r"depth between 0 and 6 m.*none in 12 frames"):
            fuse_points(frames)
        with pytest.raises(InputError, match="at least one frame"):
            fuse_points(frames, [])


@pytest.mark.parametrize(
    ("count", "every", "held"), [(43, 6, [3, 9, 15, 21, 27, 33, 39]), (3, 6, [2]), (1, 6, []), (5, 0, []), (0, 6, [])]
)
def test_hold_out(count: int, every: int, held: list[int]) -> None:
    train, back = hold_out(count, every)
    assert back == held
    assert sorted(train + back) == list(range(count))


class TestCapture:
    def test_train_and_val_share_the_scene_and_split_the_frames(self, export: Path) -> None:
        train, val = Capture(export, "train"), Capture(export, "val")
        a, b = train.frames(0), val.frames(0)
        assert a is not None
        assert b is not None
        assert b.names == ("3", "9")
        assert a.names == tuple(str(i) for i in range(12) if i not in (3, 9))
        assert train.names == val.names == ("room",)
        assert np.array_equal(train.scene(0).coord, val.scene(0).coord)
        assert np.allclose(b.cameras.viewmats[1].numpy(), poses(12)[9], atol=1e-5)

    def test_held_out_frames_leave_no_trace_in_the_scene(self, export: Path) -> None:
        before = Capture(export, "val").scene(0)
        for i in (3, 9):
            write_depth(export / "depth" / f"{i}.png", np.full(SIZE[::-1], 300, np.uint16))
            write_color(export / "color" / f"{i}.png", np.zeros((*SIZE[::-1], 3), np.uint8))
        after = Capture(export, "val").scene(0)
        assert np.array_equal(before.coord, after.coord)
        assert np.array_equal(before.color, after.color)

    @pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
    def test_up_axis_turns_points_and_cameras_alike(self, tmp_path: Path, up: str) -> None:
        """The room stored with another axis up comes out z up, and looks the same to its cameras."""
        to_z = np.array(capture._UP_ROTATIONS[up], np.float64)
        assert np.linalg.det(to_z) == pytest.approx(1)
        assert (to_z @ ({"x": 0, "y": 1, "z": 2}[up[-1]] == np.arange(3)) * (-1 if "-" in up else 1)).tolist() == [
            0,
            0,
            1,
        ]
        turn = np.eye(4)
        turn[:3, :3] = to_z.T
        folder = write_export(tmp_path / "turned", turn=turn)
        assert guess_up(read_rgbd_export(folder)) == up
        for option in ("auto", up):
            dataset = Capture(folder, up_axis=option)  # type: ignore[arg-type]
            assert np.median(wall_distance(dataset.scene(0).coord)) < 1e-3
            frames = dataset.frames(0)
            assert frames is not None
            kept = [i for i in range(12) if i not in (3, 9)]
            assert np.allclose(frames.cameras.viewmats.numpy(), np.stack(poses(12))[kept], atol=1e-5)
        assert torch.equal(dataset.rotation(0)[:3, :3], torch.tensor(to_z, dtype=torch.float32))

    def test_fused_once(self, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []
        fuse = capture.fuse_points
        monkeypatch.setattr(capture, "fuse_points", lambda *a, **k: (calls.append(1), fuse(*a, **k))[1])
        first = Capture(export).scene(0)
        again = Capture(export, "val").scene(0)
        assert len(calls) == 1
        for name in ("coord", "color", "normal"):
            assert np.array_equal(first.arrays()[name], again.arrays()[name])
        Capture(export, voxel=0.05).scene(0)
        assert len(calls) == 2
        os.utime(export / "depth" / "0.png", (1, 1))
        Capture(export).scene(0)
        assert len(calls) == 3
        cached = sorted(capture.cache_folder().rglob("*.safetensors"), key=lambda p: p.stat().st_mtime)
        for path in cached:
            path.write_bytes(path.read_bytes()[:-100])  # damaged: made again
        assert np.array_equal(Capture(export).scene(0).coord, first.coord)
        assert len(calls) == 4

    def test_cache_that_cannot_be_written_is_only_a_warning(
        self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "file"))
        dataset = Capture(export)
        with pytest.warns(UserWarning, match="cannot be kept"):
            scene = dataset.scene(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert dataset.scene(0) is scene

    def test_folder_of_captures(self, tmp_path: Path) -> None:
        write_export(tmp_path / "all" / "rgbd" / "b", 3)
        write_export(tmp_path / "all" / "rgbd" / "a", 2)
        dataset = Capture(tmp_path / "all")
        assert dataset.names == ("a", "b")
        assert [len(dataset.frames(i) or ()) for i in (0, 1)] == [1, 2]
        assert dataset.scene(1).name == "b"

    def test_capture_of_one_frame_has_nothing_to_hold_out(self, tmp_path: Path) -> None:
        folder = write_export(tmp_path / "one", 1)
        assert len(Capture(folder).frames(0) or ()) == 1
        assert Capture(folder, "val").frames(0) is None
        assert len(Capture(folder, "val").scene(0)) > 100

    def test_travels_to_worker_processes(self, export: Path) -> None:
        dataset = Capture(export)
        dataset.frames(0)
        again = pickle.loads(pickle.dumps(dataset))
        assert np.array_equal(again.scene(0).coord, dataset.scene(0).coord)

    def test_bad_options(self, export: Path, tmp_path: Path) -> None:
        for options, message in (
            ({"split": "eval"}, "train"),
            ({"up_axis": "w"}, "up_axis"),
            ({"holdout": 1}, "holdout"),
            ({"holdout": -2}, "holdout"),
        ):
            with pytest.raises(InputError, match=message):
                Capture(export, **options)  # type: ignore[arg-type]
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="found 0 scenes"):
            Capture(tmp_path / "empty")


FLIP = np.diag([1.0, -1, -1, 1])


class TestPoseCheck:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (np.linalg.inv, "found world-to-camera matrices where"),
            (lambda c2w: c2w @ FLIP, "found the other camera convention"),
            (lambda c2w: np.linalg.inv(c2w @ FLIP), "found world-to-camera matrices in the other"),
        ],
    )
    def test_mix_ups_are_named(self, export: Path, wrong: Callable[[np.ndarray], np.ndarray], message: str) -> None:
        for path in (export / "pose").iterdir():
            np.savetxt(path, wrong(np.loadtxt(path)))
        with pytest.raises(InputError, match=message):
            Capture(export, up_axis="z").scene(0)

    def test_right_poses_and_still_captures_pass(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        check_poses(frames, "room")
        check_poses(frames.subset([0]), "room")
        still = replace(frames.subset([0, 0, 0]), names=("a", "b", "c"))
        check_poses(still, "room")


def write_transforms(folder: Path, count: int = 12, lens: Lens | None = None, **changes: object) -> Path:
    """The room as a nerfstudio capture; with ``lens``, its images are distorted by looking every pixel up."""
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    frames = []
    for i, w2c in enumerate(poses(count)):
        color, depth = view(w2c)
        write_color(folder / "images" / f"f{i:02d}.png", color)
        write_depth(folder / "depth" / f"f{i:02d}.png", depth)
        c2w = np.linalg.inv(w2c) @ FLIP
        names = {"file_path": f"images/f{i:02d}.png", "depth_file_path": f"depth/f{i:02d}.png"}
        frames.append({**names, "transform_matrix": c2w.tolist()})
    intrinsics = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": SIZE[0] / 2, "cy": SIZE[1] / 2, "w": SIZE[0], "h": SIZE[1]}
    data = {"camera_model": "OPENCV", **intrinsics, "frames": frames, **changes}
    (folder / "transforms.json").write_text(json.dumps({k: v for k, v in data.items() if v is not None}))
    return folder


def edit_frames(folder: Path, edit: Callable[[list[dict]], None]) -> None:
    data = json.loads((folder / "transforms.json").read_text())
    edit(data["frames"])
    (folder / "transforms.json").write_text(json.dumps(data))


class TestTransforms:
    def test_same_cameras_and_pixels_as_the_rgbd_export(self, export: Path, tmp_path: Path) -> None:
        ours = read_transforms(write_transforms(tmp_path / "ns"))
        theirs = read_rgbd_export(export)
        assert ours.names == tuple(f"f{i:02d}" for i in range(12))
        assert torch.allclose(ours.cameras.viewmats, theirs.cameras.viewmats, atol=1e-5)
        assert torch.allclose(ours.cameras.Ks, theirs.cameras.Ks)
        for size in (SIZE, (16, 12)):
            a, b = ours.read(5, *size), theirs.read(5, *size)
            assert np.array_equal(a.color, b.color)
            assert np.array_equal(a.depth, b.depth)

    def test_capture_from_transforms(self, tmp_path: Path) -> None:
        folder = write_transforms(tmp_path / "ns")
        for path in (folder, folder / "transforms.json"):
            scene = Capture(path).scene(0)
            assert scene.name == "ns"
            assert np.median(wall_distance(scene.coord)) < 1e-3

    def test_intrinsics_per_frame_and_from_the_angle(self, tmp_path: Path) -> None:
        folder = write_transforms(tmp_path / "ns", 3)
        edit_frames(folder, lambda frames: frames[1].update(fl_x=60.0, cx=30.0))
        Ks = read_transforms(folder).cameras.Ks
        assert Ks[:, 0, 0].tolist() == [50, 60, 50]
        assert Ks[1, 0, 2] == 30
        blender = write_transforms(
            tmp_path / "blender", 2, fl_x=None, fl_y=None, cx=None, cy=None, w=None, h=None, camera_angle_x=np.pi / 2
        )
        edit_frames(blender, lambda frames: [f.update(file_path=f["file_path"][:-4]) for f in frames])  # no suffix
        assert torch.allclose(
            read_transforms(blender).cameras.Ks[0], torch.tensor([[32.0, 0, 32], [0, 32, 24], [0, 0, 1]])
        )

    def test_depth_unit_other_size_and_npy(self, tmp_path: Path) -> None:
        folder = write_transforms(tmp_path / "ns", 2)
        depth = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
        depth[0, 0] = np.nan
        np.save(folder / "depth" / "low.npy", depth)
        edit_frames(folder, lambda frames: frames[0].update(depth_file_path="depth/low.npy"))
        read = read_transforms(folder, depth_unit=0.5).read(0, 8, 6).depth
        assert read[0, 0] == 0
        assert np.array_equal(read[2:, 2:], (depth.repeat(2, 0).repeat(2, 1) * 0.5)[2:, 2:])

    def test_missing_and_mismatched_files_are_counted(self, tmp_path: Path) -> None:
        folder = write_transforms(tmp_path / "ns")
        (folder / "images" / "f00.png").unlink()
        (folder / "depth" / "f01.png").unlink()
        write_color(folder / "images" / "f02.png", np.zeros((24, 32, 3), np.uint8))
        (folder / "images" / "f03.png").write_bytes(b"no")

        def edit(frames: list[dict]) -> None:
            frames[4]["transform_matrix"][0][3] = float("inf")
            frames[5]["transform_matrix"] = "none"
            del frames[6]["transform_matrix"]
            del frames[7]["depth_file_path"]

        edit_frames(folder, edit)
        frames = read_transforms(folder)
        assert frames.names == ("f07", "f08", "f09", "f10", "f11")
        assert frames.skipped == {
            "image missing": 1,
            "depth file missing": 1,
            "image of another size than w × h = 64×48": 1,
            "unreadable image": 1,
            "pose not finite": 1,
            "unreadable transform_matrix": 1,
            "no transform_matrix": 1,
        }
        assert not frames.read(0, 16, 12).depth.any()

    def test_no_usable_frame(self, tmp_path: Path) -> None:
        folder = write_transforms(tmp_path / "ns", 3, w=100)
        with pytest.raises(InputError, match="3 × image of another size than w × h = 100×48"):
            read_transforms(folder)
        (folder / "transforms.json").write_text('{"frames": []}')
        with pytest.raises(InputError, match="no frame listed"):
            read_transforms(folder)

    @pytest.mark.parametrize("model", ["OPENCV_FISHEYE", "EQUIRECTANGULAR"])
    def test_other_camera_models(self, tmp_path: Path, model: str) -> None:
        with pytest.raises(InputError, match=f"pinhole camera model.*{model}; undistort"):
            read_transforms(write_transforms(tmp_path / "ns", 1, camera_model=model))

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"fl_x": None}, "focal length"), ({"fl_x": "a"}, "fl_x"), ({"fl_x": -1.0}, "positive"), ({"k1": []}, "k1")],
    )
    def test_bad_intrinsics(self, tmp_path: Path, change: dict, message: str) -> None:
        with pytest.raises(InputError, match=message):
            read_transforms(write_transforms(tmp_path / "ns", 1, **change))

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"frames": 3}', '{"frames": [{"a": 1}]}', "[" * 100_000])
    def test_damaged_json(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "transforms.json").write_text(text)
        with pytest.raises(InputError, match=r"transforms\.json"):
            read_transforms(tmp_path)

    def test_distorted_images_are_undistorted(self, tmp_path: Path) -> None:
        """Forward-distort the exact view by inverting the lens per pixel; reading must give the exact view back."""
        lens = Lens(FOCAL, FOCAL, 32, 24, k1=-0.35, k2=0.12, p1=0.004, p2=-0.006)
        folder = write_transforms(tmp_path / "ns", 2, k1=lens.k1, k2=lens.k2, p1=lens.p1, p2=lens.p2)
        w2c = poses(2)[0]
        v, u = np.mgrid[0:48, 0:64] + 0.5
        xd, yd = (u - 32) / FOCAL, (v - 24) / FOCAL
        x, y = xd.copy(), yd.copy()
        for _ in range(60):  # fixed point of the forward model, written out as OpenCV documents it
            r2 = x**2 + y**2
            radial = 1 + lens.k1 * r2 + lens.k2 * r2**2
            x = (xd - 2 * lens.p1 * x * y - lens.p2 * (r2 + 2 * x**2)) / radial
            y = (yd - 2 * lens.p2 * x * y - lens.p1 * (r2 + 2 * y**2)) / radial
        c2w = np.linalg.inv(w2c)
        rays = np.stack([x, y, np.ones_like(x)], -1) @ c2w[:3, :3].T
        z = np.where(rays > 0, (ROOM - c2w[:3, 3]) / rays, -c2w[:3, 3] / rays).min(-1)
        write_color(
            folder / "images" / "f00.png", (wall_color(c2w[:3, 3] + rays * z[..., None]) + 0.5).astype(np.uint8)
        )
        write_depth(folder / "depth" / "f00.png", (z * 1000 + 0.5).astype(np.uint16))

        frames = read_transforms(folder)
        got = frames.read(0, *SIZE)
        color, depth = view(w2c)
        inner = (slice(6, -6), slice(8, -8))
        assert np.percentile(np.abs(got.color - color / 255)[inner], 95) < 0.012
        assert np.percentile(np.abs(got.depth - depth / 1000)[inner], 95) < 0.06  # picked, so up to a pixel off
        raw = frames.read.files[0]  # type: ignore[attr-defined]
        straight = replace(frames.read, files=(replace(raw, lens=None),))(0, *SIZE)  # type: ignore[type-var]
        bent, flat = (np.abs(c - color / 255)[inner].mean() for c in (straight.color, got.color))
        assert flat < 0.3 * bent

    def test_points_of_a_capture_without_depth(self, tmp_path: Path) -> None:
        folder = write_transforms(tmp_path / "ns", 3, ply_file_path="points.ply")
        edit_frames(folder, lambda frames: [f.pop("depth_file_path") for f in frames])
        with pytest.raises(InputError, match=r"ply_file_path, points\.ply, found no such file"):
            Capture(folder).scene(0)
        rng = np.random.default_rng(0)
        coord = rng.random((40, 3), dtype=np.float32)
        cloud = PointScene("x", coord, rng.integers(0, 255, (40, 3), dtype=np.uint8), np.zeros((40, 3), np.float32))
        write_points(folder / "points.ply", cloud)
        assert np.array_equal(Capture(folder, up_axis="z").scene(0).coord, coord)
        turned = Capture(folder, up_axis="-y").scene(0).coord
        assert np.array_equal(turned[:, 2], -coord[:, 1])


def write_pointcept(folder: Path, n: int = 60, labels: str = "segment20", **changes: np.ndarray | None) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "coord": rng.random((n, 3), dtype=np.float32),
        "color": rng.integers(0, 256, (n, 3), dtype=np.uint8),
        "normal": rng.standard_normal((n, 3)).astype(np.float32),
        labels: rng.integers(-1, 13, n),
        "instance": rng.integers(-1, 4, n),
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    return folder


class TestPointcept:
    def test_scannet(self, tmp_path: Path) -> None:
        write_pointcept(tmp_path / "train" / "scene0001_00")
        write_pointcept(tmp_path / "train" / "scene0000_00", segment200=np.full(60, 199, np.int16))
        write_pointcept(tmp_path / "test" / "scene0707_00", segment20=None, instance=None)
        dataset = PointceptDataset(tmp_path, "train")
        assert dataset.names == ("scene0000_00", "scene0001_00")
        assert dataset.class_names == SCANNET20
        assert dataset.frames(0) is None
        scene = dataset.scene(1)
        assert scene.segment is not None
        assert scene.segment.dtype == np.int64
        assert scene.segment.min() == -1
        fine = PointceptDataset(tmp_path, "train", "segment200").scene(0)
        assert fine.segment is not None
        assert (fine.segment == 199).all()
        unlabelled = PointceptDataset(tmp_path, "test").scene(0)
        assert unlabelled.segment is None
        assert unlabelled.instance is None

    def test_class_lists(self) -> None:
        assert (len(SCANNET20), len(SCANNET200), len(S3DIS)) == (20, 200, 13)
        assert (SCANNET20[4], SCANNET20[15], SCANNET200[-1], S3DIS[-1]) == (
            "chair",
            "shower curtain",
            "mattress",
            "clutter",
        )
        for names in (SCANNET20, SCANNET200, S3DIS):
            assert len(set(names)) == len(names)
            assert all(name == " ".join(name.split()) and name for name in names)

    def test_s3dis_areas(self, tmp_path: Path) -> None:
        for area in (1, 2, 5):
            write_pointcept(tmp_path / f"Area_{area}" / "office_1", labels="segment", normal=None)
        dataset = PointceptDataset(tmp_path, "Area_1-2")
        assert dataset.names == ("Area_1_office_1", "Area_2_office_1")
        assert dataset.class_names == S3DIS
        scene = dataset.scene(0)
        assert scene.segment is not None
        assert not scene.normal.any()
        assert read_pointcept_scene(tmp_path / "Area_1" / "office_1").segment is not None
        assert PointceptDataset(tmp_path, "train").names == dataset.names
        assert PointceptDataset(tmp_path, "val").names == ("Area_5_office_1",)
        with pytest.raises(InputError, match="Area_5"):
            PointceptDataset(tmp_path, "Area_x")

    def test_no_scene(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"scenes as .*/train/<scene>/coord\.npy, found 0 scenes"):
            PointceptDataset(tmp_path, "train")

    def test_joined_with_frames(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            write_pointcept(tmp_path / "scannet" / "train" / name)
        write_pointcept(tmp_path / "scannet" / "val" / "d")
        write_export(tmp_path / "rgbd" / "b", 9)
        with pytest.warns(UserWarning, match="2 of 3 train scenes have no RGB-D frames.*first is a") as said:
            dataset = PointceptDataset(tmp_path / "scannet", "train", max_frames=3)
        assert len(said) == 1
        assert dataset.names == ("b",)
        assert dataset.skipped == {"no RGB-D frames": 2}
        frames = dataset.frames(0)
        assert isinstance(frames, PosedFrames)
        assert frames.names == ("0", "4", "8")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            everything = PointceptDataset(tmp_path / "scannet", "train", require_frames=False)
            assert PointceptDataset(tmp_path / "scannet", "val").names == ("d",)
        assert everything.names == ("a", "b", "c")
        assert everything.frames(0) is None
        assert everything.frames(1) is not None
        with pytest.raises(InputError, match="none for 1 scenes"):
            PointceptDataset(tmp_path / "scannet", "val", require_frames=True)
        with pytest.raises(InputError, match="no such folder"):
            PointceptDataset(tmp_path / "scannet", "val", rgbd_root=tmp_path / "other")

    def test_scene_list(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            write_pointcept(tmp_path / "train" / name)
        (tmp_path / "5.txt").write_text("c\na\n\n")
        assert PointceptDataset(tmp_path, scene_list=tmp_path / "5.txt").names == ("c", "a")
        (tmp_path / "5.txt").write_text("c\nz\n")
        with pytest.raises(InputError, match="no scene z"):
            PointceptDataset(tmp_path, scene_list=tmp_path / "5.txt")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"color": np.random.default_rng(0).random((60, 3)).astype(np.float32)}, "0–255, found colour in 0–1"),
            ({"color": np.full((60, 3), -1.0)}, "0–255.*-1"),
            ({"color": np.full((60, 3), np.nan)}, "0–255"),
            ({"color": np.full((60, 3), 300)}, "0–255.*300"),
            ({"color": np.zeros((59, 3), np.uint8)}, r"\(60, 3\).*\(59, 3\)"),
            ({"color": None}, r"color\.npy.*no such file"),
            ({"coord": np.zeros((60, 2), np.float32)}, r"\(N, 3\)"),
            ({"coord": np.zeros((60, 3), np.int64)}, "float32"),
            ({"coord": np.full((60, 3), np.nan, np.float32)}, "60 of 60 points with NaN"),
            ({"segment20": np.full(60, 20)}, "0–19"),
            ({"segment20": np.zeros(60, np.float32)}, "integer labels"),
            ({"segment20": np.zeros(59, np.int64)}, "60 integer labels"),
            ({"normal": np.zeros((60, 4), np.float32)}, r"normal\.npy"),
        ],
    )
    def test_bad_arrays(self, tmp_path: Path, changes: dict, message: str) -> None:
        write_pointcept(tmp_path / "train" / "s", **changes)
        with pytest.raises(InputError, match=message):
            PointceptDataset(tmp_path).scene(0)

    @pytest.mark.parametrize("n", [0, 1])
    def test_empty_and_one_point_scenes(self, tmp_path: Path, n: int) -> None:
        with pytest.raises(InputError, match=f"at least 2 points, found {n}"):
            read_pointcept_scene(write_pointcept(tmp_path / "s", n))

    def test_float_colour_in_255_and_old_label_shape(self, tmp_path: Path) -> None:
        color = np.array([[0, 127.6, 255.0]] * 60, np.float32)
        scene = read_pointcept_scene(write_pointcept(tmp_path / "s", color=color, segment20=np.full((60, 1), -100)))
        assert scene.color[0].tolist() == [0, 128, 255]
        assert scene.segment is not None
        assert (scene.segment == -1).all()

    @pytest.mark.parametrize("name", ["coord", "color", "segment20"])
    def test_truncated(self, tmp_path: Path, name: str) -> None:
        path = write_pointcept(tmp_path / "s") / f"{name}.npy"
        data = path.read_bytes()
        for cut in (0, 5, 64, 130, len(data) - 1):
            path.write_bytes(data[:cut])
            with pytest.raises(InputError, match=rf"{name}\.npy"):
                read_pointcept_scene(tmp_path / "s")


class TestOpenDataset:
    def test_recognises_what_is_there(self, tmp_path: Path) -> None:
        export = write_export(tmp_path / "one" / "room", 2)
        write_transforms(tmp_path / "ns", 2)
        write_pointcept(tmp_path / "scannet" / "val" / "s")
        write_pointcept(tmp_path / "s3dis" / "Area_5" / "office_1", labels="segment")
        assert isinstance(open_dataset(str(export)), Capture)
        assert open_dataset(tmp_path / "one", "val", voxel=0.05).names == ("room",)
        assert isinstance(open_dataset(tmp_path / "ns"), Capture)
        assert isinstance(open_dataset(tmp_path / "ns" / "transforms.json"), Capture)
        assert isinstance(open_dataset(tmp_path / "scannet", "val"), PointceptDataset)
        assert open_dataset(tmp_path / "s3dis", "test").class_names == S3DIS
        with pytest.raises(InputError, match=r"train/<scene>/coord\.npy, found 0 scenes"):
            open_dataset(tmp_path / "scannet", "train")
        shutil.move(tmp_path / "one", tmp_path / "scannet" / "rgbd")  # frames of a root, not a root of captures
        assert isinstance(open_dataset(tmp_path / "scannet", "val"), PointceptDataset)
        assert open_dataset("rooms:2", "val", root=tmp_path / "rooms").names == open_dataset("rooms", "val").names[:2]

    def test_unknown_says_what_was_looked_for(self, tmp_path: Path) -> None:
        (tmp_path / "file.ply").write_text("")
        for data, found in (
            (tmp_path, "0 scenes under it"),
            (tmp_path / "none", "no such folder"),
            (tmp_path / "file.ply", "a file"),
            ("", ""),
        ):
            with pytest.raises(InputError, match=rf"transforms\.json.*val/<scene>/coord\.npy.*Area_<k>.*{found}"):
                open_dataset(data, "val")

    def test_one_room_by_name(self) -> None:
        room = open_scenes("rooms:test:3", "val")
        assert isinstance(room, Rooms) and room.names == ("room_test_000003",)
        assert room.seed(0) == Rooms("test", 4).seed(3) == Rooms("test", 2, first=2).seed(1)
        assert open_scenes("rooms:2", "test").names == open_dataset("rooms:2", "test").names
        with pytest.raises(InputError, match="0 to 999,999, found 1000000"):
            open_scenes("rooms:val:1000000")

    @pytest.mark.parametrize("spec", ["rooms:", "rooms:0", "rooms:-3", "rooms:many", "rooms:val:1"])
    def test_bad_number_of_rooms(self, spec: str) -> None:
        with pytest.raises(InputError, match="rooms:8"):
            open_dataset(spec)


@pytest.mark.skipif(not LIVINGROOM.is_dir(), reason="sample data beside the project is absent")
class TestLivingroom:
    def test_fused_scene_matches_held_out_depth(self) -> None:
        train, val = open_dataset(str(LIVINGROOM), "train"), open_dataset(str(LIVINGROOM), "val")
        scene, held = train.scene(0), val.frames(0)
        assert held is not None
        assert held.names == ("00015", "00045", "00075", "00105", "00135", "00165", "00195")
        assert 30_000 < len(scene) < 60_000
        assert np.ptp(scene.coord[:, 2]) < 2.0  # z is up after the turn: the capture stores y down
        up = scene.normal[:, 2] > 0.95
        assert up.mean() > 0.1  # the floor and the seats
        _, depth, cameras = held.stack([2], 160, 120)
        uv, z = cameras.project(torch.from_numpy(scene.coord))
        inside = (z[0] > 0) & (uv[0] >= 0).all(-1) & (uv[0] < torch.tensor([160, 120])).all(-1)
        u, v = uv[0, inside].long().unbind(-1)
        assert (depth[0, v, u] - z[0, inside]).abs().median() < 0.015
