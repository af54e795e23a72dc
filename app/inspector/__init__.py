"""The inspector: shows a training, a checkpoint, a point scene or Gaussians in the browser.

inspector.py        `Inspector`: server, connections, pulse; shared.py: state of all browsers
worker.py           the render thread and its time budget
access.py           which pages may connect; viser_internals.py: private interfaces of viser
session.py          one browser, composed of:
  browser.py          its viser client, jobs and error reports
  view_state.py       what it shows; effects.py: what is redrawn when a field changes
  address.py          the same in the page's address; history.py: undo
  camera.py           the free camera; pending_move.py: moves that the client has not confirmed
  loader.py           loads scenes and newer weights; requests.py: asks for images
  overlay.py          words over the canvas: legends, names, messages
  frusta.py           clickable dataset cameras; divider.py: the draggable line between two layers
  jobs.py             exports
  context.py          what panels may use; hooks.py: events for panels; panels/: the panels

Names are loaded when they are used, which keeps importing this package cheap.
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
