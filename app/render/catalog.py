"""Layers by name: groups in the page, keys, and the data that they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..scenes.source import SceneState

Layer = Literal[
    "Points",
    "Masked",
    "RGB",
    "Depth",
    "Alpha",
    "Centres",
    "Scales",
    "Opacity",
    "Features",
    "Teacher",
    "Heat",
    "Labels",
    "Classes",
    "Target",
    "Target depth",
    "Views",
    "RGB error",
    "Depth error",
    "Cosine",
]
Kind = Literal["cloud", "splat", "camera", "sheet"]
"""cloud: points, drawn by the browser. splat: from any camera. camera: from the position of a dataset camera, in any
direction. sheet: a table of pictures that fills the canvas."""


@dataclass(frozen=True)
class LayerInfo:
    """Name, group and key of a layer in the page.

    Attributes:
        name: unique name, on buttons and labels of a split.
        group: row of buttons.
        kind: see `Kind`.
        hint: one line for the list of commands.
        key: keyboard shortcut, or None.
    """

    name: Layer
    group: str
    kind: Kind
    hint: str
    key: str | None = None


_ALL = (
    LayerInfo("RGB", "Render", "splat", "colours of the Gaussians", "1"),
    LayerInfo("Depth", "Render", "splat", "distance along the camera's axis, metres", "2"),
    LayerInfo("Alpha", "Render", "splat", "opacity of the render"),
    LayerInfo("Features", "Features", "splat", "predicted features, three principal components as colours", "3"),
    LayerInfo("Teacher", "Features", "camera", "the 2D teacher's features in the same colours"),
    LayerInfo("Heat", "Features", "splat", "scores of the last pick or query", "8"),
    LayerInfo("Points", "Points", "cloud", "the input points", "4"),
    LayerInfo("Masked", "Points", "cloud", "points that the network sees in colour, masked points in grey", "5"),
    LayerInfo("Labels", "Classes", "splat", "ground truth, from the nearest labelled point", "6"),
    LayerInfo("Classes", "Classes", "splat", "predicted classes", "7"),
    LayerInfo("Centres", "Gaussians", "splat", "a dot at every Gaussian's centre"),
    LayerInfo("Scales", "Gaussians", "splat", "the longest axis of every Gaussian"),
    LayerInfo("Opacity", "Gaussians", "splat", "the opacity of every Gaussian"),
    LayerInfo("Target", "Camera", "camera", "the recorded picture"),
    LayerInfo("Target depth", "Camera", "camera", "the recorded depth"),
    LayerInfo("Views", "Camera", "sheet", "targets and renders as a table", "9"),
    LayerInfo("RGB error", "Errors", "camera", "mean absolute difference of the three colours"),
    LayerInfo("Depth error", "Errors", "camera", "absolute difference of depths, metres"),
    LayerInfo("Cosine", "Errors", "camera", "1 - cosine of rendered and teacher features"),
)

INFO: dict[str, LayerInfo] = {info.name: info for info in _ALL}
LAYERS: tuple[Layer, ...] = tuple(info.name for info in _ALL)
GROUPS: dict[str, tuple[Layer, ...]] = {
    group: tuple(i.name for i in _ALL if i.group == group) for group in dict.fromkeys(i.group for i in _ALL)
}
"""Row of buttons → its layers, in the order of the page."""

MIXABLE: tuple[Layer, ...] = tuple(i.name for i in _ALL if i.kind != "sheet")
"""Layers that can share the canvas with another one."""


def missing(state: SceneState | None, shown: frozenset[Layer]) -> dict[Layer, str]:
    """Reasons why layers are unavailable, for those that another run or a click would make available.

    Args:
        shown: result of `available`.
    """
    if state is None or state.gaussians is None:
        return {}
    frames = state.frames is not None and len(state.frames) > 0
    teacher = "no features of a 2D teacher: open the run with --teacher"
    if not frames:
        teacher = "no posed frames, so no teacher's features"
    why: dict[Layer, str] = {
        "Heat": "click an object, or enter a text query",
        "Teacher": teacher,
        "Cosine": teacher if state.has_embeddings else "these Gaussians have no features",
        "Features": "these Gaussians have no features",
        "Labels": "this scene has no labels",
        "Classes": "no probe and no other prediction of classes",
    }
    return {layer: reason for layer, reason in why.items() if layer not in shown}


def available(state: SceneState | None, heat: bool = False, classes: bool = False) -> frozenset[Layer]:
    """Layers for which scene ``state`` has data.

    Args:
        heat: whether scores have been set.
        classes: whether there are predicted classes.
    """
    if state is None:
        return frozenset(("RGB", "Points"))
    splats, frames = state.gaussians is not None, state.frames is not None and len(state.frames) > 0
    labels = state.points is not None and state.points.segment is not None
    needs: dict[Layer, bool] = {
        "Points": state.points is not None or splats,
        "Masked": state.points is not None,
        "Features": splats and state.has_embeddings,
        "Teacher": frames and state.has_teacher,
        "Heat": splats and heat,
        "Labels": splats and labels,
        "Classes": splats and classes,
        "Target": frames,
        "Target depth": frames,
        "Views": frames,
        "RGB error": frames and splats,
        "Depth error": frames and splats,
        "Cosine": frames and splats and state.has_teacher and state.has_embeddings,
    }
    return frozenset(name for name in LAYERS if needs.get(name, splats))
