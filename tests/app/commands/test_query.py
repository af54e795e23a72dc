"""`gaussiancross query` on a small room with a fake teacher, and on files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app.cli import main
from gaussiancross.app.query.answer import best_phrase
from gaussiancross.app.query.report import file_names, write_labels, write_selection
from gaussiancross.app.scenes import open as opening
from gaussiancross.app.scenes.open import SceneSpec, open_scene
from gaussiancross.app.scenes.source import SceneState
from gaussiancross.core.datasets import Capture
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import read_labelled_gaussians, read_points, write_gaussians
from gaussiancross.core.io.ply_table import read_vertices
from gaussiancross.core.query import TextVectors
from gaussiancross.core.teachers import ImageTeacher, TeacherInfo
from helpers.box_room import write_box_room
from helpers.inspector import as_gaussians, box_frames, box_room
from PIL import Image

COLORS = {"red": (0.8, 0.1, 0.1), "green": (0.1, 0.7, 0.2), "blue": (0.1, 0.2, 0.8), "grey": (0.5, 0.5, 0.5)}
EXTRA = ("giraffe", "zebra")
"""Words of nothing that any picture here shows."""
NAMES = (*COLORS, *EXTRA)
ARGUMENTS = ("--views", "1", "--width", "160")


class ColorTeacher(ImageTeacher):
    """Features that say which of a few colours a pixel is nearest to."""

    def __init__(self) -> None:
        self.info = TeacherInfo("colors", 16, "none", None, False)
        self.text = color_words()
        self.size = (64, 48)

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        palette = torch.tensor(list(COLORS.values()))
        nearest = torch.cdist(images.flatten(0, 2), palette).argmin(1)
        return self.text.encode(list(COLORS)).vectors[nearest].unflatten(0, images.shape[:3])


def color_words() -> TextVectors:
    vectors = torch.eye(16)[1 : 1 + len(NAMES)]
    vectors[:, 0] = 1.5
    return TextVectors(vectors, NAMES)


@pytest.fixture(scope="module")
def splats(tmp_path_factory) -> Path:
    """A box room whose Gaussians carry the vectors of colour words: front and back red, the others grey."""
    scene = box_room(16)
    words = color_words().encode(["red", "red", "grey", "grey", "grey", "blue"]).vectors
    features = words[torch.from_numpy(scene.segment)]
    path = tmp_path_factory.mktemp("splats") / "box.ply"
    write_gaussians(path, replace(as_gaussians(scene), features=features))
    np.save(path.with_name("words.npy"), color_words().encode(NAMES).vectors.numpy())
    path.with_name("words_names.json").write_text(json.dumps(NAMES))
    return path


def test_splats_with_features(splats, tmp_path):
    vectors = str(splats.with_name("words.npy"))
    out = tmp_path / "answer"
    asked = ["query", str(splats), "red", "blue", "giraffe", "unicorn", "--negatives", "green", "okapi"]
    assert main([*asked, "--text-vectors", vectors, "--out", str(out), *ARGUMENTS]) == 0
    report = json.loads((out / "answer.json").read_text())
    red, blue, giraffe, unicorn = report["phrases"]
    assert red["present"] and blue["present"] and not giraffe["present"]
    assert giraffe["verdict"] == "no confident match" and "no cut was fitted" in giraffe["doubt"]
    assert giraffe["selected"] == 0 and giraffe["objects"] == [] and "ply" not in giraffe
    assert unicorn["known"] is False and unicorn["unknown_word"] == "unicorn"
    assert len(red["objects"]) == 2 and 0.5 <= red["threshold"] <= 1
    assert report["unknown_negatives"][0].startswith("Unknown phrase 'okapi'")
    segment = box_room(16).segment
    gaussians, label = read_labelled_gaussians(out / "labels.ply")
    assert (label == np.select([segment <= 1, segment == 5], [0, 1], -1)).all()  # in the order of the file
    assert gaussians.features.shape == (len(segment), 16)
    assert len(read_labelled_gaussians(out / "red.ply")[0]) == (segment <= 1).sum() == red["selected"]
    for name in ("page.png", "red.png", "giraffe.png"):
        assert Image.open(out / name).size[0] > 480


def test_positions_and_classes(splats, tmp_path):
    vectors = str(splats.with_name("words.npy"))
    scene = box_room(16)
    place = scene.coord[scene.segment == 5].mean(0)
    at = ["--at", *(f"{v:.3f}" for v in place)]
    asked = ["query", str(splats), "red", "blue", *at, "--classes", "--text-vectors", vectors]
    assert main([*asked, "--out", str(tmp_path), *ARGUMENTS]) == 0
    red, blue, here = json.loads((tmp_path / "answer.json").read_text())["phrases"]
    assert here["present"]
    assert red["selected"] == (scene.segment <= 1).sum()
    assert blue["selected"] + here["selected"] == (scene.segment == 5).sum()  # a place has one class


def test_a_capture_is_lifted(monkeypatch, tmp_path):
    scene, frames = box_room(30), box_frames()

    class Dataset:
        names, class_names = ("box",), ()

        def __len__(self) -> int:
            return 1

        def scene(self, index: int):
            return scene

        def frames(self, index: int):
            return frames

    monkeypatch.setattr(opening, "open_scenes", lambda data, split, report: Dataset())
    monkeypatch.setattr(opening, "make_teacher", lambda spec: ColorTeacher())
    crop = tmp_path / "crop.png"
    color = frames.read(0, 64, 48).color
    Image.fromarray((color[:8, :8] * 255).astype(np.uint8)).save(crop)
    out = tmp_path / "out"
    assert (
        main(["query", "capture", "zebra", "--teacher", "colors", "--images", str(crop), "--out", str(out), *ARGUMENTS])
        == 0
    )
    report = json.loads((out / "answer.json").read_text())
    assert report["field"] == "lifted" and report["teacher"] == "colors" and report["calibrated"] is None
    assert not report["phrases"][0]["present"] and report["phrases"][1]["phrase"] == "crop"
    labelled = read_points(out / "labels.ply")
    assert len(labelled) == len(scene) and labelled.segment is not None


def check_files(out: Path, phrases: int) -> dict:
    """Hold the written files together: numbers of rows, of selected rows, pictures. Returns the report."""
    report = json.loads((out / "answer.json").read_text())
    labels = read_vertices(out / "labels.ply")
    assert len(labels) == report["count"] > 0 and len(report["phrases"]) == phrases
    assert ("f_dc_0" in labels.dtype.names) == (report["field"] == "model")
    files = {"answer.json", "labels.ply", "page.png"}
    for phrase in report["phrases"]:
        assert ("ply" in phrase) == (phrase["selected"] > 0) and sum(o["count"] for o in phrase["objects"]) <= len(
            labels
        )
        labelled = labels[labels["label"] == phrase["label"]]
        assert len(labelled) <= phrase["selected"]
        if "ply" in phrase:
            selected = read_vertices(out / phrase["ply"])
            assert len(selected) == phrase["selected"]
            rows = {row.tobytes() for row in np.stack([selected[k] for k in "xyz"], 1)}
            assert all(row.tobytes() in rows for row in np.stack([labelled[k] for k in "xyz"], 1))
        files |= {phrase[k] for k in ("picture", "ply") if k in phrase}
    assert files == {path.name for path in out.iterdir()}
    for path in out.glob("*.png"):
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert picture.shape[1] > 3 * 160 and picture.std() > 5
    return report


@pytest.mark.parametrize("field", ["auto", "lifted"])
def test_files_of_a_capture(field, tmp_path, monkeypatch):
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    capture, out = write_box_room(tmp_path / "box"), tmp_path / "out"
    asked = ["query", str(capture), "wall", "chair", "--at", "0.4", "0.7", "0.2", "--field", field]
    assert main([*asked, "--out", str(out), *ARGUMENTS]) == 0
    report = check_files(out, 3)
    assert report["field"] == ("lifted" if field == "lifted" else "model") and report["step"] is None
    assert 0 < report["phrases"][2]["selected"] < report["count"]
    points = len(Capture(capture).scene(0))
    assert (report["count"] == points) == (field == "lifted")
    size = max(np.ptp(read_vertices(out / "labels.ply")[axis]) for axis in "xyz")
    assert size == pytest.approx(0.8, abs=0.2)  # metres of the capture, not of the network's world


@pytest.mark.slow
@pytest.mark.parametrize("field", ["auto", "lifted"])
@pytest.mark.parametrize("scene", ["rooms:val:1", "hololens", "livingroom"])
def test_files_of_real_scenes(scene, field, tmp_path, shared_data):
    what = scene if ":" in scene else str(shared_data / scene)
    asked = ["query", what, "sofa", "a lamp", "red chair", "plant", "--field", field]
    assert main([*asked, "--out", str(tmp_path), *ARGUMENTS]) == 0
    report = check_files(tmp_path, 4)
    assert any(phrase["selected"] for phrase in report["phrases"])


def test_as_many_gaussians_as_points_by_chance(tmp_path):
    """Rows are Gaussians unless the scene says that each draws its point."""
    scene = box_room(8)
    gaussians = as_gaussians(scene)
    gaussians = replace(gaussians, means=gaussians.means.flip(0))
    selected = np.arange(len(scene)) < 5
    state = SceneState("box", points=scene, gaussians=gaussians)
    write_selection(tmp_path / "some.ply", state, selected, None)
    write_labels(tmp_path / "all.ply", state, selected.astype(np.int64), None)
    np.testing.assert_allclose(read_labelled_gaussians(tmp_path / "some.ply")[0].means, gaussians.means[:5])
    assert read_labelled_gaussians(tmp_path / "all.ply")[1].sum() == 5
    write_selection(tmp_path / "points.ply", replace(state, gaussian_per_point=True), selected, None)
    np.testing.assert_allclose(read_points(tmp_path / "points.ply").coord, scene.coord[:5])


def test_one_room_of_a_split_by_name(monkeypatch):
    monkeypatch.setattr(opening, "make_teacher", lambda spec: ColorTeacher())
    opened = open_scene(SceneSpec("rooms:test:3", features_from="lifted", needs_features=True))
    assert opened.source.scene_names == ("room_test_000003",) and opened.index == 0
    opened = open_scene(SceneSpec("rooms:8", 3, "lifted", split="test", needs_features=True))
    assert opened.source.scene_names[opened.index] == "room_test_000003"


def test_the_bundled_feature_field_needs_frames(tmp_path, capsys):
    scene = box_room(8)
    folder = tmp_path / "val" / "box"
    folder.mkdir(parents=True)
    for name in ("coord", "color", "normal"):
        np.save(folder / f"{name}.npy", getattr(scene, name))
    assert main(["query", str(tmp_path), "sofa", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "box: expected posed frames" in said and "gaussiancross query RUN --data" in said
    assert not (tmp_path / "out").exists()


def test_names_of_files_are_plain_and_different():
    assert file_names(["A red chair!", "a red-chair", "page", "…"]) == [
        "a-red-chair",
        "a-red-chair-2",
        "page-2",
        "phrase",
    ]


def test_labels_take_the_best_of_those_that_select():
    class Stub:
        def __init__(self, scores, selected):
            self.scores, self.selected = torch.tensor(scores), np.array(selected)

    first = Stub([0.9, 0.6, 0.8], [True, True, False])
    second = Stub([0.7, 0.8, 0.9], [True, True, False])
    assert best_phrase([first, second], [0, 2]).tolist() == [0, 2, -1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "at least one phrase"),
        (["red", "--field", "model", "--teacher", "precomputed:x"], "a run, for features of a model"),
        (["red", "--index", "7"], "0 to 0"),
        (["red", "--teacher", "none"], "one that has features"),
    ],
)
def test_impossible_queries_are_refused(arguments, words, capsys, monkeypatch):
    if "--index" in arguments:
        monkeypatch.setattr(opening, "make_teacher", lambda spec: ColorTeacher())
    assert main(["query", "rooms:1", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_splats_without_features_or_text_vectors(splats, tmp_path):
    plain = tmp_path / "plain.ply"
    write_gaussians(plain, as_gaussians(box_room(8)))
    with pytest.raises(InputError, match="feat_0"):
        open_scene(SceneSpec(str(plain), needs_features=True))
    assert main(["query", str(splats), "red", "--out", str(tmp_path)]) == 2
