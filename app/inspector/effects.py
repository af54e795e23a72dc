"""Which parts of the page are redrawn when a field of the view changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from .view_state import ViewState

Effect = Literal[
    "points",
    "labelled points",
    "point size",
    "canvas",
    "urgent canvas",
    "heat",
    "keep",
    "camera",
    "views",
    "frusta",
    "loading",
]
"""points: send the points again. labelled points: the same if they have the colours of classes. point size: resize the
points sent. canvas: render, small first. urgent canvas: the same without waiting for the time budget. heat: render if
the "Heat" layer is shown. keep: render at full size. camera: go to the dataset camera that a layer belongs to. views:
render the dataset view beside its target. frusta: draw the dataset cameras. loading: say so until the scene is
loaded."""

EFFECTS: dict[str, tuple[Effect, ...]] = {
    "scene": ("loading", "points", "frusta"),
    "layer": ("points", "urgent canvas", "camera"),
    "second": ("points", "urgent canvas", "camera"),
    "mix": ("points", "urgent canvas", "camera"),
    "blend": ("canvas",),
    "at": ("canvas",),
    "gaussian_size": ("canvas",),
    "compare": ("canvas",),
    "classes": ("canvas",),
    "style": ("labelled points", "canvas"),
    "point_color": ("points", "canvas"),
    "point_size": ("point size", "canvas"),
    "overlay": ("points", "canvas"),
    "frusta": ("canvas", "frusta"),
    "frame": ("views",),
    "errors": ("views",),
    "follow": (),
    "up": ("points", "canvas"),
    "colors": ("canvas", "views"),
    "cut": ("points", "canvas"),
    "heat": ("heat",),
    "keep": ("keep",),
}
"""Changed field of `ViewState`, "heat" or "keep" → effects."""

_OUTSIDE_VIEW = frozenset({"heat", "keep"})


def effects_of(changed: Iterable[str], view: ViewState) -> frozenset[Effect]:
    """Effects of changed fields, without those that another one includes."""
    changed = frozenset(changed)
    effects: set[Effect] = {effect for field in changed for effect in EFFECTS[field]}
    if view.layer == "Views" and changed - _OUTSIDE_VIEW:
        effects.add("canvas")
    if "labelled points" in effects and view.point_color in ("Labels", "Probe"):
        effects.add("points")
    effects.discard("labelled points")
    if "points" in effects:
        effects.discard("point size")
    if "urgent canvas" in effects:
        effects.discard("canvas")
    return frozenset(effects)
