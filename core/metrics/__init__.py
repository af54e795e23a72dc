"""How good a render and a representation are."""

from .image import depth_error, psnr, token_cosine
from .instance import InstanceAP, InstanceScores
from .representation import effective_rank, feature_spread
from .semantic import SemanticScores, confusion_matrix, semantic_scores

__all__ = [
    "InstanceAP",
    "InstanceScores",
    "SemanticScores",
    "confusion_matrix",
    "depth_error",
    "effective_rank",
    "feature_spread",
    "psnr",
    "semantic_scores",
    "token_cosine",
]
