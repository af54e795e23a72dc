"""The models: networks joined into a method, with their configs."""

from .gaussiancross import GaussianCross, GaussianCrossConfig, Prediction
from .pretrained import load_pretrained

__all__ = ["GaussianCross", "GaussianCrossConfig", "Prediction", "load_pretrained"]
