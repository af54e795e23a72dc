"""Complete queries: phrases, examples, classes, thresholds and groups, on synthetic features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.query import (
    Calibration,
    ClosedVocabularyEncoder,
    EncodedPhrases,
    Example,
    FeatureStore,
    Query,
    QueryableFeatures,
    TextVectors,
    ask,
    centred_cosine,
    choose_cut,
    group,
    negatives_of,
    spacing,
    template_for,
)

NAMES = ["sofa", "lamp", "wall", "giraffe"]
PER = 60


@pytest.fixture(scope="module")
def lexicon() -> TextVectors:
    vectors = torch.eye(16)[1:5]
    vectors[:, 0] = 1.5
    return TextVectors(vectors, NAMES)


@pytest.fixture(scope="module")
def features(lexicon: TextVectors) -> torch.Tensor:
    """Sixty sofas, sixty lamps, sixty walls."""
    clean = lexicon.encode(NAMES[:3]).vectors.repeat_interleave(PER, 0)
    return 3 * (clean + 0.02 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)))


class Tower:
    """A text tower without a list of words."""

    dim = 16

    def __init__(self, known: tuple[str, ...]) -> None:
        self.known, self.seen = known, []

    def encode(self, phrases: list[str]) -> EncodedPhrases:
        self.seen += phrases
        known = torch.tensor([any(w in p for w in self.known) for p in phrases])
        return EncodedPhrases(
            torch.randn(len(phrases), 16, generator=torch.Generator().manual_seed(1)) * known[:, None], known
        )


def test_each_phrase_has_a_column_and_classes_take_the_best(lexicon, features):
    answer = ask(QueryableFeatures.build(features, lexicon), Query(("lamp", "zebra", "sofa")))
    assert [p.phrase for p in answer.known_phrases] == ["lamp", "sofa"]
    assert answer.phrase_scores.shape == (3 * PER, 2)
    torch.testing.assert_close(answer.phrase_scores.amax(1), answer.scores)
    labels = answer.classes([0.5, 0.5])
    assert labels.tolist() == [1] * PER + [0] * PER + [-1] * PER
    assert (answer.classes([0.5, 0.9999]) == -1)[:PER].all()
    with pytest.raises(InputError, match="known phrase"):
        ask(QueryableFeatures.build(features, lexicon), Query(("zebra",))).classes([])


def test_an_example_finds_similar_points_and_leaves_phrases_unchanged(lexicon, features):
    words = QueryableFeatures.build(features, lexicon)
    crop = Example("this", features[PER : PER + 5] * torch.tensor([[1.0], [9], [0.1], [3], [2]]))
    answer = ask(words, Query((crop, "sofa")))
    this, sofa = answer.phrase_scores.T
    assert answer.phrases[0].phrase == "this" and answer.phrases[0].presence.present
    assert this[PER : 2 * PER].min() > 0.5 > torch.cat([this[:PER], this[2 * PER :]]).max()
    torch.testing.assert_close(sofa, ask(words, Query(("sofa",))).phrase_scores[:, 0])
    elsewhere = ask(words, Query((Example("giraffe", lexicon.encode(["giraffe"]).vectors),)))
    assert not elsewhere.phrases[0].presence.present
    against = ask(words, Query((crop,), negatives=("lamp",)))
    assert against.scores.max() < this.max()


def test_an_example_of_class_scores_goes_through_the_channels(lexicon):
    logits = 20 * torch.eye(3).repeat_interleave(PER, 0)
    answer = ask(QueryableFeatures.build(logits, lexicon, NAMES[:3]), Query((Example("pick", logits[:1]), "lamp")))
    assert answer.classes([0.5, 0.5]).tolist() == [0] * PER + [1] * PER + [-1] * PER


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_centred_cosine_is_the_cosine_of_centred_vectors(precision):
    g = torch.Generator().manual_seed(3)
    rows = torch.randn(500, 24, generator=g) + 2 * torch.randn(24, generator=g)
    rows[7] = 0
    store = FeatureStore.build(rows, precision)
    queries = torch.randn(4, 24, generator=g) + rows[1]
    unit, query = (torch.nn.functional.normalize(t, dim=1) for t in (rows, queries))
    mean = unit.sum(0) / 499
    expected = torch.nn.functional.cosine_similarity((unit - mean)[:, None], (query - mean)[None], dim=-1)
    expected[7] = 0
    got = centred_cosine(store, queries)
    torch.testing.assert_close(got, expected, atol=1e-4 if precision == "float32" else 0.03, rtol=0)


def test_calibration_decides_what_is_present(lexicon, features):
    plain = ask(QueryableFeatures.build(features, lexicon), Query(("sofa",))).phrases[0].presence
    strict = QueryableFeatures.build(features, lexicon, calibration=Calibration(plain.score + 0.01, 1.0))
    assert plain.present and not ask(strict, Query(("sofa",))).phrases[0].presence.present
    assert ask(strict, Query(("sofa",))).scores.max() > 0.5  # scores are not touched


def test_text_towers_get_templates_and_canonical_phrases(features):
    tower = Tower(("sofa", "object"))
    assert not isinstance(tower, ClosedVocabularyEncoder) and template_for(tower) == "a photo of a {}"
    answer = ask(QueryableFeatures.build(features, tower), Query(("sofa", "lamp"), template="a {} here"))
    assert answer.phrases[1].unknown is not None and "a sofa here" in tower.seen
    assert negatives_of(tower).shape == (1, 16)
    with pytest.raises(InputError, match="canonical"):
        negatives_of(Tower(("sofa",)))


def test_features_and_text_vectors_must_match(lexicon, features):
    with pytest.raises(InputError, match="neither"):
        QueryableFeatures.build(features)
    with pytest.raises(InputError, match="different models"):
        QueryableFeatures.build(features[:, :5], lexicon)


def test_stores_are_made_once_and_shared(lexicon, features):
    made: dict = {}

    def keep(name, make):
        return made.setdefault(name, None) or made.update({name: make()}) or made[name]

    first, second = (QueryableFeatures.build(features, lexicon, memo=keep) for _ in range(2))
    assert first.store() is second.store()


def test_cut_of_relevancy_is_never_below_its_floor_and_without_one_the_best_are_taken():
    scores = torch.cat([torch.full((900,), 0.3), torch.full((100,), 0.8)])
    scores += 0.01 * torch.randn(1000, generator=torch.Generator().manual_seed(0))
    cut = choose_cut(scores, 0.5)
    assert 0.5 <= cut.value < 0.75 and (cut.low, cut.high) == (0, 1)
    flat = choose_cut(torch.linspace(0.9, 0.95, 2000))
    assert flat.method == "best" and flat.low <= 0.9 and 0.94 < flat.value < 0.95
    assert choose_cut(torch.zeros(5)).low < choose_cut(torch.zeros(5)).high


def test_groups_are_joined_across_the_usual_distance():
    grid = np.stack(np.meshgrid(*[np.arange(12) * 0.05] * 2, [0.0]), -1).reshape(-1, 3)
    coord = np.concatenate([grid, grid[:30] + np.array([3.0, 0, 0]), [[9, 9, 9]]])
    assert spacing(coord) == pytest.approx(0.05)
    found = group(coord, np.ones(len(coord), bool), torch.ones(len(coord)))
    assert [o.size for o in found] == [144, 30]
    assert group(coord, np.zeros(len(coord), bool)) == []
    assert spacing(coord[:1]) > 0
