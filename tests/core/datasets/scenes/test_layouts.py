"""COLMAP, TUM RGB-D, 7-Scenes, Polycam and nerfstudio layouts of the same capture; fisheye lenses; damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets import Capture, open_dataset
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.frames import Lens
from gaussiancross.core.report import Report
from helpers import rewritten, rewritten_sets
from helpers.capture import write_export, write_transforms
from helpers.rewritten import Source, add_splats
from scipy.spatial import KDTree

LAYOUTS: dict[str, Callable[[Source, Path], Path]] = {
    "nerfstudio": rewritten.as_nerfstudio,
    "TUM": rewritten.as_tum,
    "7-Scenes": rewritten.as_seven_scenes,
    "Polycam": rewritten.as_polycam,
    "Open3D": rewritten.as_open3d,
    "ScanNet++": rewritten_sets.as_scannetpp,
    "ARKitScenes": rewritten_sets.as_arkitscenes,
    "Matterport3D": rewritten_sets.as_matterport,
    "Replica": rewritten_sets.as_replica,
    "Stray": rewritten_sets.as_stray,
}

SETS = tuple(LAYOUTS)[5:]
"""Layouts of published data sets and Stray Scanner, which test_published_layouts tests on small frames."""


class Notices(Report):
    """A report that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, text: str) -> None:
        self.said.append(text)


def off_surface(scene: PointScene, reference: PointScene) -> np.ndarray:
    """Distance of points from the planes of the nearest points of ``reference``, metres."""
    near = KDTree(reference.coord).query(scene.coord)[1]
    return np.abs(((scene.coord - reference.coord[near]) * reference.normal[near]).sum(1))


@pytest.mark.parametrize("name", ["hololens", "livingroom"])
class TestRealCaptures:
    @pytest.fixture
    def source(self, shared_data: Path, name: str) -> Source:
        return rewritten.some_frames(shared_data / name, 3)

    @pytest.fixture
    def original(self, source: Source, tmp_path: Path) -> PointScene:
        return Capture(rewritten.as_export(source, tmp_path / "export" / "room"), holdout=0).scene(0)

    @pytest.mark.parametrize(
        "layout", [pytest.param(n, marks=[pytest.mark.slow] if n in SETS else []) for n in LAYOUTS]
    )
    def test_other_layouts_open_to_the_same_points(self, source, original, tmp_path: Path, layout: str) -> None:
        folder = LAYOUTS[layout](source, tmp_path / "room")
        scene = Capture(folder, holdout=0).scene(0)
        assert abs(len(scene) - len(original)) < 0.01 * len(original)
        there = KDTree(scene.coord).query(original.coord)[0]
        back = KDTree(original.coord).query(scene.coord)[0]
        assert np.percentile(there, 99) < 0.01 and np.percentile(back, 99) < 0.01
        colors = original.color[KDTree(original.coord).query(scene.coord)[1]].astype(int)
        assert np.abs(colors - scene.color).mean() < 2

    def test_colmap_with_trained_splats_has_their_depth(self, source, original, tmp_path: Path) -> None:
        fine = Capture(tmp_path / "export" / "room", holdout=0, voxel=0.01, up_axis="z").scene(0)
        folder = rewritten.as_colmap(source, tmp_path / "room")
        add_splats(folder, fine, 0.01)
        notices = Notices()
        scene = Capture(folder, holdout=0, report=notices).scene(0)
        assert any("depth is rendered from splats.ply" in text for text in notices.said)
        assert np.percentile(off_surface(scene, original), 90) < 0.01
        assert np.percentile(KDTree(scene.coord).query(original.coord)[0], 90) < 0.02  # points are 2 cm apart


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """The box room, as an export with JPEG images."""
    folder = write_export(tmp_path / "box", suffix="jpg", count=6)
    return rewritten.some_frames(folder, 6)


