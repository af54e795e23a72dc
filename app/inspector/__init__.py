"""The inspector: watch a training, or look at a checkpoint, a point scene or splats, in the browser.

source.py     what can be looked at: `LiveSource`, `ModelSource`, `PointsSource`, `SplatsSource`
layers.py     tensors → pictures; draw.py: legends and sheets; renderer.py: which picture of which scene
worker.py     the one render thread and its budget
session.py    one browser; panels/: its controls; frusta.py, divider.py: what can be clicked and dragged in the picture
inspector.py  `Inspector`: server, browsers, pulse; origin.py: who may connect; limits.py: what they may not do

Names are loaded when used, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..scenes.source import LiveSource, ModelSource, PointsSource, SceneSource, SceneState, SplatsSource
    from ..scenes.timeline import TimelineSource
    from .inspector import Inspector

__all__ = [
    "Inspector",
    "LiveSource",
    "ModelSource",
    "PointsSource",
    "SceneSource",
    "SceneState",
    "SplatsSource",
    "TimelineSource",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = {"Inspector": ".inspector", "TimelineSource": "..scenes.timeline"}.get(name, "..scenes.source")
    return getattr(import_module(module, __name__), name)
