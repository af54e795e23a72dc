"""Asking a scene: everything between a model's features and an answer that is not a model.

- `scoring`: cosine `similarity`, LERF's `relevancy`, several picks in one (`combine`)
- `store`: `FeatureStore`, a million features answered in a few tens of milliseconds
- `decide`: `auto_threshold`; "not in this scene" (`present`) with a cut that can be calibrated (`calibrate`)
- `objects`: selected points → connected `components` with boxes and scores
- `text`: the `TextEncoder` protocol, prompt templates, a dictionary of precomputed vectors (`TextVectors`)
- `channels`: words for features that are class scores (`ChannelText`)
- `ask`: a whole question: words, `Example`s (a crop, a Gaussian) and negatives → scores, presence, unknown words
- `selection`: scores → the automatic cut and the objects above it

    words = TextVectors.load("clip_vitb32_lvis.npy")
    answer = ask(Words.build(gaussians.features, words), Question(("armchair", "lamp")))
    cut = choose_cut(answer.each[:, 0], floor=0.5)
    chairs = group(gaussians.means.numpy(), (answer.each[:, 0] > cut.value).numpy(), answer.each[:, 0])
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
    Encoded,
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
    "Encoded",
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
