"""Farthest point sampling and nearest neighbours against their definitions and Uni3D's own indices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn import point_ops
from gaussiancross.core.nn.point_ops import (
    UNI3D_SKIP,
    farthest_point_sample,
    gather,
    knn,
    reference_fps,
    reference_knn,
)


def cloud(n, seed=0, batch=1):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (batch, n, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def golden(shared_data):
    path = shared_data / "golden" / "uni3d_tiny.npz"
    if not path.exists():
        pytest.skip("no golden vectors of Uni3D")
    return np.load(path)


class TestFarthestPoints:
    @pytest.mark.parametrize("n", [1, 7, 255, 256, 257, 1000])
    @pytest.mark.parametrize("skip", [0.0, 0.3])
    def test_is_the_definition(self, n, skip):
        points = cloud(n, n, batch=3)
        count = min(n, 40) + 3  # more than there are, too
        expected = np.stack([reference_fps(p.numpy(), count, skip) for p in points])
        np.testing.assert_array_equal(farthest_point_sample(points, count, skip).numpy(), expected)
        np.testing.assert_array_equal(point_ops.farthest_point_sample_torch(points, count, skip).numpy(), expected)

    def test_equals_and_all_skipped(self):
        same = torch.full((1, 300, 3), 0.5)
        assert farthest_point_sample(same, 5).tolist() == [[0, 0, 0, 0, 0]]
        near = cloud(100) * 0.01
        assert farthest_point_sample(near, 4, UNI3D_SKIP).tolist() == [[0, 0, 0, 0]]
        assert point_ops.farthest_point_sample_torch(near, 4, UNI3D_SKIP).tolist() == [[0, 0, 0, 0]]

    def test_uni3d(self, golden):
        points = torch.from_numpy(golden["points"][..., :3].copy())
        found = farthest_point_sample(points, 128, UNI3D_SKIP)
        np.testing.assert_array_equal(found[:2].numpy(), golden["fps_idx"][:2])
        # cloud 2 holds copies, among which its kernel picks by thread number
        np.testing.assert_array_equal(gather(points, found).numpy(), golden["center"])
        np.testing.assert_array_equal(
            farthest_point_sample(points, 128)[:2].numpy(), golden["fps_idx_without_skip"][:2]
        )

    def test_refuses(self):
        with pytest.raises(InputError, match=r"\[B, N, 3\]"):
            farthest_point_sample(torch.zeros(5, 3), 2)
        with pytest.raises(InputError, match="at least 1"):
            farthest_point_sample(torch.zeros(1, 5, 3), 0)


class TestNeighbours:
    @pytest.mark.parametrize(("n", "count"), [(1, 1), (40, 40), (256, 3), (900, 64), (3000, 17)])
    def test_is_the_definition(self, n, count):
        points, queries = cloud(n, n, batch=2), cloud(9, n + 1, batch=2)
        expected = np.stack([reference_knn(q.numpy(), p.numpy(), count) for q, p in zip(queries, points, strict=True)])
        np.testing.assert_array_equal(knn(queries, points, count).numpy(), expected)
        found = point_ops.knn_torch(queries, points, count)
        np.testing.assert_array_equal(found.numpy(), expected)

    def test_equals_come_by_index(self):
        rng = np.random.default_rng(0)
        points = rng.integers(-2, 3, (1, 2000, 3)).astype(np.float32)  # 125 places, 16 points in each
        queries = points[:, :50]
        expected = reference_knn(queries[0], points[0], 30)
        np.testing.assert_array_equal(knn(torch.from_numpy(queries), torch.from_numpy(points), 30)[0].numpy(), expected)

    @pytest.mark.parametrize("order", [1, -1])
    def test_sorted_clouds(self, order):
        # nearest last: every block beats the ones before it
        points = cloud(4000)[0]
        points = points[points.norm(dim=1).argsort(descending=order > 0)][None].contiguous()
        query = torch.zeros(1, 1, 3)
        expected = reference_knn(query[0].numpy(), points[0].numpy(), 64)
        np.testing.assert_array_equal(knn(query, points, 64)[0].numpy(), expected)

    def test_uni3d(self, golden):
        points, centers = torch.from_numpy(golden["points"][..., :3].copy()), torch.from_numpy(golden["center"])
        found = np.sort(knn(centers, points, 32).numpy(), -1)
        np.testing.assert_array_equal(found[:2], np.sort(golden["knn_idx"], -1)[:2])

    def test_refuses(self):
        with pytest.raises(InputError, match="between 1 and the 5 points, found 6"):
            knn(cloud(2), cloud(5), 6)


def test_gather_is_indexing():
    values = torch.arange(24.0).reshape(2, 4, 3)
    index = torch.tensor([[[0, 3], [1, 1]], [[2, 0], [3, 3]]])
    assert torch.equal(gather(values, index), torch.stack([values[0][index[0]], values[1][index[1]]]))


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    points = cloud(5000, batch=4)
    picked = farthest_point_sample(points, 256, UNI3D_SKIP)
    assert torch.equal(farthest_point_sample(points.cuda(), 256, UNI3D_SKIP).cpu(), picked)
    near = knn(gather(points, picked), points, 32)
    found = knn(gather(points, picked).cuda(), points.cuda(), 32).cpu()
    assert torch.equal(found.sort().values, near.sort().values)
