"""Metrics of renders and representations.

image                            rendered views against their targets
semantic, instance               segmentation as Pointcept and ScanNet score it
retrieval, zero_shot, few_shot   embeddings of objects
representation                   collapse of features
"""

from .few_shot import Episode, draw_episodes, episode_accuracy, few_shot_scores
from .image import depth_error, psnr, token_cosine
from .instance import InstanceAP, InstanceScores
from .representation import effective_rank, feature_spread
from .retrieval import match_ranks, recall, retrieval_scores
from .semantic import SemanticScores, confusion_matrix, semantic_scores
from .zero_shot import TEMPLATES, class_vectors, zero_shot_scores

__all__ = [
    "TEMPLATES",
    "Episode",
    "InstanceAP",
    "InstanceScores",
    "SemanticScores",
    "class_vectors",
    "confusion_matrix",
    "depth_error",
    "draw_episodes",
    "effective_rank",
    "episode_accuracy",
    "feature_spread",
    "few_shot_scores",
    "match_ranks",
    "psnr",
    "recall",
    "retrieval_scores",
    "semantic_scores",
    "token_cosine",
    "zero_shot_scores",
]
