"""Fusion of depth frames into a point cloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.datasets import fuse_points, read_rgbd_export
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import write_depth
from helpers.capture import ROOM, SIZE, poses, wall_color, wall_distance


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

    def test_only_the_requested_frames_are_fused(self, export: Path) -> None:
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
