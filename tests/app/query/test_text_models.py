"""Choice of the text encoder and of its threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.query import search
from gaussiancross.app.query.search import BUILTIN, OWN, VECTORS, QueryableFeatures, TextEncoderChoice, words_for
from gaussiancross.app.scenes.lifted import LiftedSource, lifted_state, surfels
from gaussiancross.app.scenes.source import SceneState, calibration_for
from gaussiancross.core.datasets.rooms import Rooms
from gaussiancross.core.features.lifting import Lifted
from gaussiancross.core.geometry.gaussians import quat_to_rotmat
from gaussiancross.core.query import Calibration, Query, TextVectors, ask
from gaussiancross.core.teachers import TeacherInfo
from helpers.inspector import Boxes, as_gaussians, box_frames, box_room


def vectors(dim: int, names: tuple[str, ...] = ("sofa", "lamp")) -> TextVectors:
    rows = torch.eye(dim)[1 : 1 + len(names)]
    rows[:, 0] = 1.5
    return TextVectors(rows, names)


class Gray:
    """A teacher with a text side, to which everything is a sofa."""

    info, text = TeacherInfo("gray", 8, "none", None, False), vectors(8)

    def features(self, scene_name, frames, index):
        return self.text.encode(["sofa"]).vectors.expand(len(index), 3, 4, 8)


class Still:
    title, scene_names, class_names = "still", ("s",), ()


@pytest.fixture(autouse=True)
def builtin(monkeypatch):
    """A built-in text side of a known width."""
    monkeypatch.setattr(search, "has_builtin", lambda: True)
    monkeypatch.setattr(search, "builtin_encoder", lambda: vectors(12, ("sofa", "tv")))


def state(width: int | None) -> SceneState:
    scene = box_room(4)
    features = None if width is None else torch.ones(len(scene), width)
    return SceneState("s", points=scene, gaussians=as_gaussians(scene), embeddings=features)


def test_the_model_behind_the_features_is_taken():
    source = LiftedSource(Boxes(), Gray())
    models = TextEncoderChoice(source, vectors(10))
    assert models.names() == (OWN, VECTORS, BUILTIN)
    assert models.fitting(state(8)) == OWN
    assert models.fitting(state(10)) == VECTORS
    assert models.fitting(state(12)) == BUILTIN
    assert models.fitting(state(5)) == OWN  # channel names may lead there
    assert models.get(None) is None and models.get(VECTORS).dim == 10


def test_the_builtin_encoder_is_offered_for_its_own_features_only(monkeypatch):
    models = TextEncoderChoice(Still(), None)
    assert models.names() == (BUILTIN,)
    assert models.fitting(state(12)) == BUILTIN
    assert models.fitting(state(6)) is None and models.fitting(state(None)) is None
    monkeypatch.setattr(search, "has_builtin", lambda: False)
    assert TextEncoderChoice(Still(), None).names() == () and models.get(BUILTIN) is None


def test_a_calibration_applies_to_the_teachers_own_encoder_only():
    source = LiftedSource(Boxes(), Gray())
    source.calibration = Calibration(0.9, 0.95)
    models = TextEncoderChoice(source, vectors(8))
    assert models.calibration(OWN).cut == 0.9 and models.calibration(VECTORS) is None
    assert TextEncoderChoice(Still(), None).calibration(BUILTIN) is None
    loaded = source.load(0)
    words = words_for(loaded, models.get(OWN), None, models.calibration(OWN))
    assert isinstance(words, QueryableFeatures) and words.cut == 0.9
    answer = ask(words, Query(("sofa", "lamp")))
    assert not answer.phrases[1].presence.present and answer.phrases[0].presence.cut == 0.9


def test_cuts_of_procedural_rooms_call_nothing_absent_elsewhere():
    fitted = Calibration(0.9, 0.95, data="rooms:test, the first 12")
    assert calibration_for(Boxes(), None) is None and not calibration_for(Rooms("val", 1), fitted).elsewhere
    loaded = LiftedSource(Boxes(), Gray()).load(0)
    for calibration, verdict in (
        (fitted, "not in this scene"),
        (calibration_for(Boxes(), fitted), "no confident match"),
    ):
        state = replace(loaded)  # without the doubts of the other
        answer = ask(words_for(state, Gray.text, None, calibration), Query(("sofa", "lamp")))
        assert [p.presence.verdict for p in answer.phrases] == [verdict, verdict]


def test_a_lifted_source_shows_points_with_their_features():
    source = LiftedSource(Boxes(), Gray())
    loaded = source.load(1)
    assert loaded is source.load(1) and loaded.step is None and source.step() is None
    assert len(loaded.gaussians) == len(loaded.points) == len(loaded.embeddings)
    assert loaded.embeddings.shape[1] == 8 and 0 < (loaded.embeddings.norm(dim=1) > 0.99).float().mean() < 1
    assert source.teacher_features(1, 2).shape == (3, 4, 8)
    assert source.preview(0)[1] is not None and source.text is Gray.text and source.channels is None
    scene = box_room(4)
    alone = lifted_state(scene, None, Lifted(torch.ones(len(scene), 3), torch.ones(len(scene))))
    assert (
        not alone.has_teacher and lifted_state(scene, box_frames(), Lifted(torch.ones(1, 3), torch.ones(1))).has_teacher
    )


def test_surfels_lie_across_the_normals():
    scene = box_room(3)
    normal = np.concatenate([scene.normal[:-2], [[0, 0, -1], [0, 0, 0]]]).astype(np.float32)
    flat = surfels(replace(scene, normal=normal), 0.1)
    axis = quat_to_rotmat(flat.quats)[:, :, 2]
    np.testing.assert_allclose(axis[:-1], normal[:-1], atol=1e-5)
    assert flat.scales[0, 2] < 0.3 * flat.scales[0, 0] and flat.scales[-1, 2] == flat.scales[-1, 0]
