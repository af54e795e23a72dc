"""The models: networks joined into a method, with their configs."""

from .clipgs import ClipGS, ClipGSConfig
from .gaussiancross import GaussianCross, GaussianCrossConfig, Prediction
from .pointgroup import PointGroup, PointGroupConfig
from .pretrained import load, load_pretrained

__all__ = [
    "ClipGS",
    "ClipGSConfig",
    "GaussianCross",
    "GaussianCrossConfig",
    "PointGroup",
    "PointGroupConfig",
    "Prediction",
    "load",
    "load_pretrained",
]
