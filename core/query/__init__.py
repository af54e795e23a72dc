"""Open-vocabulary queries: compare the features of a scene with text and examples.

ask           run a `Query` of phrases, `Example`s and negatives: scores, presence, unknown phrases
scoring       cosine `similarity`, LERF's `relevancy`, one query vector from several examples (`combine`)
store         `FeatureStore`: normalised, packed features for repeated queries
text          `TextEncoder` protocol, prompt templates, precomputed vectors of a vocabulary (`TextVectors`)
channels      text queries on features that are class scores (`ChannelText`)
decide        `auto_threshold`; presence in the scene (`present`) and its cut (`calibrate`)
calibration   files of calibrated cuts
domain        whether a scene resembles those that a cut was fitted on
selection     selection threshold of the scores and the objects above it
objects       connected `components` of the selected points, with boxes and scores
index         nearest neighbours in large sets of vectors
dot           numba kernels of `store`

    encoder = TextVectors.load("clip_vitb32_lvis.npy")
    answer = ask(QueryableFeatures.build(gaussians.features, encoder), Query(("armchair", "lamp")))
    scores = answer.phrase_scores[:, 0]
    cut = choose_cut(scores, floor=0.5)
    chairs = group(gaussians.means.numpy(), (scores > cut.value).numpy(), scores)
"""

from .ask import (
    ALIKE,
    MAX_LETTERS,
    MAX_PHRASES,
    PRESENT,
    Answer,
    Example,
    Mode,
    PhraseAnswer,
    Query,
    QueryableFeatures,
    ask,
    negatives_of,
    read_phrases,
    template_for,
)
from .channels import ChannelText
from .decide import Calibration, Presence, Threshold, auto_threshold, calibrate, peak, present, roc_auc
from .objects import QueryObject, components
from .scoring import centred_cosine, combine, relevancy, relevancy_reference, similarity
from .selection import Cut, choose_cut, group, spacing
from .store import FeatureStore
from .text import (
    CANONICAL,
    PHOTO,
    PLAIN,
    SCENE,
    ClosedVocabularyEncoder,
    EncodedPhrases,
    TextEncoder,
    TextVectors,
    UnknownPhrase,
    encode,
    expand,
)

__all__ = [
    "ALIKE",
    "CANONICAL",
    "MAX_LETTERS",
    "MAX_PHRASES",
    "PHOTO",
    "PLAIN",
    "PRESENT",
    "SCENE",
    "Answer",
    "Calibration",
    "ChannelText",
    "ClosedVocabularyEncoder",
    "Cut",
    "EncodedPhrases",
    "Example",
    "FeatureStore",
    "Mode",
    "PhraseAnswer",
    "Presence",
    "Query",
    "QueryObject",
    "QueryableFeatures",
    "TextEncoder",
    "TextVectors",
    "Threshold",
    "UnknownPhrase",
    "ask",
    "auto_threshold",
    "calibrate",
    "centred_cosine",
    "choose_cut",
    "combine",
    "components",
    "encode",
    "expand",
    "group",
    "negatives_of",
    "peak",
    "present",
    "read_phrases",
    "relevancy",
    "relevancy_reference",
    "roc_auc",
    "similarity",
    "spacing",
    "template_for",
]
