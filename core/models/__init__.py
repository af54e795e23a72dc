"""The models: networks joined into a method, with their configs."""

from .gaussiancross import GaussianCross, GaussianCrossConfig, Prediction

__all__ = ["GaussianCross", "GaussianCrossConfig", "Prediction"]
