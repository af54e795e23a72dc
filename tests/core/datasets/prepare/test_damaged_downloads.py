"""Single damages to the files of ScanNet, S3DIS and SceneSplat that once ended in a traceback or were accepted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.core.datasets.prepare import s3dis, scannet
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.scenesplat import read_scenesplat
from helpers import raw_data

HEAD = b"id\traw_category\tnyu40id\n"
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "row, message",
    [(b"1\t\xff\xfe\t1\n", "a damaged file"), (b"1\twall\tone\n", "whole numbers as id and nyu40id, found .* line 2")],
)
def test_label_tables_that_are_no_text_or_no_numbers(tmp_path, row, message):
    (tmp_path / "labels.tsv").write_bytes(HEAD + row)
    with pytest.raises(InputError, match=message):
        scannet.read_label_table(tmp_path / "labels.tsv")


@pytest.mark.parametrize(
    "ending, content, message",
    [
        (
            ".aggregation.json",
            f'{{"segGroups": {DEEP}',
            "a damaged file .*nested too deeply",
        ),
        (".aggregation.json", '{"segGroups": [{"label": "floor"}]}', "groups with id, label and segments"),
        (".aggregation.json", '{"segGroups": [{"label": "a", "id": 1, "segments": [1e400]}]}', "groups with id"),
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": [', "JSON with segIndices, found a damaged file"),
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": [99999999999999999999]}', "integers, one per vertex"),
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": ["a", 1]}', "integers, one per vertex"),
    ],
)
def test_labels_of_a_scene_that_are_damaged(tmp_path, ending, content, message):
    folder = raw_data.write_scannet_scene(tmp_path, "scene0000_00", 0)
    (folder / f"scene0000_00{ending}").write_text(content)
    (scene,) = scannet.find_scenes(tmp_path)
    with pytest.raises(InputError, match=message):
        scannet.read_scene(scene, {})


def test_triangles_of_vertices_that_a_scan_does_not_have(tmp_path):
    folder = raw_data.write_scannet_scene(tmp_path, "scene0000_00", 0)
    coord, color, triangles, _ = raw_data.corner()
    triangles[0, 0] = len(coord)
    raw_data.write_mesh(folder / "scene0000_00_vh_clean_2.ply", coord, color, triangles)
    (scene,) = scannet.find_scenes(tmp_path)
    with pytest.raises(InputError, match=f"triangles of {len(coord)} vertices, found index {len(coord)}"):
        scannet.read_scene(scene, {})


@pytest.mark.parametrize("stray", ["", "\x10"])  # with a stray byte, lines are parsed one by one
def test_lines_of_numbers_beyond_any_are_left_out(tmp_path, stray):
    (tmp_path / "chair_1.txt").write_text(f"1 2 3 4 5 6{stray}\n1e309 2 3 4 5 6\n")
    with pytest.warns(UserWarning, match="left out 1 of 2 lines"):
        points = s3dis.read_object(tmp_path / "chair_1.txt")
    assert points.tolist() == [[1, 2, 3, 4, 5, 6]]


@pytest.mark.parametrize("angle", ["nan", "inf"])
def test_angles_that_are_not_finite(tmp_path, angle):
    (tmp_path / "Area_1").mkdir()
    (tmp_path / "Area_1" / "Area_1_alignmentAngle.txt").write_text(f"office_1 {angle}\n")
    with pytest.raises(InputError, match="lines of a room and its angle"):
        s3dis.read_alignment(tmp_path, "Area_1")


@pytest.mark.parametrize(
    "name, value, message",
    [("color", np.nan, "finite"), ("lang_feat", np.nan, "finite"), ("scale", 200.0, "beyond the range of float32")],
)
def test_attributes_that_are_not_finite(tmp_path, name, value, message):
    shapes = {"coord": 3, "color": 3, "opacity": 1, "quat": 4, "scale": 3, "lang_feat": 4}
    arrays = {key: np.full((5, n), 0.5, np.float32) for key, n in shapes.items()}
    arrays["scale"] = -arrays["scale"]  # logarithms
    arrays[name][2, 0] = value
    for key, array in arrays.items():
        np.save(tmp_path / f"{key}.npy", array)
    with pytest.raises(InputError, match=rf"{name}\.npy: expected .*{message}"):
        read_scenesplat(tmp_path)
    arrays[name][2, 0] = -0.5 if name == "scale" else 0.5
    np.save(tmp_path / f"{name}.npy", arrays[name])
    assert torch.isfinite(read_scenesplat(tmp_path).scales).all()
