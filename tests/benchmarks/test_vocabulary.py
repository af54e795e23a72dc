"""The open-vocabulary benchmark: queries and scores on synthetic rooms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.benchmarks._vocabulary import LEAST, RoomTruth, Tally, at_points, examine
from gaussiancross.core.data.classes import SCANNET20
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.query import QueryableFeatures, TextVectors
from gaussiancross.core.synthetic.rooms.captions import SYNONYMS, Description

THINGS = {
    -1: Description("wall", ("wall",), ("white",)),
    -2: Description("floor", ("floor",), ("brown",)),
    0: Description("chair", ("chair",), ("red",)),
    1: Description("office chair", ("office chair", "swivel chair", "chair"), ("black",)),
    2: Description("bed", ("bed",), ("red", "white")),
    3: Description("cup", ("cup", "mug"), ("blue",)),  # hardly seen
}
COUNTS = {-1: 400, -2: 300, 0: 200, 1: 150, 2: 200, 3: LEAST // 2}


@pytest.fixture(scope="module")
def truth() -> RoomTruth:
    thing = np.repeat(list(COUNTS), list(COUNTS.values()))
    n = len(thing)
    segment = np.where(thing == -2, SCANNET20.index("floor"), SCANNET20.index("wall"))
    coord = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    scene = PointScene(
        "room", coord, np.zeros((n, 3), np.uint8), np.zeros((n, 3), np.float32), segment, np.maximum(thing, -1)
    )
    return RoomTruth.of(scene, THINGS)


def test_queries_cover_the_visible_and_the_absent_classes(truth):
    asked = {kind: {q.phrase for q in truth.questions() if q.kind == kind} for kind in ("present", "color", "absent")}
    assert asked["present"] == {"chair", "office chair", "bed"}  # no walls, and the cup hardly shows
    assert asked["color"] == {"red chair", "black chair"}  # among several chairs; there is one bed
    assert asked["absent"] == set(SYNONYMS) - {"wall", "floor", "ceiling", "chair", "office chair", "bed", "cup"}
    assert truth.where([("word", "chair")]) == [0, 1]
    assert truth.counts[-2] == 300


def test_perfect_features_get_everything_right(truth):
    names = ["chair", "office chair", "bed", "wall", "floor", "cup", "giraffe", "red chair", "black chair", "sofa"]
    vectors = torch.eye(16)[1 : 1 + len(names)]
    vectors[:, 0] = 1.0
    vectors[7] = 0.7 * vectors[0] + 0.7 * vectors[7]
    words = TextVectors(vectors, names)
    of = {-1: "wall", -2: "floor", 0: "chair", 1: "office chair", 2: "bed", 3: "cup"}
    rows = words.encode([of[t] for t in truth.thing.tolist()]).vectors
    tally = Tally()
    examine(truth, QueryableFeatures.build(rows, words), tally)
    summary = tally.summary(0.5)
    assert summary["queries"] == 3 and summary["hit"] == 1
    assert summary["absent_queries"] == 1 and summary["absent_auc"] == 1  # of all that is missing the words know a sofa
    assert "toilet" in tally.unknown and summary["rejected"] == 1 and summary["accepted"] == 1
    assert summary["color_queries"] == 2
    name = tally.by_name()["chair"]
    assert name[:2] == (1, 1.0) and name[2] == pytest.approx(200 / 350)  # the office chair is a chair, too
    assert tally.by_name()["bed"][2] == 1


def test_wrong_features_get_it_wrong(truth):
    names = ["chair", "office chair", "bed", "wall", "floor", "cup"]
    vectors = torch.eye(8)[1:7]
    vectors[:, 0] = 1.0
    words = TextVectors(vectors, names)
    rows = words.encode(["bed" if t == -1 else "wall" for t in truth.thing.tolist()]).vectors
    tally = Tally()
    examine(truth, QueryableFeatures.build(rows, words), tally)
    assert tally.summary(0.5)["hit"] == 0 and tally.summary(0.5)["iou"] == 0
    assert np.isnan(tally.summary(0.5)["color_hit"])


def test_features_at_points_follow_the_gaussians_that_are_there():
    means = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.02, 0, 0]])
    gaussians = Gaussians(
        means,
        torch.tensor([[1.0, 0, 0, 0]]).expand(3, 4),
        torch.full((3, 3), 0.1),
        torch.tensor([0.9, 0.9, 0.0]),
        torch.zeros(3, 3),
    )
    got = at_points(gaussians, torch.eye(3), np.array([[0.01, 0, 0], [0.9, 0, 0], [0.5, 9, 0]]))
    torch.testing.assert_close(got[0], torch.tensor([1.0, 0, 0]))  # the third is invisible
    torch.testing.assert_close(got[1], torch.tensor([0.0, 1, 0]))
    assert got[2].sum() == 1  # nowhere: the nearest


def test_features_at_points_respect_shape():
    gaussians = Gaussians(
        torch.tensor([[0.0, 0, 0], [0, 1, 0]]),
        torch.tensor([[1.0, 0, 0, 0], [0.70710678, 0, 0, 0.70710678]]),  # the second turned by 90° about z
        torch.tensor([[0.05, 0.05, 0.05], [1.0, 0.05, 0.05]]),
        torch.full((2,), 0.9),
        torch.zeros(2, 3),
    )
    got = at_points(gaussians, torch.eye(2), np.array([[0.0, 0.25, 0], [0.25, 0.0, 0.0]]))
    assert got[0, 1] > 0.99  # along the long axis of the second
    assert got[1, 0] > got[1, 1]
