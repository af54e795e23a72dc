"""RGB-D exports: frames, depth, intrinsics, damaged files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.datasets import read_rgbd_export
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import write_color, write_depth
from helpers.capture import FOCAL, SIZE, poses, view, wall_color, wall_distance, write_export


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
