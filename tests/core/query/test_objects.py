"""Connected components of selected points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.core import query
from gaussiancross.core.errors import InputError
from gaussiancross.core.query.objects import connected_labels
from hypothesis import given, settings
from hypothesis import strategies as st


def _brute_labels(points: np.ndarray, radius: float) -> list[frozenset[int]]:
    near = np.linalg.norm(points[:, None] - points[None], axis=-1) <= radius
    left, groups = set(range(len(points))), set()
    while left:
        group, edge = set(), {left.pop()}
        while edge:
            group |= edge
            edge = {int(j) for i in edge for j in np.flatnonzero(near[i])} - group
        left -= group
        groups.add(frozenset(group))
    return groups


class TestComponents:
    @pytest.mark.parametrize("radius", [0.02, 0.06, 0.1, 0.3, 5.0])
    @pytest.mark.parametrize("stretch", [(1, 1, 1), (4, 1, 0.01), (0, 0, 1)])
    def test_against_brute_force(self, radius, stretch):
        points = np.random.default_rng(int(radius * 100)).random((600, 3)) * stretch - 0.3
        labels = connected_labels(points, radius)
        got = {frozenset(np.flatnonzero(labels == v).tolist()) for v in np.unique(labels)}
        assert got == _brute_labels(points, radius)

    @given(st.integers(0, 2**32 - 1), st.floats(0.3, 3))
    @settings(deadline=None, max_examples=30)
    def test_lattice_points(self, seed, radius):
        """Points on a lattice: many equal coordinates, and distances that fall on cell borders."""
        points = np.random.default_rng(seed).integers(0, 7, (60, 3)).astype(float)
        radius = radius if abs(radius**2 - round(radius**2)) > 1e-6 else radius + 1e-3
        labels = connected_labels(points, radius)
        got = {frozenset(np.flatnonzero(labels == v).tolist()) for v in np.unique(labels)}
        assert got == _brute_labels(points, radius)

    def test_objects(self):
        rng = np.random.default_rng(3)
        blobs = [c + 0.02 * rng.standard_normal((40, 3)) for c in ([0, 0, 0], [1, 0, 0], [0, 1, 0])]
        coord = np.concatenate([*blobs, [[5.0, 5, 5]]]).astype(np.float32)
        scores = np.repeat([0.6, 0.9, 0.7, 1.0], [40, 40, 40, 1])
        scores[3] = 0.95
        order = rng.permutation(len(coord))
        selected = np.ones(len(coord), bool)
        selected[order.argsort()[80:85]] = False  # five points of the third blob
        found = query.components(torch.from_numpy(coord[order]), selected, 0.1, torch.from_numpy(scores[order]))
        assert [o.size for o in found] == [40, 35, 40]  # by score; the single point is too small
        for o, blob in zip(found, (1, 2, 0), strict=True):
            assert (
                (np.diff(o.indices) > 0).all() and set(order[o.indices] // 40) == {blob} and selected[o.indices].all()
            )
            points = coord[order][o.indices].astype(np.float64)
            assert (o.box_min == points.min(0)).all() and (o.box_max == points.max(0)).all()
            assert np.allclose(o.centroid, points.mean(0))
        assert found[2].score_max == 0.95 and abs(found[2].score_mean - (0.6 * 39 + 0.95) / 40) < 1e-9
        unscored = query.components(coord, np.ones(len(coord), bool), 0.1, minimum=1)
        assert [o.size for o in unscored] == [40, 40, 40, 1] and np.isnan(unscored[0].score_max)

    def test_strays_cost_nothing(self):
        """Coordinates of float32 size, NaN and infinity beside a chain with millimetre steps."""
        chain = np.stack([np.arange(100) * 1e-3, np.zeros(100), np.zeros(100)], 1)
        strays = [[1e30, 0, 0], [-3e38, 3e38, 1], [np.nan, 0, 0], [0, np.inf, 0]]
        coord = np.concatenate([chain, strays])
        found = query.components(coord, np.ones(len(coord), bool), 1.5e-3, minimum=1)
        assert [o.size for o in found] == [100, 1, 1]

    def test_nothing_selected(self):
        assert query.components(np.zeros((5, 3)), np.zeros(5, bool), 0.1) == []
        assert query.components(np.zeros((0, 3)), np.zeros(0, bool), 0.1) == []
        assert query.components(np.zeros((9, 3)), np.ones(9, bool), 0.1) == []
        assert query.components(np.zeros((9, 3)), np.ones(9, bool), 0.1, minimum=9)[0].size == 9

    def test_errors(self):
        coord, mask = np.zeros((5, 3)), np.ones(5, bool)
        for bad in (0.0, -1.0, float("nan"), float("inf")):
            with pytest.raises(InputError, match="radius"):
                query.components(coord, mask, bad)
        with pytest.raises(InputError, match="bool mask"):
            query.components(coord, np.ones(5), 0.1)
        with pytest.raises(InputError, match="scores"):
            query.components(coord, mask, 0.1, np.ones(4))
        with pytest.raises(InputError, match="coord"):
            query.components(coord[:, :2], mask, 0.1)

    def test_points_exactly_one_radius_apart_belong_together(self):
        points = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3.5, 0, 0]])
        labels = connected_labels(points, 1.0)
        assert labels[0] == labels[1] == labels[2] != labels[3]
