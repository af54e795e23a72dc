"""Relevancy of features to a query."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.core import query
from gaussiancross.core.errors import InputError
from helpers.query_features import BAD_ROWS, random_features, sample_data, with_bad_rows


class TestRelevancy:
    def test_golden(self):
        z = np.load(sample_data("golden", "lerf_relevancy.npz"))
        inputs = [torch.from_numpy(z[k]) for k in ("embed", "pos_embeds", "neg_embeds")]
        expected = torch.from_numpy(z["relevancy"][..., 0].T)
        assert (query.relevancy(*inputs) - expected).abs().max() < 2e-6
        assert (query.relevancy_reference(*inputs) - torch.from_numpy(z["relevancy_f64"][..., 0].T)).abs().max() < 1e-6
        for precision, tolerance in (("float32", 2e-6), ("int8", 5e-3), ("float16", 5e-3)):
            store = query.FeatureStore.build(inputs[0], precision)
            assert (store.relevancy(*inputs[1:]) - expected).abs().max() < tolerance

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_reference(self, dtype):
        f, p, k = (random_features(n, 13, seed).to(dtype) for seed, n in enumerate((20, 3, 4)))
        got = query.relevancy(f, p, k)
        assert got.shape == (20, 3) and got.dtype == torch.promote_types(dtype, torch.float32)
        assert (got - query.relevancy_reference(f, p, k)).abs().max() < (1e-12 if dtype == torch.float64 else 2e-6)

    def test_values_by_hand(self):
        a, b, c = torch.eye(3)
        got = query.relevancy(torch.stack([a, b, a + b]), a[None], torch.stack([b, c]))[:, 0]
        assert torch.allclose(got, torch.tensor([10.0, -10.0, 0.0]).sigmoid())

    def test_lengths_do_not_matter(self):
        f, p, k = random_features(9, 8), random_features(2, 8, 1), random_features(2, 8, 2)
        huge = query.relevancy(f * 1e30, p * 1e-30, k * 1e25)
        assert torch.allclose(huge, query.relevancy(f, p, k), atol=1e-5)

    def test_unusable_rows_score_zero(self):
        f, p, k = with_bad_rows(random_features(20, 8)), random_features(3, 8, 1), random_features(3, 8, 2)
        p[1], k[0] = 0, float("nan")
        expected = query.relevancy_reference(f, p, k[1:])
        bad = list(BAD_ROWS)
        assert (expected[bad] == 0).all() and (expected[:, 1] == 0).all()
        assert (query.relevancy(f, p, k) - expected).abs().max() < 1e-6
        assert (query.similarity(f, p)[bad] == 0).all() and (query.similarity(f, p)[:, 1] == 0).all()
        for precision in ("float32", "float16", "int8"):
            store = query.FeatureStore.build(f, precision)
            assert store.unusable.tolist() == bad
            got = store.relevancy(p, k)
            assert (got[bad] == 0).all() and (got[:, 1] == 0).all() and (got - expected).abs().max() < 2e-2
            assert (store.scores(p)[bad] == 0).all() and (store.scores(p)[:, 1] == 0).all()

    def test_empty_features_and_queries(self):
        empty, p = torch.zeros(0, 8), random_features(2, 8)
        assert query.relevancy(empty, p, p).shape == (0, 2) and query.similarity(p, empty).shape == (2, 0)
        assert query.FeatureStore.build(empty, "int8").relevancy(p, p).shape == (0, 2)
        assert query.FeatureStore.build(p, "int8").scores(empty).shape == (2, 0)

    def test_gradient(self):
        f = random_features(2, 4).double().requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x: query.relevancy(x, random_features(2, 4, 1), random_features(3, 4, 2)), f
        )

    def test_errors(self):
        f = random_features(4, 8)
        with pytest.raises(InputError, match="as wide as the features"):
            query.relevancy(f, random_features(1, 7), f)
        with pytest.raises(InputError, match="negatives"):
            query.relevancy(f, f, torch.zeros(2, 8))
        with pytest.raises(InputError, match="shape"):
            query.similarity(f[0], f)
