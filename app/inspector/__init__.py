"""The inspector: watch a training, or look at a checkpoint, a point scene or splats, in the browser.

inspector.py        `Inspector`: server, browsers, pulse
session.py          one browser; panels/: its controls; frusta.py, divider.py: clickable cameras, draggable line
worker.py           the render thread and its time budget
access.py           which pages may connect; viser_internals.py: private interfaces of viser

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
