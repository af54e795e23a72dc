"""CLIP-GS on single objects: files, labels, search, classes of a scene's parts."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from gaussiancross.app.inspector import SplatsSource
from gaussiancross.app.objects import recognizer
from gaussiancross.app.objects.gallery import has_builtin, open_clipgs, open_recognizer
from gaussiancross.app.objects.load_object import read_any_object
from gaussiancross.app.objects.recognizer import (
    PICTURE,
    Gallery,
    ObjectRecognizer,
    label_list,
    object_picture,
    standing,
    upright,
)
from gaussiancross.app.objects.search import Embedded, Tower
from gaussiancross.app.render.contact_sheet import object_sheet
from gaussiancross.core.data.objects import points_as_gaussians
from gaussiancross.core.errors import InputError
from gaussiancross.core.query import QueryObject, TextVectors
from helpers.clipgs import SHAPES, shape
from helpers.inspector import as_gaussians, box_room
from PIL import Image

DIM = 8


class TestDesk:
    def test_an_object_is_its_own_neighbour_and_every_label_has_a_share(self, desk, folder):
        found = desk.read("C:\\things\\stick 4.npz", (folder / "stick4.npz").read_bytes())
        row, cosine = desk.gallery.nearest(found.vector, 3)[0]
        assert found.name == "stick_4" and desk.gallery.names[row] == "stick4" and cosine > 0.999
        scores = desk.scores(found.vector[None])[0]
        assert sorted(name for name, _ in scores) == sorted(SHAPES)
        assert sum(share for _, share in scores) == pytest.approx(1, abs=1e-5)
        assert [s for _, s in scores] == sorted((s for _, s in scores), reverse=True)
        assert [name for name, _ in desk.scores(found.vector[None], ("ball",))[0]] == ["ball"]

    def test_text_and_image_queries(self, desk, monkeypatch):
        torch.testing.assert_close(desk.words("plate"), torch.eye(DIM)[SHAPES.index("plate")])
        with pytest.raises(InputError, match="words that the text tower knows"):
            desk.words("zebra")
        file = io.BytesIO()
        Image.new("RGB", (40, 30), (255, 0, 0)).save(file, "PNG")
        with pytest.raises(InputError, match="which knows words only"):
            desk.picture("red.png", file.getvalue())
        model = desk.model
        desk = ObjectRecognizer(lambda: (model, "colours", SHAPES), desk.gallery)
        words = TextVectors(torch.eye(DIM)[:3], list(SHAPES))
        seen = []

        def look(pixels):
            seen.append(pixels)
            return pixels.mean((1, 2)) @ torch.ones(3, DIM)

        monkeypatch.setattr(recognizer, "open_tower", lambda *_: Tower("colours", words, look))
        assert desk.picture("red.png", file.getvalue()).norm() == pytest.approx(1)
        assert (
            seen[0].shape == (1, 224, 224, 3)
            and float(seen[0][..., 0].min()) == 1
            and float(seen[0][..., 1].max()) == 0
        )
        for name, content, why in (("a.exe", b"", "another kind of file"), ("a.png", b"GIF89a?", "a damaged file")):
            with pytest.raises(InputError, match=why):
                desk.picture(name, content)

    def test_labels_are_never_files(self):
        assert label_list(" a chair,table; a  chair\n") == ("a chair", "table") and label_list("/etc/passwd.txt") != ()
        assert label_list(" ,, ") == ()
        for text in (",".join(map(str, range(400))), "x" * 100):
            with pytest.raises(InputError, match="at most 300 of 80 letters"):
                label_list(text)

    def test_errors_name_the_uploaded_file(self, desk):
        with pytest.raises(InputError, match=r"^thing\.txt: .*the ending '\.txt'"):
            desk.read("../thing.txt", b"")
        with pytest.raises(InputError, match=r"^bad\.npz"):
            desk.read("bad.npz", b"PK nonsense")

    def test_parts_of_a_scene_are_named_upright(self, desk, monkeypatch):
        gaussians = as_gaussians(box_room(16))
        state = SplatsSource(gaussians, "box", device="cpu").load(0)

        def part(count):
            index = np.arange(count)
            return QueryObject(index, np.zeros(3), np.ones(3), np.zeros(3), count, 0.5, 0.9)

        names = desk.name_parts(state, [part(100), part(5), part(80)])
        assert names[0] is not None and names[0][0] in SHAPES and names[1] is None and names[2] is not None
        assert desk.name_parts(state, [part(5)]) == [None]
        assert desk.name_parts(state, [part(100)], ("ball", "nothing known"))[0][0] == "ball"
        [(name, share)] = desk.name_parts(state, [part(100)], ("nothing known",))
        assert name == names[0][0]
        assert share == pytest.approx(names[0][1], abs=1e-5)  # sums in another order than among other parts
        given = []
        monkeypatch.setattr(
            desk.model, "encode", lambda objects: given.extend(objects) or torch.eye(DIM)[: len(objects)]
        )
        desk.name_parts(state, [part(100)])
        torch.testing.assert_close(given[0].means[:, 1], gaussians.means[:100, 2])  # z up becomes Y up

    def test_standing_and_lying(self):
        g = as_gaussians(box_room(8))
        torch.testing.assert_close(standing(g).means[:, 2], g.means[:, 1])
        torch.testing.assert_close(upright(standing(g)).means, g.means)


class TestPictures:
    def test_an_object_fills_its_picture_but_not_the_margin(self):
        picture = object_picture(points_as_gaussians(shape("ball", np.random.default_rng(0), 4000)))
        assert picture.shape == (PICTURE, PICTURE, 3) and picture.dtype == np.uint8
        drawn = np.abs(picture.astype(int) - picture[0, 0]).sum(-1) > 40
        corners = np.concatenate([drawn[:8, :8], drawn[:8, -8:], drawn[-8:, :8], drawn[-8:, -8:]])
        assert 0.4 < drawn.mean() < 0.9 and not corners.any()

    def test_files_that_went_away_are_grey(self, tmp_path):
        gone = Gallery(Embedded((str(tmp_path / "gone.ply"),), torch.eye(DIM)[:1]))
        assert np.ptp(gone.picture(0)) == 0

    def test_a_sheet_has_as_many_rows_as_it_needs(self):
        cell = (np.zeros((PICTURE, PICTURE, 3), np.uint8), "a name that is much too long for its place")
        heights = [object_sheet([cell] * n).shape[0] for n in (1, 3, 4)]
        assert heights[0] == heights[1] < heights[2]


class TestFiles:
    def test_meshes_become_gaussians(self, tmp_path):
        trimesh = pytest.importorskip("trimesh")
        trimesh.creation.box((1, 2, 3)).export(tmp_path / "box.ply")
        g = read_any_object(tmp_path / "box.ply", count=128)
        assert len(g) == 128
        extent = g.means.amax(0) - g.means.amin(0)
        torch.testing.assert_close(extent / extent[0], torch.tensor([1.0, 2.0, 3.0]), atol=0.35, rtol=0)
        with pytest.raises(InputError, match=r"the ending '\.xyz'"):
            read_any_object(tmp_path / "a.xyz")


class TestOpening:
    def test_a_folder_is_embedded_and_an_empty_one_is_refused(self, folder, desk, monkeypatch, tmp_path):
        monkeypatch.setattr("gaussiancross.app.objects.gallery.open_clipgs", lambda spec: (desk.model, "t", SHAPES))
        opened = open_recognizer("builtin", folder)
        assert opened is not None and len(opened.gallery) == 12 and opened.labels == SHAPES
        with pytest.raises(InputError, match="objects as"):
            open_recognizer("builtin", tmp_path)
        assert (open_recognizer("builtin", None) is None) == (not has_builtin())

    def test_a_run_that_is_not_there(self, tmp_path):
        with pytest.raises(InputError, match="a CLIP-GS run folder"):
            open_clipgs(str(tmp_path))
