"""Picks without a browser: click targets, similarity, box selections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.query.picking import Pick, in_rectangle, label_at, pick, pick_scores, renewed, scores_per_pick
from gaussiancross.app.scenes.source import SceneState
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from helpers.inspector import as_gaussians, box_room

EYE = torch.tensor([2.0, 1.5, 1.2])


@pytest.fixture(scope="module")
def camera() -> Cameras:
    """In the middle of the room, looking at the wall x = 4."""
    return Cameras(look_at(EYE, torch.tensor([4.0, 1.5, 1.2]))[None], intrinsics(1.2, 160, 120)[None], 160, 120)


@pytest.fixture(scope="module")
def splats() -> SceneState:
    scene = box_room(24)
    embeddings = 5 + torch.from_numpy(scene.normal)  # a strong common direction, as real features have
    return SceneState("box", points=scene, gaussians=as_gaussians(scene), embeddings=embeddings)


@pytest.fixture(scope="module")
def points() -> SceneState:
    return SceneState("box", points=box_room(60))


def test_click_meets_the_wall_in_front(splats, camera):
    found = pick(splats, camera, 80.0, 60.0)
    assert found is not None and found.kind == "gaussian" and found.include
    assert abs(found.position[0] - 4.0) < 0.15
    np.testing.assert_allclose(found.position[1:], [1.5, 1.2], atol=0.03)  # on the ray
    assert np.linalg.norm(splats.gaussians.means[found.index].numpy() - found.position) < 0.4


def test_click_with_the_network_in_another_world(splats, camera):
    """Augmented worlds: scaled and shifted; positions come back in the scene's metres."""
    transform = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))
    transform[:3, 3] = torch.tensor([1.0, -3.0, 0.5])
    g = splats.gaussians
    moved = replace(g, means=g.means @ transform[:3, :3].T + transform[:3, 3], scales=2 * g.scales)
    there = pick(replace(splats, gaussians=moved, transform=transform), camera, 40.0, 70.0)
    here = pick(splats, camera, 40.0, 70.0)
    assert there is not None and here is not None and there.index == here.index
    np.testing.assert_allclose(there.position, here.position, atol=1e-3)


def test_click_into_the_void(splats, points, camera):
    away = Cameras(look_at(EYE + 50, EYE + 100)[None], camera.Ks, 160, 120)
    assert pick(splats, away, 80.0, 60.0) is None
    assert pick(points, away, 80.0, 60.0) is None
    assert pick(SceneState("empty"), camera, 80.0, 60.0) is None


def test_click_on_points(points, camera):
    found = pick(points, camera, 80.0, 60.0)
    assert found is not None and found.kind == "point"
    coord = points.points.coord[found.index]
    assert np.linalg.norm(coord - found.position) < 0.2
    assert coord[0] > 2  # in front, not behind the camera


def test_scores_separate_walls_with_a_common_component(splats, camera):
    wall = pick(splats, camera, 80.0, 60.0)
    scores = pick_scores(splats, [wall])
    segment = torch.from_numpy(splats.points.segment)
    assert scores[segment == 1].min() > 0.95  # the clicked wall x = 4
    assert scores[segment != 1].max() < 0.5


def test_another_pick_makes_nothing_less_similar(splats):
    segment = splats.points.segment
    wall, floor = (Pick("gaussian", int((segment == k).nonzero()[0][0]), np.zeros(3)) for k in (1, 4))
    one, both = pick_scores(splats, [wall]), pick_scores(splats, [wall, floor])
    assert (both >= one - 1e-6).all() and both[segment == 4].min() > 0.95
    torch.testing.assert_close(both, scores_per_pick(splats, [wall, floor]).amax(1))


def test_exclude_takes_its_like_away(splats, camera):
    segment = torch.from_numpy(splats.points.segment)
    wall, floor = (Pick("gaussian", int((segment == k).nonzero()[0]), np.zeros(3)) for k in (1, 4))
    both = pick_scores(splats, [wall, floor])
    without = pick_scores(splats, [wall, replace(floor, include=False)])
    like_floor = segment == segment[floor.index]
    assert both[like_floor].mean() > 0.4
    assert without[like_floor].mean() < -0.2
    assert pick_scores(splats, [replace(floor, include=False)]) is None


def test_no_features_no_scores(points, splats, camera):
    assert pick_scores(points, [pick(points, camera, 80.0, 60.0)]) is None
    assert pick_scores(replace(splats, embeddings=None), [pick(splats, camera, 80.0, 60.0)]) is None


def test_features_that_are_not_finite_spoil_only_themselves(splats, camera):
    embeddings = splats.embeddings.clone()
    embeddings[7] = torch.nan
    wall = pick(splats, camera, 80.0, 60.0)
    scores = pick_scores(replace(splats, embeddings=embeddings), [wall])
    assert scores[7] == 0
    others = torch.arange(len(scores)) != 7
    torch.testing.assert_close(scores[others], pick_scores(splats, [wall])[others], atol=0.02, rtol=0)


def test_newer_weights_keep_the_places(splats, camera):
    found = pick(splats, camera, 80.0, 60.0)
    order = torch.randperm(len(splats.gaussians), generator=torch.Generator().manual_seed(0))
    newer = replace(splats, gaussians=splats.gaussians[order])
    again = renewed([found], newer)[0]
    assert np.linalg.norm(newer.gaussians.means[again.index].numpy() - found.position) < 0.4
    np.testing.assert_array_equal(again.position, found.position)


def test_label_of_the_nearest_labelled_point(splats):
    names = tuple(f"wall {i}" for i in range(6))
    assert label_at(splats, np.array([4.0, 1.5, 1.2]), names) == "wall 1"
    assert label_at(splats, np.array([2.0, 1.5, 1.2]), names) is None  # in mid-air
    assert label_at(splats, np.array([4.0, 1.5, 1.2]), ()) == "class 1"


@pytest.mark.parametrize("which", ["splats", "points"])
def test_a_box_selects_the_visible_points_inside(which, request, camera):
    state = request.getfixturevalue(which)
    inside = in_rectangle(state, camera, (60.0, 40.0), (100.0, 80.0))
    coord = state.points.coord
    assert len(inside) > 10
    assert (coord[inside, 0] > 3.9).all()  # the wall in front, nothing behind the camera
    everything = in_rectangle(state, camera, (0.0, 0.0), (160.0, 120.0))
    assert set(inside) < set(everything)
    assert len(in_rectangle(state, camera, (80.0, 60.0), (80.0, 60.0))) <= 1
    assert len(in_rectangle(SceneState("empty"), camera, (0.0, 0.0), (9.0, 9.0))) == 0


def test_box_does_not_reach_through_a_wall(splats, camera):
    behind = splats.gaussians.means.clone()
    behind[:, 0] += 6  # a second room behind the first
    g = splats.gaussians
    two = replace(
        g,
        means=torch.cat([g.means, behind]),
        **{k: torch.cat([getattr(g, k)] * 2) for k in ("quats", "scales", "opacities", "colors")},
    )
    inside = in_rectangle(replace(splats, gaussians=two, points=None), camera, (60.0, 40.0), (100.0, 80.0))
    assert len(inside) > 10
    assert (two.means[inside, 0] > 4.5).float().mean() < 0.05  # the odd hole in the sparse wall