class TestColmap:
    @pytest.mark.parametrize("binary", [True, False])
    def test_sparse_points_alone_are_shown_and_what_is_missing_is_said(self, source, tmp_path, binary: bool) -> None:
        dense = Capture(source.folder, holdout=0, up_axis="z").scene(0)
        folder = rewritten.as_colmap(source, tmp_path / "room", binary, dense[::20])
        notices = Notices()
        scene = Capture(folder, holdout=0, report=notices).scene(0)
        assert len(scene) == len(dense[::20]) and np.abs(scene.coord - dense[::20].coord).max() < 1e-5
        said = " ".join(notices.said)
        assert "no depth in any of 6 frames" in said and "train 3D Gaussian splats" in said
        assert "one unit is taken as one metre" in said

    def test_depth_images_beside_the_model_are_used(self, source: Source, tmp_path: Path) -> None:
        folder = rewritten.as_colmap(source, tmp_path / "room")
        shutil.copytree(source.folder / "depth", folder / "depth")
        scene, dense = Capture(folder, holdout=0).scene(0), Capture(source.folder, holdout=0).scene(0)
        assert np.abs(scene.coord - dense.coord).max() < 1e-4

    def test_reduced_images_get_reduced_intrinsics(self, source: Source, tmp_path: Path) -> None:
        from PIL import Image

        folder = rewritten.as_colmap(source, tmp_path / "room")
        for file in (folder / "images").iterdir():
            with Image.open(file) as image:
                image.resize((32, 24)).save(file)
        frames = Capture(folder, holdout=0).frames(0)
        assert frames is not None and (frames.cameras.width, frames.cameras.height) == (32, 24)
        assert abs(float(frames.cameras.Ks[0, 0, 0]) - 25.0) < 1e-4

    def test_no_depth_splats_or_points_is_refused(self, source: Source, tmp_path: Path) -> None:
        folder = rewritten.as_colmap(source, tmp_path / "room")
        with pytest.raises(InputError, match="expected depth images, trained splats or sparse points, found none"):
            Capture(folder, holdout=0).scene(0)

    def test_two_files_of_splats_are_refused(self, source: Source, tmp_path: Path) -> None:
        folder = rewritten.as_colmap(source, tmp_path / "room")
        add_splats(folder, Capture(source.folder, holdout=0).scene(0), 0.02)
        shutil.copyfile(folder / "splats.ply", folder / "other.ply")
        with pytest.raises(InputError, match=r"one file of trained splats, found other\.ply, splats\.ply"):
            Capture(folder, holdout=0).scene(0)

    @pytest.mark.parametrize("file", ["cameras", "images", "points3D"])
    def test_truncated_models_are_refused(self, source: Source, tmp_path: Path, file: str) -> None:
        folder = rewritten.as_colmap(source, tmp_path / "room", True, Capture(source.folder, holdout=0).scene(0)[:9])
        path = folder / "sparse" / "0" / f"{file}.bin"
        content = path.read_bytes()
        for cut in range(0, len(content), 11):
            path.write_bytes(content[:cut])
            with pytest.raises(InputError, match=r"expected a COLMAP model|expected COLMAP's points"):
                Capture(folder, holdout=0).scene(0)

    def test_an_unsupported_camera_says_what_to_do(self, source: Source, tmp_path: Path) -> None:
        folder = rewritten.as_colmap(source, tmp_path / "room", False)
        file = folder / "sparse" / "0" / "cameras.txt"
        file.write_text(file.read_text().replace("PINHOLE", "THIN_PRISM_FISHEYE"))
        with pytest.raises(InputError, match="found THIN_PRISM_FISHEYE; undistort the images"):
            Capture(folder, holdout=0).scene(0)


