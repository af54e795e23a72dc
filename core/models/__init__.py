"""The models: networks joined into a method, with their configs."""

from .clipgs import ClipGS, ClipGSConfig
from .gaussiancross import GaussianCross, GaussianCrossConfig, Prediction
from .pretrained import load_pretrained

__all__ = ["ClipGS", "ClipGSConfig", "GaussianCross", "GaussianCrossConfig", "Prediction", "load_pretrained"]
