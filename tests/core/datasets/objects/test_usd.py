"""Meshes in USD files, read with usd-core."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.app.cli import main
from gaussiancross.app.objects.load_object import read_any_object
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets.objects.meshes import read_mesh, usd
from gaussiancross.core.errors import InputError
from helpers.usd_files import write_usd

pytest.importorskip("pxr")

LEFT_RED = np.array([[(200, 30, 40), (20, 60, 220)]] * 2)
"""A picture with a red left and a blue right half."""


def test_a_package_is_read_in_metres_and_y_up(tmp_path):
    """The example's cube has 4 cm edges around (0.1, 0, 0); z was up: its upper side faces +y afterwards."""
    raw = read_mesh(write_usd(tmp_path / "cube.usdz", LEFT_RED, extra=True))
    assert raw.faces.shape == (12, 3)
    np.testing.assert_allclose(raw.vertices.min(0), (0.08, -0.02, -0.02), atol=1e-7)
    np.testing.assert_allclose(raw.vertices.max(0), (0.12, 0.02, 0.02), atol=1e-7)
    corner = raw.vertices[raw.faces]
    outward = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert ((outward * (corner.mean(1) - (0.1, 0, 0))).sum(1) > 0).all()
    np.testing.assert_allclose(raw.normals[raw.faces[8:10]].reshape(-1, 3), np.tile((0, 1, 0), (6, 1)), atol=1e-6)


def test_y_up_in_metres_stays(tmp_path):
    raw = read_mesh(write_usd(tmp_path / "cube.usda", up="Y", metres=1))
    np.testing.assert_allclose(raw.vertices.min(0), (8, -2, -2), atol=1e-6)
    np.testing.assert_allclose(raw.color, np.tile([0.319, 0.319, 0.319, 1], (36, 1)), atol=4e-3)


def test_the_texture_of_a_package(tmp_path):
    """`UsdPrimvarReader` names the coordinates; left is left in the picture."""
    scene = PointScene.load(write_usd(tmp_path / "cube.usdz", LEFT_RED))
    up = scene.coord[:, 1] > 0.0199  # the side +z before, whose texture runs along the file's x
    sides = {tuple(c) for c in scene.color[up]}
    assert sides == {(200, 30, 40), (20, 60, 220)}
    red = scene.color[up][:, 0] == 200
    axis = np.abs(scene.coord[up][red].mean(0) - scene.coord[up][~red].mean(0)).argmax()
    assert axis in (0, 2) and abs(red.mean() - 0.5) < 0.02


def test_materials_and_display_colors(tmp_path):
    """The colour of a material is linear; a subset of polygons has its own; other meshes have display colours."""
    half = 0.5**2.2
    raw = read_mesh(write_usd(tmp_path / "plain.usdz", color=(half, 0, 1)))
    np.testing.assert_allclose(raw.color, np.tile([half, 0, 1, 1], (36, 1)), atol=3e-3)
    shown = np.tile([0.0, 1.0, 0.0], (6, 1))
    shown[5] = (0, 0, 1)
    raw = read_mesh(write_usd(tmp_path / "two.usdc", subset=(1, 0, 0), display=shown))
    faces = raw.color[raw.faces].mean(1)[:, :3]
    np.testing.assert_allclose(faces[:4], np.tile([1, 0, 0], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(faces[4:10], np.tile([0, 1, 0], (6, 1)), atol=1e-6)
    np.testing.assert_allclose(faces[10:], np.tile([0, 0, 1], (2, 1)), atol=1e-6)


def test_a_package_is_an_object(tmp_path):
    assert len(read_any_object(write_usd(tmp_path / "cube.usdz", LEFT_RED), count=2000)) == 2000


def bad_files(folder: Path) -> dict[str, Path]:
    damaged = write_usd(folder / "damaged.usdz", LEFT_RED)
    damaged.write_bytes(damaged.read_bytes()[:700])
    empty = folder / "empty.usda"
    empty.write_text("#usda 1.0\n")
    indices = write_usd(folder / "indices.usda")
    indices.write_text(indices.read_text().replace("20, 21, 22, 23]", "20, 21, 22, 99]"))
    return {
        "a readable USD file": damaged,
        "a mesh with faces, found none": empty,
        "polygons of 24 vertices in /thing/cube, found the vertex number 99": indices,
        "the picture 'paint.png' of /looks/paint/texture, found no such file": write_usd(
            folder / "picture.usda", LEFT_RED, missing=True
        ),
    }


def test_bad_files_are_refused(tmp_path, capfd):
    for sentence, path in bad_files(tmp_path).items():
        with pytest.raises(InputError, match=path.name) as refused:
            read_mesh(path)
        assert sentence in str(refused.value)
    assert "Warning" not in capfd.readouterr().err  # of the library


@pytest.mark.parametrize("fault", ["import time; time.sleep(60)", "import os; os.abort()", "bytearray(1 << 60)"])
def test_a_library_that_hangs_or_breaks_down_is_a_damaged_file(tmp_path, monkeypatch, fault):
    """As it does with some damaged binary files: all memory, no end, or the end of the process."""
    path, worker = write_usd(tmp_path / "cube.usdc"), tmp_path / "worker.py"
    worker.write_text(fault)
    monkeypatch.setattr(usd, "_WORKER", worker)
    monkeypatch.setattr(usd, "_SECONDS", 0.3)
    with pytest.raises(InputError, match="a readable USD file"):
        read_mesh(path)


def test_without_the_package_a_sentence_names_it(tmp_path, monkeypatch, capsys):
    path = write_usd(tmp_path / "cube.usdz")
    monkeypatch.setitem(sys.modules, "pxr", None)
    assert main(["embed", str(path), "--out", str(tmp_path / "f.npy")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected the package usd-core, to read USD, found no such package" in said
    assert 'pip install "gaussiancross[objects]"' in said
