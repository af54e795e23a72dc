"""Maths, data and models. Imports numpy and torch, but no optimiser, nerfstudio or viser.

geometry/   cameras, Gaussians, cuboid lattice, normals
data/       scenes and frames in memory, batches, augmentation, class lists
io/         file formats: PLY, .splat, Pointcept folders, RGB-D exports, transforms.json; checkpoints
datasets/   scenes and objects on the disk as datasets; `open_dataset`
synthetic/  procedural rooms and objects
splat/      `rasterize`: reference (torch), CPU (numba), CUDA (gsplat)
sparse/     sparse tensors and convolutions: torch (any device), spconv (CUDA)
nn/         SpUNet, dense 3D U-Net, Gaussian heads, GS tokenizer, point transformer
models/     `GaussianCross`, `ClipGS`, `PointGroup`: networks joined into methods, with their configs
losses/     distillation, contrast, Lovász-softmax, CLIP-GS
teachers/   frozen 2D teachers; `make_teacher`
features/   lifting features from frames to points, interpolation, PCA
query/      text and example queries of features
metrics/    segmentation, detection, retrieval, rendering
errors, config, device    exceptions for users, configs from JSON, choice of device

`PointScene`, `PosedFrames`, `Cameras`, `Gaussians`, `GaussianCross` and `ClipGS` can be imported from here. Their
modules, and torch, are imported when one of the names is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.scene import PointScene, PosedFrames
    from .geometry.cameras import Cameras
    from .geometry.gaussians import Gaussians
    from .models import ClipGS, GaussianCross

__all__ = ["Cameras", "ClipGS", "GaussianCross", "Gaussians", "PointScene", "PosedFrames"]

_MODULES = {
    "Cameras": "geometry.cameras",
    "ClipGS": "models",
    "GaussianCross": "models",
    "Gaussians": "geometry.gaussians",
    "PointScene": "data.scene",
    "PosedFrames": "data.scene",
}
"""Public name → submodule that defines it."""


def __getattr__(name: str) -> Any:
    """Import a public name on first access (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