def test_a_nerfstudio_folder_without_depth_uses_trained_splats(source: Source, tmp_path: Path) -> None:
    folder = rewritten.as_nerfstudio(source, tmp_path / "room")
    data = json.loads((folder / "transforms.json").read_text())
    for frame in data["frames"]:
        del frame["depth_file_path"]
    (folder / "transforms.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"trained splats as \.ply"):
        Capture(folder, holdout=0)
    dense = Capture(source.folder, holdout=0, up_axis="z").scene(0)
    # nerfstudio trains in a turned, moved and scaled world: x' = 0.25 (R x + t)
    turn, shift = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2, 3])
    moved = PointScene(
        "m",
        (0.25 * (dense.coord @ turn.T + shift)).astype(np.float32),
        dense.color,
        (dense.normal @ turn.T).astype(np.float32),
    )
    add_splats(folder, moved, 0.005)
    about = {"transform": np.column_stack([turn, shift]).tolist(), "scale": 0.25}
    (folder / "dataparser_transforms.json").write_text(json.dumps(about))
    scene = Capture(folder, holdout=0, up_axis="z").scene(0)
    # The images are 64 pixels wide: a pixel is 4 cm on the walls.
    assert np.median(off_surface(scene, dense)) < 0.01 and np.percentile(off_surface(scene, dense), 90) < 0.03


def test_a_folder_of_captures_in_several_layouts(source: Source, tmp_path: Path) -> None:
    for name, write in LAYOUTS.items():
        write(source, tmp_path / "all" / name)
    data = open_dataset(tmp_path / "all", holdout=0)
    assert sorted(data.names) == sorted(LAYOUTS)
    for index in range(len(data)):
        frames = data.frames(index)
        assert frames is not None and len(frames) == 6


@pytest.mark.parametrize("fisheye", [True, False])
def test_undistortion_agrees_with_opencv(fisheye: bool) -> None:
    cv2 = pytest.importorskip("cv2")
    lens = Lens(300, 310, 160.5, 121.5, k1=0.08, k2=-0.03, k3=0.01, k4=-0.002 if fisheye else 0, fisheye=fisheye)
    K = np.array([[300, 0, 160.0], [0, 310, 121.0], [0, 0, 1]])  # its first pixel has the centre (0, 0)
    if fisheye:
        D = np.array([lens.k1, lens.k2, lens.k3, lens.k4])
        u, v = cv2.fisheye.initUndistortRectifyMap(K, D, np.eye(3), K, (320, 240), cv2.CV_32FC1)
    else:
        D = np.array([lens.k1, lens.k2, 0, 0, lens.k3])
        u, v = cv2.initUndistortRectifyMap(K, D, np.eye(3), K, (320, 240), cv2.CV_32FC1)
    ours = lens.undistortion(320, 240)
    assert np.abs(ours[0] - 0.5 - u).max() < 1e-2 and np.abs(ours[1] - 0.5 - v).max() < 1e-2


def test_fisheye_captures_of_nerfstudio_are_read(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path / "room", camera_model="OPENCV_FISHEYE", k1=0.01, k4=0.001)
    frames = Capture(folder, holdout=0).frames(0)
    assert frames is not None and frames.read(0, 64, 48).color.shape == (48, 64, 3)


def test_damaged_lists_name_their_file(source: Source, tmp_path: Path) -> None:
    folder = rewritten.as_tum(source, tmp_path / "tum")
    (folder / "groundtruth.txt").write_text("1.0 2.0\n")
    with pytest.raises(InputError, match=r"groundtruth\.txt: expected lines of a time and 7 more words"):
        Capture(folder).frames(0)
    folder = rewritten.as_seven_scenes(source, tmp_path / "seven")
    (folder / "camera-intrinsics.txt").write_text("1 2 3")
    with pytest.raises(InputError, match=r"camera-intrinsics\.txt: expected 9 finite numbers, found 3"):
        Capture(folder).frames(0)
    folder = rewritten.as_open3d(source, tmp_path / "open3d")
    (folder / "trajectory.log").write_text("0 0 1\n1 0 0 0\n")
    with pytest.raises(InputError, match=r"trajectory\.log: expected five lines per frame"):
        Capture(folder).frames(0)
