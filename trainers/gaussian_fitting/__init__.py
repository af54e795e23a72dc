"""Gaussians as free parameters that are optimised to reproduce pictures.

parameters  `GaussianParameters`: Gaussians as unconstrained parameters with their optimiser
object      `fit_gaussians`: the Gaussians of an object against its renders
scene       `refine_gaussians`: the Gaussians of a scene against its posed frames
"""

from .parameters import GaussianParameters, LearningRates
from .scene import RefineConfig, Refinement, TargetViews, read_views, refine_gaussians, refine_steps

__all__ = [
    "GaussianParameters",
    "LearningRates",
    "RefineConfig",
    "Refinement",
    "TargetViews",
    "read_views",
    "refine_gaussians",
    "refine_steps",
]
