"""Text queries without a browser: queryable phrases, scores, thresholds, objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.query import search
from gaussiancross.app.query.histogram import histogram_svg
from gaussiancross.app.query.search import Query, QueryableFeatures, QueryResult, ask, objects, read_phrases, words_for
from gaussiancross.app.scenes.source import SceneState
from gaussiancross.core.errors import InputError
from gaussiancross.core.query import MAX_LETTERS, MAX_PHRASES, Calibration, TextVectors
from helpers.inspector import as_gaussians, box_room

NAMES = ("front", "back", "left", "right", "floor", "ceiling")


@pytest.fixture(scope="module")
def encoder() -> TextVectors:
    vectors = torch.eye(20)[1:9]
    vectors[:, 0] = 1.5
    return TextVectors(vectors, ["front", "back", "left", "right", "floor", "ceiling", "giraffe", "red_chair"])


@pytest.fixture(scope="module")
def state() -> SceneState:
    """A room whose features are class scores: channel k on wall k."""
    scene = box_room(24)
    logits = 8 * torch.nn.functional.one_hot(torch.from_numpy(scene.segment), 6).float() - 5
    logits += 0.3 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    return SceneState("box", points=scene, gaussians=as_gaussians(scene), embeddings=logits)


def words(state: SceneState, encoder: TextVectors | None, channels=NAMES) -> QueryableFeatures:
    found = words_for(state, encoder, channels)
    assert isinstance(found, QueryableFeatures)
    return found


def test_class_channels_answer_text_queries(state, encoder):
    answer = ask(words(state, encoder), Query(("the floors", "giraffe", "zebra")))
    floor, giraffe, zebra = answer.phrases
    assert floor.canonical == "floor" and floor.presence.present
    assert not giraffe.presence.present and giraffe.presence.score < 0.5 and giraffe.nearest is not None
    assert zebra.unknown is not None and str(zebra.unknown).startswith("Unknown phrase 'zebra'")
    assert answer.any_present
    segment = torch.from_numpy(state.points.segment)
    assert answer.scores[segment == 4].min() > 0.5 > answer.scores[segment != 4].max()


def test_class_scores_without_a_fitting_cut_call_nothing_absent(state, encoder):
    for calibration, why in ((None, "no cut was fitted"), (Calibration(0.6, 0.9, elsewhere=True), "unlike those")):
        found = words_for(state, encoder, NAMES, calibration)
        presence = ask(found, Query(("giraffe",))).phrases[0].presence
        assert presence.verdict == "no confident match" and why in presence.doubt


def test_almost_transparent_gaussians_are_not_searched(state, encoder):
    """No picture shows them, so nothing may be found there."""
    floor = torch.from_numpy(state.points.segment) == 4
    opacity = torch.where(floor, 0.03, state.gaussians.opacities)
    ghost = replace(state, gaussians=replace(state.gaussians, opacities=opacity))
    answer = ask(words(ghost, encoder), Query(("floor", "front")))
    assert not answer.phrases[0].presence.present and answer.phrases[1].presence.present
    assert (answer.phrase_scores[floor] == 0).all()


def test_visible_features_are_computed_once_by_the_first_query(state, encoder, monkeypatch):
    calls = []
    visible = search._visible_features
    monkeypatch.setattr(search, "_visible_features", lambda s: calls.append(s) or visible(s))
    fresh, doubtful = replace(state), Calibration(0.6, 0.9, elsewhere=True)
    words(fresh, encoder)
    assert not calls
    for calibration in (None, doubtful):
        ask(words_for(fresh, encoder, NAMES, calibration), Query(("floor",)))
    ask(QueryableFeatures.build(state.embeddings, encoder, NAMES), Query(("floor",)))
    assert len(calls) == 1


def test_unknown_phrases_give_no_scores(state, encoder):
    answer = ask(words(state, encoder), Query(("zebra", "red")))
    assert answer.scores is None and not answer.any_present
    assert "red_chair" in answer.phrases[1].unknown.suggestions


def test_negatives_take_away(state, encoder):
    known = words(state, encoder)
    plain = ask(known, Query(("floor",)))
    against = ask(known, Query(("floor",), negatives=("floor", "zebra")))
    assert against.scores.max() <= 0.5 + 1e-4 < plain.scores.max()
    assert [u.phrase for u in against.unknown_negatives] == ["zebra"]


def test_cosine_mode(state, encoder):
    known = words(state, encoder)
    answer = ask(known, Query(("floor",), mode="Cosine"))
    assert answer.scores.max() > 0.95
    relevancy = ask(known, Query(("floor",)))
    assert answer.phrases == relevancy.phrases  # presence does not depend on what is shown


def test_features_of_the_text_width_are_compared_directly(state, encoder):
    segment = torch.from_numpy(state.points.segment)
    direct = replace(state, embeddings=3 * encoder.encode(list(NAMES)).vectors[segment])
    known = words(direct, encoder, None)
    assert known.channels is None
    answer = ask(known, Query(("left", "giraffe")))
    assert [p.presence.present for p in answer.phrases] == [True, False]


def test_class_names_are_queryable_without_an_encoder(state):
    answer = ask(words(state, None), Query(("ceiling", "giraffe")))
    assert answer.phrases[0].presence.present and answer.phrases[1].unknown is not None


def test_missing_parts_of_a_query_are_reported(state, encoder):
    assert "points only" in words_for(SceneState("p", points=state.points), encoder, NAMES)
    assert "carry none" in words_for(replace(state, embeddings=None), encoder, NAMES)
    assert "--text-vectors" in words_for(state, None, None)
    assert "20 wide, the features 6" in words_for(state, encoder, None)
    assert "different models" in words_for(state, encoder, NAMES[:3])


def test_phrases_are_read_and_limited():
    assert read_phrases(" sofa,  red  chair\nsofa;lamp,, ") == ("sofa", "red chair", "lamp")
    assert read_phrases(" ,\n") == ()
    with pytest.raises(InputError, match="at most"):
        read_phrases("x" * (MAX_LETTERS + 1))
    with pytest.raises(InputError, match="at most"):
        read_phrases(",".join(f"w{i}" for i in range(MAX_PHRASES + 1)))


def test_template_without_a_place_is_refused(state, encoder):
    with pytest.raises(InputError, match="template"):
        ask(words(state, encoder), Query(("floor",), template="a photo"))


def test_threshold_of_relevancy_never_falls_below_a_half(state, encoder):
    answer = ask(words(state, encoder), Query(("floor",)))
    found = QueryResult.of(answer.scores, state, 0, "relevancy", "floor", 0.5)
    assert (found.low, found.high) == (0.0, 1.0) and found.cut >= 0.5
    floor = state.points.segment == 4
    assert (found.selected(found.cut) == floor).all()


def test_scores_without_a_middle_select_the_best():
    scores = torch.linspace(0.90, 0.95, 2000)
    found = QueryResult.of(scores, SceneState("x"), 0, "cosine", "x")
    assert found.low <= 0.9 and found.high >= 0.95
    assert 0 < found.selected(found.cut).mean() <= 0.02
    empty = QueryResult.of(torch.zeros(10), SceneState("x"), 0, "cosine", "x")
    assert empty.low < empty.high


def test_objects_of_two_walls(state):
    selected = np.isin(state.points.segment, (0, 1))  # opposite each other
    found = objects(state, selected, torch.rand(len(selected)))
    sizes = [o.size for o in found]
    assert len(found) == 2 and sum(sizes) > 0.95 * selected.sum()
    assert {round(float(o.centroid[0])) for o in found} == {0, 4}
    assert objects(state, np.zeros(len(selected), bool), None) == []


def test_histogram_is_small_and_marks_both_thresholds(state):
    found = QueryResult.of(torch.rand(1000, generator=torch.Generator().manual_seed(0)), state, 0, "x", "x", 0.5)
    svg = histogram_svg(found, 0.25)
    assert svg.startswith("<svg") and svg.endswith("</svg>") and len(svg) < 12_000
    assert 'x1="80.0"' in svg and "M160.0 7" in svg  # a quarter and a half of 320
    assert histogram_svg(found, 0.9).count("#4b5160") > svg.count("#4b5160")
