"""Gaussians as free parameters that are optimised to reproduce pictures.

parameters  `GaussianParameters`: Gaussians as unconstrained parameters with their optimiser
scene       `refine_gaussians`: the Gaussians of a scene against its posed frames
"""

from .parameters import GaussianParameters, LearningRates
from .scene import RefineConfig, TargetViews, read_views, refine_gaussians

__all__ = ["GaussianParameters", "LearningRates", "RefineConfig", "TargetViews", "read_views", "refine_gaussians"]
