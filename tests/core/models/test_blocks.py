"""Gaussians of large scenes, predicted in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.app.scenes.files import OneScene
from gaussiancross.app.scenes.geometry import point_size
from gaussiancross.app.scenes.source import ModelSource, SceneState
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry import normals
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.models import blocks
from gaussiancross.core.nn.encode import voxels_of
from helpers.networks import small_model
from helpers.scenes import room


def hall(points: int = 10_000) -> PointScene:
    """A floor of 40 × 10 m and a wall along it."""
    rng = np.random.default_rng(0)
    coord = rng.random((points, 3)) * [40, 10, 2.5]
    coord[::2, 2] = 0
    coord[1::2, 1] = 0
    color = (np.sin(coord) * 100 + 128).astype(np.uint8)
    normal = np.zeros((points, 3), np.float32)
    normal[::2, 2] = normal[1::2, 1] = 1
    return PointScene("hall", coord.astype(np.float32), color, normal)


@pytest.fixture
def small_blocks(monkeypatch):
    for name, value in (("LARGE", 4000), ("BLOCK", 4000), ("MARGIN", 16)):
        monkeypatch.setattr(blocks, name, value)


def test_a_large_scene_has_gaussians_everywhere(small_blocks):
    """Features equal those of the whole scene, and every place is drawn."""
    model, scene = small_model(own_statistics=False, anchors="two_level", fine_voxel=0.1), hall()
    state = ModelSource(model, OneScene(scene)).load(0)
    assert state.point_features is not None and state.gaussians is not None and state.point_voxel is not None
    expected = model.encode(scene.coord, scene.color, scene.normal)
    torch.testing.assert_close(state.point_features[state.point_voxel], expected, atol=1e-4, rtol=1e-3)
    from scipy.spatial import KDTree

    means = state.gaussians.means.numpy()
    points = scene.coord @ state.transform.numpy()[:3, :3].T + state.transform.numpy()[:3, 3]
    distance = KDTree(means).query(points)[0]
    assert np.quantile(distance, 0.99) < 0.3  # every point has a Gaussian nearby


def test_every_gaussian_comes_from_one_block(small_blocks, monkeypatch):
    """With one Gaussian per voxel, those of all blocks are those of the scene, also where they lie outside of it."""
    model, scene = small_model(), hall()
    points = voxels_of(scene.coord, scene.color, scene.normal, 0.1).points
    shift = torch.tensor([0.0, 0.0, 0.7])

    def one_each(part, features):
        assert len(features) == len(part.coord) <= blocks.BLOCK
        n = len(part.coord)
        return [Gaussians(part.coord + shift, torch.ones(n, 4), torch.ones(n, 3), torch.ones(n), part.feat[:, :3])]

    monkeypatch.setattr(model, "gaussians", one_each)
    _, found = blocks.predict_in_blocks(model, points)
    order = [np.lexsort(means.numpy().T) for means in (found.means, points.coord + shift)]
    assert torch.equal(found.means[order[0]], (points.coord + shift)[order[1]])


def test_a_small_scene_is_predicted_at_once():
    model, scene = small_model(), room()
    state = ModelSource(model, OneScene(scene)).load(0)
    assert state.point_features is not None and state.point_voxel is not None
    expected = model.encode(scene.coord, scene.color, scene.normal)
    assert torch.equal(state.point_features[state.point_voxel], expected)


def test_point_size_of_a_large_scene():
    """Slabs give the distance that a search tree over all points gives."""
    rng = np.random.default_rng(0)
    coord = (rng.random((600_000, 3)) * [60, 20, 0]).astype(np.float32)
    scene = PointScene("floor", coord, np.zeros((600_000, 3), np.uint8), np.zeros((600_000, 3), np.float32))
    expected = 0.5 / np.sqrt(600_000 / 1200)  # mean distance of random points in a plane: half of density ** -0.5
    assert abs(point_size(SceneState("floor", points=scene)) - 0.94 * expected) < 0.08 * expected


def test_normals_in_parts_equal_those_at_once(monkeypatch):
    scene = room(4000)
    whole = normals.estimate_normals(scene.coord)
    monkeypatch.setattr(normals, "AT_ONCE", 700)
    assert np.array_equal(normals.estimate_normals(scene.coord), whole)
