"""Nearest vectors: exact, and approximate with a measured recall."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.query.index import VectorIndex, exact_nearest


def clustered(count: int, dim: int = 16, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(max(1, count // 50), dim))
    return torch.from_numpy(centers[rng.integers(len(centers), size=count)] + 0.4 * rng.normal(size=(count, dim)))


def test_exact_is_all_cosines_sorted():
    vectors, queries = clustered(300), clustered(5, seed=1)
    index = VectorIndex(vectors)
    scores, rows = index.nearest(queries, 7)
    cosine = torch.nn.functional.cosine_similarity(queries.float()[:, None], vectors.float()[None], dim=2)
    assert index.exact and index.recall == 1 and len(index) == 300 and index.dim == 16
    torch.testing.assert_close(scores, cosine.sort(descending=True).values[:, :7])
    torch.testing.assert_close(cosine.gather(1, rows), scores)


def test_one_question_and_more_than_there_are():
    vectors = clustered(6)
    scores, rows = VectorIndex(vectors).nearest(3 * vectors[2], 50)
    assert rows.shape == (1, 6) and int(rows[0, 0]) == 2
    assert float(scores[0, 0]) == pytest.approx(1, abs=1e-5)
    assert VectorIndex(vectors).nearest(torch.zeros(0, 16), 3).rows.shape == (0, 3)


@pytest.fixture(scope="module")
def index():
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    return VectorIndex(clustered(6000), exact_bytes=0)


class TestInexact:
    def test_recall_is_high_and_reported(self, index):
        assert not index.exact and index.probes >= 4 and index.recall >= 0.97
        queries = torch.nn.functional.normalize(clustered(40, seed=0).float(), dim=1)
        vectors = torch.nn.functional.normalize(clustered(6000).float(), dim=1)
        true = exact_nearest(vectors, queries, 10)
        found = index.nearest(queries, 10)
        share = (found.rows[:, :, None] == true.rows[:, None]).any(2).float().mean()
        assert share > 0.9
        assert bool((found.scores[:, :-1] >= found.scores[:, 1:]).all())
        cosine = (queries[:, None] * vectors[found.rows]).sum(2)
        torch.testing.assert_close(found.scores, cosine, atol=1e-5, rtol=0)

    def test_more_than_the_lists_hold(self, index):
        scores, rows = index.nearest(clustered(2, seed=3), 5000)
        assert rows.min() >= 0 and all(len(set(r)) == 5000 for r in rows.tolist()) and bool(scores.isfinite().all())


def test_without_faiss_the_index_is_exact(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.warns(UserWarning, match=r"200 vectors are compared one by one.*gaussiancross\[index\]"):
        index = VectorIndex(clustered(200), exact_bytes=0)
    assert index.exact


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="shape"):
        VectorIndex(torch.zeros(3))
    with pytest.raises(InputError, match="not zero"):
        VectorIndex(torch.zeros(3, 2))
    index = VectorIndex(clustered(20))
    with pytest.raises(InputError, match=r"shape \[Q, 16\]"):
        index.nearest(torch.zeros(1, 4), 2)
    with pytest.raises(InputError, match="at least 1 neighbour"):
        index.nearest(torch.ones(16), 0)
