"""Captures described by transforms.json (nerfstudio)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets import Capture, read_rgbd_export
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import read_transforms, write_color, write_depth, write_points
from gaussiancross.core.io.frames import Lens
from helpers.capture import FOCAL, ROOM, SIZE, edit_frames, poses, view, wall_color, wall_distance, write_transforms


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

    @pytest.mark.parametrize("model", ["EQUIRECTANGULAR", "ORTHOPHOTO"])
    def test_other_camera_models(self, tmp_path: Path, model: str) -> None:
        with pytest.raises(InputError, match=f"pinhole or fisheye camera model.*{model}; undistort"):
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
