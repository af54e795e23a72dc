"""GaussianCross: self-supervised 3D representation learning by Gaussian splatting.

The names below are the public interface; `gaussiancross.core`, `gaussiancross.trainers` and `gaussiancross.app` hold
the rest. Importing this package imports nothing else: each name is imported when it is first used.

    from gaussiancross import load

    model = load("bundled-rooms")
    features = model.encode(coord, color, normal)  # [N, 3], [N, 3] uint8, [N, 3] -> [N, C]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.data.scene import PointScene, PosedFrames
    from .core.datasets import open_dataset
    from .core.geometry.cameras import Cameras
    from .core.geometry.gaussians import Gaussians
    from .core.models import ClipGS, GaussianCross, load
    from .core.splat import rasterize
    from .core.teachers import make_teacher

    __version__: str

__all__ = [
    "Cameras",
    "ClipGS",
    "GaussianCross",
    "Gaussians",
    "PointScene",
    "PosedFrames",
    "__version__",
    "load",
    "make_teacher",
    "open_dataset",
    "rasterize",
]

_MODULES = {
    "Cameras": "core.geometry.cameras",
    "ClipGS": "core.models",
    "GaussianCross": "core.models",
    "Gaussians": "core.geometry.gaussians",
    "PointScene": "core.data.scene",
    "PosedFrames": "core.data.scene",
    "load": "core.models",
    "make_teacher": "core.teachers",
    "open_dataset": "core.datasets",
    "rasterize": "core.splat",
}
"""Public name -> module that defines it."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version(__name__)
    elif name in _MODULES:
        value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # looked up once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
