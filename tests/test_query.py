"""Queries: relevancy, the packed feature store, thresholds, presence, objects and words."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core import query
from gaussiancross.core.errors import InputError
from gaussiancross.core.query.decide import TWO_GROUPS, otsu
from gaussiancross.core.query.objects import connected_labels
from hypothesis import given, settings
from hypothesis import strategies as st

DATA = Path(__file__).parents[2] / "shared" / "data"
BAD_ROWS = {3: 0.0, 7: float("nan"), 11: float("inf")}


def _features(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    """CLIP-like: a strong common direction, lengths far from 1."""
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(dim, generator=g)
    return (common + torch.randn(n, dim, generator=g)) * torch.rand(n, 1, generator=g).mul(6).exp()


def _with_bad_rows(features: torch.Tensor) -> torch.Tensor:
    features = features.clone()
    for row, value in BAD_ROWS.items():
        features[row, :] = 0 if value == 0 else features[row]
        features[row, 2] = value
    return features


def _data(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} in the sample data")
    return path


class TestRelevancy:
    def test_golden(self):
        z = np.load(_data("golden", "lerf_relevancy.npz"))
        inputs = [torch.from_numpy(z[k]) for k in ("embed", "pos_embeds", "neg_embeds")]
        expected = torch.from_numpy(z["relevancy"][..., 0].T)
        assert (query.relevancy(*inputs) - expected).abs().max() < 2e-6
        assert (query.relevancy_reference(*inputs) - torch.from_numpy(z["relevancy_f64"][..., 0].T)).abs().max() < 1e-6
        for precision, tolerance in (("float32", 2e-6), ("int8", 5e-3), ("float16", 5e-3)):
            store = query.FeatureStore.build(inputs[0], precision)
            assert (store.relevancy(*inputs[1:]) - expected).abs().max() < tolerance

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_reference(self, dtype):
        f, p, k = (_features(n, 13, seed).to(dtype) for seed, n in enumerate((20, 3, 4)))
        got = query.relevancy(f, p, k)
        assert got.shape == (20, 3) and got.dtype == torch.promote_types(dtype, torch.float32)
        assert (got - query.relevancy_reference(f, p, k)).abs().max() < (1e-12 if dtype == torch.float64 else 2e-6)

    def test_means_what_it_says(self):
        a, b, c = torch.eye(3)
        got = query.relevancy(torch.stack([a, b, a + b]), a[None], torch.stack([b, c]))[:, 0]
        assert torch.allclose(got, torch.tensor([10.0, -10.0, 0.0]).sigmoid())

    def test_lengths_do_not_matter(self):
        f, p, k = _features(9, 8), _features(2, 8, 1), _features(2, 8, 2)
        huge = query.relevancy(f * 1e30, p * 1e-30, k * 1e25)
        assert torch.allclose(huge, query.relevancy(f, p, k), atol=1e-5)

    def test_unusable_rows_score_zero(self):
        f, p, k = _with_bad_rows(_features(20, 8)), _features(3, 8, 1), _features(3, 8, 2)
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

    def test_nobody_there(self):
        empty, p = torch.zeros(0, 8), _features(2, 8)
        assert query.relevancy(empty, p, p).shape == (0, 2) and query.similarity(p, empty).shape == (2, 0)
        assert query.FeatureStore.build(empty, "int8").relevancy(p, p).shape == (0, 2)
        assert query.FeatureStore.build(p, "int8").scores(empty).shape == (2, 0)

    def test_gradient(self):
        f = _features(2, 4).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x: query.relevancy(x, _features(2, 4, 1), _features(3, 4, 2)), f)

    def test_errors(self):
        f = _features(4, 8)
        with pytest.raises(InputError, match="as wide as the features"):
            query.relevancy(f, _features(1, 7), f)
        with pytest.raises(InputError, match="negatives"):
            query.relevancy(f, f, torch.zeros(2, 8))
        with pytest.raises(InputError, match="shape"):
            query.similarity(f[0], f)


class TestStore:
    @pytest.mark.parametrize("n,dim,queries", [(1, 1, 1), (5, 31, 3), (33, 32, 4), (9000, 70, 5), (130, 512, 9)])
    @pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
    def test_scores_within_the_stated_error(self, precision, n, dim, queries):
        f, q = _features(n, dim), _features(queries, dim, 1)
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
        f = _features(40, 24)
        lengths = torch.logspace(-30, 30, 40)[:, None]
        stores = [query.FeatureStore.build(x, "int8") for x in (f, f / f.norm(dim=1, keepdim=True) * lengths)]
        q = _features(3, 24, 1)
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
        f, p, k = _features(40_000, 40), _features(2, 40, 1), _features(4, 40, 2)
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
        f, p, k = _with_bad_rows(_features(5000, 96)), _features(2, 96, 1), _features(4, 96, 2)
        store = query.FeatureStore.build(f.cuda())
        assert store.precision == "float16"
        assert (store.relevancy(p, k).cpu() - query.relevancy(f, p, k)).abs().max() < 2e-2
        assert (store.scores(p).cpu() - query.similarity(f, p)).abs().max() < 2e-3
        with pytest.raises(InputError, match="float16"):
            query.FeatureStore.build(f.cuda(), "int8")


class TestCombine:
    def test_mean_of_directions(self):
        a, b, c = torch.eye(3)
        assert torch.allclose(query.combine(torch.stack([a * 5, b])), (a + b) / 2**0.5)
        assert torch.allclose(query.combine(a[None], c[None]), (a - 0.5 * c) / 1.25**0.5)
        assert torch.allclose(query.combine(a[None], torch.zeros(0, 3)), a)
        assert torch.allclose(query.combine(torch.stack([a, a * float("nan")]), torch.zeros(1, 3)), a)

    def test_exclude_pushes_away(self):
        f = _features(50, 16)
        plain, pushed = query.combine(f[:3]), query.combine(f[:3], f[10:12])
        assert (query.similarity(f[10:12], pushed[None]) < query.similarity(f[10:12], plain[None])).all()

    def test_excluded_as_negatives(self):
        f = _features(50, 16)
        negatives = torch.cat([f[20:22], f[10:12]])
        got = query.relevancy(f, query.combine(f[:3])[None], negatives)
        assert (got[10:12] <= query.relevancy(f, query.combine(f[:3])[None], f[20:22])[10:12]).all()
        assert (got[10:12] < 0.5).all()

    def test_errors(self):
        a = torch.eye(3)[:1]
        for include, exclude in ((torch.zeros(2, 3), None), (torch.cat([a, -a]), None), (a, a)):
            with pytest.raises(InputError, match="picks"):
                query.combine(include, exclude, 1.0)


class TestThreshold:
    def _scores(self, share: float, n: int = 50_000) -> tuple[torch.Tensor, torch.Tensor]:
        g = torch.Generator().manual_seed(1)
        truth = torch.arange(n) < share * n
        noise = torch.randn(n, generator=g)
        return torch.where(truth, 0.75 + 0.05 * noise, 0.4 + 0.05 * noise), truth

    @pytest.mark.parametrize("share,method", [(0.3, "otsu"), (0.02, "otsu"), (0.002, "otsu above floor")])
    def test_finds_the_object(self, share, method):
        scores, truth = self._scores(share)
        got = query.auto_threshold(scores)
        chosen = scores > got.value
        assert got.method == method and got.separability >= TWO_GROUPS
        assert (chosen & truth).sum() / (chosen | truth).sum() > 0.95

    @pytest.mark.parametrize(
        "draw", [torch.rand, torch.randn, lambda n, generator: torch.rand(n, generator=generator).log().neg()]
    )
    def test_one_group_gets_the_floor(self, draw):
        scores = 0.4 + 0.05 * draw(50_000, generator=torch.Generator().manual_seed(2))
        got = query.auto_threshold(scores)
        assert got.method == "floor" and got.value == 0.5 and got.separability < TWO_GROUPS
        standout = query.auto_threshold(scores, floor=None)
        assert standout.value > scores.median() and (scores > standout.value).float().mean() < 0.08

    def test_two_groups_below_the_floor(self):
        scores, _ = self._scores(0.3)
        got = query.auto_threshold(scores - 0.4)
        assert (got.value, got.method) == (0.5, "floor")  # a score or two above it are not two groups

    def test_otsu_against_brute_force(self):
        values = torch.from_numpy(np.random.default_rng(0).beta(0.5, 0.7, 400)).float()
        cuts = np.linspace(float(values.min()), float(values.max()), 257)[1:-1]

        def within(cut: float) -> float:
            return sum(len(v) * float(v.var(correction=0)) for v in (values[values <= cut], values[values > cut]))

        assert within(otsu(values)[0]) <= min(within(c) for c in cuts) * 1.001

    def test_gap_is_cut_in_the_middle(self):
        got = query.auto_threshold(torch.tensor([0.2] * 50 + [0.9] * 50))
        assert got.method == "otsu" and abs(got.value - 0.55) < 0.01

    def test_degenerate(self):
        nan = float("nan")
        for scores in ([], [nan], [0.0, 0.0], [0.7], [0.7] * 9, [nan, 0.0, 0.3]):
            got = query.auto_threshold(torch.tensor(scores))
            assert (got.value, got.method, got.separability) == (0.5, "floor", 0.0)
        few = query.auto_threshold(torch.tensor([0.6] * 9 + [0.9] * 9))
        assert (few.value, few.method) == (0.5, "floor") and few.separability > TWO_GROUPS
        assert np.isfinite(query.auto_threshold(np.zeros(3), floor=None).value)

    def test_points_without_feature_do_not_count(self):
        scores, _ = self._scores(0.02)
        padded = torch.cat([scores, torch.zeros(50_000), torch.full((100,), float("nan"))])
        assert query.auto_threshold(padded) == query.auto_threshold(scores)


class TestPresence:
    @given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 6), min_size=1, max_size=12))
    @settings(deadline=None)
    def test_auc_and_cut_against_brute_force(self, positive, negative):
        pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p, n in itertools.product(positive, negative)]
        cut, auc, *_ = query.calibrate(np.array(positive) / 6, np.array(negative) / 6)
        assert abs(auc - np.mean(pairs)) < 1e-12

        def balanced(c: float) -> float:
            return float(np.mean(np.array(positive) / 6 > c) + np.mean(np.array(negative) / 6 <= c))

        assert abs(balanced(cut) - max(balanced(c) for c in np.arange(-1.5, 14) / 12)) < 1e-9

    def test_separable(self):
        cut, auc, *_ = query.calibrate(torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.4]))
        assert auc == 1.0 and abs(cut - 0.6) < 1e-6

    def test_present(self):
        scores = torch.full((1000,), 0.3)
        scores[:40] = 0.8
        scores[41] = float("nan")
        assert query.present(scores, 0.6) == query.Presence(True, pytest.approx(0.8), 0.6)
        assert not query.present(scores, 0.85).present

    def test_one_stray_point_is_not_an_object(self):
        scores = torch.full((1000,), 0.3)
        scores[5] = 1.0
        assert not query.present(scores, 0.5).present

    def test_degenerate(self):
        assert query.present(torch.zeros(0), 0.1) == query.Presence(False, 0.0, 0.1)
        assert query.present(torch.tensor([0.4]), 0.1).present
        with pytest.raises(InputError, match="positive_scores"):
            query.calibrate(np.array([]), np.array([1.0]))
        with pytest.raises(InputError, match="negative_scores"):
            query.calibrate(np.array([1.0]), np.array([np.nan]))


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


NAMES = [
    "bookcase",
    "chair",
    "wine_glass",
    "glass_(drink)",
    "bow_(weapon)",
    "bow_(ribbon)",
    "trousers",
    "knife",
    "T-shirt",
]
SYNONYMS = [["book-shelf"], [], [], ["beaker"], [], [], ["pants"], [], ["tee_shirt"]]


class TestText:
    @pytest.fixture
    def words(self) -> query.TextVectors:
        return query.TextVectors(
            torch.randn(len(NAMES), 6, generator=torch.Generator().manual_seed(0)), NAMES, SYNONYMS
        )

    @pytest.mark.parametrize(
        "phrase,name",
        [
            ("chair", "chair"),
            ("  The CHAIRS! ", "chair"),
            ("The Book-cases", "bookcase"),
            ("wineglass", "wine_glass"),
            ("Bookcases", "bookcase"),
            ("book shelves", "bookcase"),
            ("wine glasses", "wine_glass"),
            ("Glass", "glass_(drink)"),
            ("glasses", "glass_(drink)"),
            ("a trouser", "trousers"),
            ("knives", "knife"),
            ("t shirts", "T-shirt"),
            ("bow (ribbon)", "bow_(ribbon)"),
            ("bow", None),
            ("red chair", None),
            ("", None),
            ("🪑" * 50, None),
        ],
    )
    def test_find(self, words, phrase, name):
        found = words.find(phrase)
        if name is not None:
            assert found == name
            return
        assert isinstance(found, query.UnknownPhrase) and str(found).startswith(f"I don't know '{phrase}'.")

    def test_suggestions(self, words):
        assert words.find("red chair").suggestions[0] == "chair"
        assert "bookcase" in words.find("bokcase").suggestions
        assert "wine_glass" in words.find("wine").suggestions
        assert str(words.find("zzzz")) == "I don't know 'zzzz'."

    def test_encode(self, words):
        assert isinstance(words, query.TextEncoder)
        vectors, known = words.encode(["Chairs", "unicorn", "pants"])
        assert known.tolist() == [True, False, True] and vectors.shape == (3, words.dim)
        assert torch.allclose(vectors.norm(dim=1), torch.tensor([1.0, 0, 1])) and (vectors[1] == 0).all()
        assert words.encode([]).vectors.shape == (0, 6)

    def test_templates(self):
        assert query.expand("red chair") == ["a photo of a red chair"]
        assert query.expand("Armchair", ["a {}", "A {} in a room", "banana {}"]) == [
            "an Armchair",
            "An Armchair in a room",
            "banana Armchair",
        ]
        assert query.expand("{}{0}", query.PLAIN) == ["{}{0}"]
        with pytest.raises(InputError, match="template"):
            query.expand("chair", ["a photo"])

    def test_templates_are_averaged(self):
        class Tower:
            dim = 2

            def encode(self, phrases):
                photo = torch.tensor([p.startswith("a photo") for p in phrases])
                vectors = torch.where(photo[:, None], torch.tensor([5.0, 0]), torch.tensor([0, 1.0]))
                return query.Encoded(vectors, torch.tensor(["cat" not in p for p in phrases]))

        vectors, known = query.encode(Tower(), ["dog", "cat"], [*query.PHOTO, "{}"])
        assert known.tolist() == [True, False]
        assert torch.allclose(vectors, torch.tensor([[0.5**0.5, 0.5**0.5], [0, 0]]))
        with pytest.raises(InputError, match="at least one phrase"):
            query.encode(Tower(), [])

    def test_load(self, tmp_path):
        np.save(tmp_path / "v.npy", np.eye(2, 4, dtype=np.float16))
        with pytest.raises(InputError, match=r"v_names\.json"):
            query.TextVectors.load(tmp_path / "v.npy")
        names = tmp_path / "v_names.json"
        names.write_text(json.dumps(["cup", {"name": "sofa", "synonyms": ["couch"]}]))
        words = query.TextVectors.load(tmp_path / "v.npy")
        assert (len(words), words.dim, words.find("couches")) == (2, 4, "sofa")
        for text in ('["cup"]', "{", '[{"nom": "cup"}, "sofa"]', "3"):
            names.write_text(text)
            with pytest.raises(InputError, match=r"v_names\.json"):
                query.TextVectors.load(tmp_path / "v.npy")
        (tmp_path / "v.npy").write_bytes(b"not an array")
        with pytest.raises(InputError, match=r"v\.npy"):
            query.TextVectors.load(tmp_path / "v.npy")

    def test_clip_vectors(self):
        path = _data("text", "clip_vitb32_lvis.npy")
        words = query.TextVectors.load(path)
        assert len(words) == 1203 and words.dim == 512
        phrases = ("ARMCHAIRS", "couches", "TV", "the wine glasses", "hot air balloon")
        expected = ["armchair", "sofa", "television_set", "wineglass", "hot-air_balloon"]
        assert [words.find(p) for p in phrases] == expected
        assert all(words.find(n.upper().replace("_", "-")) == n for n in words.names)
        # The nearest other names of a sofa are furniture.
        vectors, known = words.encode(list(words.names))
        assert known.all()
        sofa = words.names.index("sofa")
        order = query.relevancy(vectors, vectors[sofa][None], words.common())[:, 0].argsort(descending=True)
        assert order[0] == sofa
        near = {words.names[i] for i in order[1:8]}
        assert near & {"armchair", "loveseat", "sofa_bed", "futon", "cushion", "chaise_longue"}
        # The store's int8 keeps that order although CLIP has a few very long dimensions.
        store = query.FeatureStore.build(vectors, "int8")
        assert store.relevancy(vectors[sofa][None], words.common())[:, 0].argmax() == sofa
