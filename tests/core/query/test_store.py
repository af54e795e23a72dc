"""The packed feature store."""

from __future__ import annotations

import threading

import pytest
import torch
from gaussiancross.core import query
from gaussiancross.core.errors import InputError
from helpers.query_features import random_features, with_bad_rows


class TestStore:
    @pytest.mark.parametrize("n,dim,queries", [(1, 1, 1), (5, 31, 3), (33, 32, 4), (9000, 70, 5), (130, 512, 9)])
    @pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
    def test_scores_within_the_stated_error(self, precision, n, dim, queries):
        f, q = random_features(n, dim), random_features(queries, dim, 1)
        store = query.FeatureStore.build(f, precision)
        error = (store.scores(q) - query.similarity(f.double(), q.double())).abs()
        # float16 multiplies in float16 too, which the stated error of the stored values does not cover.
        slack = 1e-3 if precision == "float16" else 2e-5
        assert error.max() <= store.error_bound + slack
        assert store.error_bound < {"float32": 1e-9, "float16": 1e-3, "int8": 1.2e-2}[precision]
        if n * queries > 1000 and precision == "int8":
            assert error.square().mean().sqrt() < 1.5 * store.error_typical

    def test_common_direction_is_free(self):
        """Taking the mean off must pay: with it, the error is that of the spread around it."""
        g = torch.Generator().manual_seed(0)
        spread = torch.randn(400, 64, generator=g)
        error = [query.FeatureStore.build(spread + c, "int8").error_typical for c in (0.0, 10.0)]
        assert error[1] < 0.2 * error[0]

    def test_any_length_packs_alike(self):
        f = random_features(40, 24)
        lengths = torch.logspace(-30, 30, 40)[:, None]
        stores = [query.FeatureStore.build(x, "int8") for x in (f, f / f.norm(dim=1, keepdim=True) * lengths)]
        q = random_features(3, 24, 1)
        assert torch.allclose(stores[0].scores(q), stores[1].scores(q), atol=1e-4)
        same = query.FeatureStore.build(f[:1] * lengths, "int8")  # nothing is left beside the mean
        assert torch.allclose(same.scores(f[:1]), torch.ones(40, 1), atol=1e-5)

    def test_wide_features_do_not_overflow(self):
        """All products of one sign and as large as they get: 32-bit sums must hold them."""
        f = torch.ones(8, 4096)
        f[::2] *= -1  # the mean is zero, so the codes are ±127 everywhere
        store = query.FeatureStore.build(f, "int8")
        assert torch.allclose(store.scores(torch.ones(1, 4096))[:, 0], f[:, 0], atol=1e-3)

    def test_chooses_and_counts(self):
        small, large = torch.randn(300, 32), torch.randn(40_000, 512)
        assert query.FeatureStore.build(small).precision == "float32"
        store = query.FeatureStore.build(large.half())
        assert store.precision == "int8" and len(store) == 40_000
        assert 1.0 <= store.nbytes / (40_000 * 512) < 1.02
        assert store.scores(torch.randn(3, 512))[:, 1].is_contiguous()

    def test_relevancy_is_the_same_from_many_threads(self):
        f, p, k = random_features(40_000, 40), random_features(2, 40, 1), random_features(4, 40, 2)
        store = query.FeatureStore.build(f, "int8")
        expected, results = store.relevancy(p, k), {}
        assert (expected - query.relevancy(f, p, k)).abs().max() < 4e-2

        def ask(i: int) -> None:
            results[i] = store.relevancy(p, k)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(results) == 4 and all(torch.equal(r, expected) for r in results.values())

    def test_errors(self):
        with pytest.raises(InputError, match="floating-point"):
            query.FeatureStore.build(torch.ones(3, 4, dtype=torch.int64))
        store = query.FeatureStore.build(torch.ones(3, 4), "int8")
        with pytest.raises(InputError, match="as wide as the features"):
            store.scores(torch.ones(1, 5))
        with pytest.raises(InputError, match="negatives"):
            store.relevancy(torch.ones(1, 4), torch.zeros(0, 4))

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_gpu(self):
        f, p, k = with_bad_rows(random_features(5000, 96)), random_features(2, 96, 1), random_features(4, 96, 2)
        store = query.FeatureStore.build(f.cuda())
        assert store.precision == "float16"
        assert (store.relevancy(p, k).cpu() - query.relevancy(f, p, k)).abs().max() < 2e-2
        assert (store.scores(p).cpu() - query.similarity(f, p)).abs().max() < 2e-3
        with pytest.raises(InputError, match="float16"):
            query.FeatureStore.build(f.cuda(), "int8")
