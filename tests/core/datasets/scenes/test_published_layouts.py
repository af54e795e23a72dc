"""Scenes of ScanNet++, ARKitScenes, Matterport3D, Replica and Stray Scanner: their own rules, and damage.

That they open to the same points as an export is tested in test_layouts.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.datasets import Capture
from gaussiancross.core.errors import InputError
from helpers import rewritten, rewritten_sets
from helpers.capture import write_export
from helpers.rewritten import Source
from scipy.spatial import KDTree


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """The box room, as an export with JPEG images."""
    return rewritten.some_frames(write_export(tmp_path / "box", suffix="jpg", count=6), 6)


@pytest.mark.parametrize("name", ["scannetpp", "arkitscenes", "matterport", "replica", "stray"])
def test_points_are_those_of_the_export(source: Source, tmp_path: Path, name: str) -> None:
    folder = getattr(rewritten_sets, f"as_{name}")(source, tmp_path / "set" / "41069021")
    scene = Capture(folder.parent, holdout=0).scene(0)
    export = Capture(source.folder, holdout=0).scene(0)
    assert abs(len(scene) - len(export)) < 0.01 * len(export)
    assert np.percentile(KDTree(export.coord).query(scene.coord)[0], 99) < 0.001  # depth is rounded in other units


def test_arkitscenes_of_object_detection_have_their_frames_in_a_folder(source: Source, tmp_path: Path) -> None:
    rewritten_sets.as_arkitscenes(source, tmp_path / "1" / "1_frames")
    frames = Capture(tmp_path / "1", holdout=0).frames(0)
    assert frames is not None and len(frames) == 6


def test_scannetpp_images_of_the_camera_are_a_colmap_capture(source: Source, tmp_path: Path) -> None:
    points = Capture(source.folder, holdout=0).scene(0)[::20]
    folder = rewritten.as_colmap(source, tmp_path / "colmap", binary=False, points=points)
    dslr = rewritten_sets.as_scannetpp_dslr(folder, tmp_path / "scene" / "dslr")
    frames = Capture(dslr, holdout=0).frames(0)
    assert frames is not None and len(frames) == 6


def test_videos_that_were_not_split_say_how(source: Source, tmp_path: Path) -> None:
    folder = rewritten_sets.as_scannetpp(source, tmp_path / "scannetpp")
    shutil.rmtree(folder / "iphone" / "rgb")
    (folder / "iphone" / "rgb.mkv").touch()
    with pytest.raises(InputError, match=r"iphone: expected folders rgb/ and depth/.*found rgb\.mkv; extract them"):
        Capture(folder).frames(0)
    folder = rewritten_sets.as_stray(source, tmp_path / "stray")
    shutil.rmtree(folder / "rgb")
    (folder / "rgb.mp4").touch()
    with pytest.raises(InputError, match=r"expected images in rgb/, found rgb\.mp4 alone; split the video"):
        Capture(folder).frames(0)


def test_replica_needs_its_camera(source: Source, tmp_path: Path) -> None:
    folder = rewritten_sets.as_replica(source, tmp_path / "replica" / "room0")
    camera = folder.parent / "cam_params.json"
    camera.write_text(json.dumps({"camera": {"fx": 1}}))
    with pytest.raises(InputError, match=r'cam_params\.json: expected "camera" with fx, fy, cx, cy and scale'):
        Capture(folder).frames(0)
    camera.unlink()
    with pytest.raises(InputError, match=r"expected cam_params\.json in it or in the folder above, found none"):
        Capture(folder).frames(0)


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("scannetpp", "iphone/pose_intrinsic_imu.json", "a JSON object"),
        ("arkitscenes", "lowres_wide.traj", "seven numbers per line"),
        ("matterport", "undistorted_camera_parameters/set.conf", "lines `intrinsics_matrix` and `scan`"),
        ("replica", "traj.txt", "16 numbers per line"),
        ("stray", "odometry.csv", "nine numbers per line"),
        ("stray", "camera_matrix.csv", "a 3×3 matrix"),
    ],
)
def test_damaged_lists_name_their_file(source: Source, tmp_path: Path, name: str, file: str, said: str) -> None:
    folder = getattr(rewritten_sets, f"as_{name}")(source, tmp_path / "set")
    (folder / file).write_text("time\nscan 1 2 3\n")
    with pytest.raises(InputError, match=f"{Path(file).name}: expected {said}"):
        Capture(folder).frames(0)


def test_frames_without_a_pose_are_skipped_and_counted(source: Source, tmp_path: Path) -> None:
    folder = rewritten_sets.as_arkitscenes(source, tmp_path / "7")
    rows = np.loadtxt(folder / "lowres_wide.traj")
    np.savetxt(folder / "lowres_wide.traj", rows[:4])
    frames = Capture(folder, holdout=0).frames(0)
    assert frames is not None and len(frames) == 4 and frames.skipped == {"no pose": 2}
