"""Text queries on class-score features: coordinates give the cosines of the full text space."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.query import ChannelText, TextVectors, UnknownPhrase, peak, similarity

NAMES = ("sofa", "wall", "lamp; light", "dining table")


@pytest.fixture(scope="module")
def words() -> TextVectors:
    vectors = torch.eye(24)[1:7]
    vectors[:, 0] = 1.5  # what all words have in common
    names = ["sofa", "lamp", "giraffe", "dining_table", "couch", "desk"]
    vectors[4] = vectors[0] + 0.3 * torch.eye(24)[20]
    return TextVectors(vectors, names)


@pytest.fixture(scope="module")
def channels(words: TextVectors) -> ChannelText:
    return ChannelText.build(NAMES, words)


@pytest.fixture(scope="module")
def scores() -> torch.Tensor:
    return torch.randn(200, 4, generator=torch.Generator().manual_seed(1)) * 3


def test_cosines_are_those_of_the_weighted_sum_of_text_vectors(words, channels, scores):
    phrases = ["couch", "giraffe", "sofa", "the lamps"]
    full = channels.probabilities(scores, 4.0) @ channels.vectors  # [N, D + U], never made otherwise
    text = torch.nn.functional.pad(words.encode(phrases).vectors, (0, full.shape[1] - words.dim))
    got = channels.store(scores, 4.0).scores(channels.encode(phrases).vectors)
    torch.testing.assert_close(got, similarity(full, text), atol=2e-5, rtol=0)
    assert channels.dim == channels.features(scores).shape[1] == 5


def test_names_without_a_vector_get_a_dimension_of_their_own(channels):
    assert channels.known.tolist() == [True, False, True, True]
    query, known = channels.encode(["walls", "floor"])
    assert known.tolist() == [True, False]
    assert not query[1].any()
    logits = 10 * torch.eye(4)
    assert channels.store(logits).scores(query[:1])[:, 0].argmax() == 1
    others = channels.vectors @ channels.vectors.T
    assert 0.5 < others[0, 1] < 0.99  # as near as words are to each other


def test_relevancy_separates_present_from_absent_classes(channels, scores):
    store = channels.store(torch.eye(4).repeat(30, 1)[:, :4] * 10)
    answer = store.relevancy(channels.encode(["sofa", "wall", "giraffe"]).vectors, channels.common())
    assert peak(answer[:, 0]) > 0.6 and peak(answer[:, 1]) > 0.6
    assert peak(answer[:, 2]) < 0.5
    empty = channels.store(torch.tensor([[0.0, 10, 0, 0]]).repeat(50, 1))
    assert peak(empty.relevancy(channels.encode(["sofa"]).vectors, channels.common())) < 0.5


def test_length_of_the_scores_does_not_matter(channels, scores):
    torch.testing.assert_close(channels.features(scores), channels.features(scores * 7), atol=1e-6, rtol=0)


def test_find_matches_names_and_suggests_similar_ones(channels):
    assert channels.find("A Sofa") == "sofa"
    assert channels.find("light") == "lamp; light"
    assert channels.find("giraffes") == "giraffe"
    missing = channels.find("wal")
    assert isinstance(missing, UnknownPhrase) and "wall" in missing.suggestions
    assert channels.nearest("couch")[0] == "sofa"
    assert channels.nearest("xyzzy") == ("", 0.0)


def test_without_an_encoder_the_class_names_are_the_phrases(scores):
    channels = ChannelText.build(NAMES)
    query, known = channels.encode(["wall", "giraffe"])
    assert known.tolist() == [True, False]
    best = channels.store(scores, 4.0).scores(query[:1])[:, 0].argmax()
    assert channels.probabilities(scores, 4.0)[:, 1].argmax() == best
    assert str(channels.find("giraffe")).startswith("Unknown phrase 'giraffe'.")


def test_bad_input():
    with pytest.raises(InputError, match="class scores"):
        ChannelText.build(NAMES).features(torch.zeros(3, 5))
    with pytest.raises(InputError, match="channel names"):
        ChannelText.build([])


def test_rows_that_are_not_finite_score_nothing(channels, scores):
    spoilt = scores.clone()
    spoilt[3, 1] = torch.nan
    got = channels.store(spoilt).scores(channels.encode(["sofa"]).vectors)
    assert got[3] == 0 and got.isfinite().all()
