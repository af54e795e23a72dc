"""Asking a scene: everything between a model's features and an answer that is not a model.

- `scoring`: cosine `similarity`, LERF's `relevancy`, several picks in one (`combine`)
- `store`: `FeatureStore`, a million features answered in a few tens of milliseconds
- `decide`: `auto_threshold`; "not in this scene" (`present`) with a cut that can be calibrated (`calibrate`)
- `objects`: selected points → connected `components` with boxes and scores
- `text`: the `TextEncoder` protocol, prompt templates, a dictionary of precomputed vectors (`TextVectors`)
- `channels`: words for features that are class scores (`ChannelText`)

    words = TextVectors.load("clip_vitb32_lvis.npy")
    query, known = encode(words, ["armchair", "lamp"])
    scores = FeatureStore.build(gaussians.features).relevancy(query, words.common())  # [N, 2]
    chairs = components(gaussians.means, scores[:, 0] > auto_threshold(scores[:, 0]).value, 0.05, scores[:, 0])
"""

from .channels import ChannelText
from .decide import Calibration, Presence, Threshold, auto_threshold, calibrate, peak, present, roc_auc
from .objects import QueryObject, components
from .scoring import combine, relevancy, relevancy_reference, similarity
from .store import FeatureStore
from .text import CANONICAL, PHOTO, PLAIN, SCENE, Encoded, TextEncoder, TextVectors, UnknownPhrase, encode, expand

__all__ = [
    "CANONICAL",
    "PHOTO",
    "PLAIN",
    "SCENE",
    "Calibration",
    "ChannelText",
    "Encoded",
    "FeatureStore",
    "Presence",
    "QueryObject",
    "TextEncoder",
    "TextVectors",
    "Threshold",
    "UnknownPhrase",
    "auto_threshold",
    "calibrate",
    "combine",
    "components",
    "encode",
    "expand",
    "peak",
    "present",
    "relevancy",
    "relevancy_reference",
    "roc_auc",
    "similarity",
]
