"""Models: networks combined into a method, with their configs.

gaussiancross, gaussiancross_config   self-supervised pre-training by Gaussian splatting
blocks                                Gaussians of large scenes
pointgroup                            instance segmentation
clipgs, clipgs_config                 embeddings of objects
clipgs_files, clipgs_builtin, uni3d   stored, bundled and exported CLIP-GS models; Uni3D's weights
pretrained                            `load_pretrained` for a stored model of any class
"""

from .clipgs import ClipGS
from .clipgs_config import ClipGSConfig
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
