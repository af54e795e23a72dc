"""Events of one browser that panels react to."""

from __future__ import annotations

from ..render.layers import Image
from ..render.scores import ClassScores
from ..scenes.source import SceneState


class BrowserHooks:
    """Base of everything that reacts to events of one browser. Each hook does nothing unless overridden."""

    def pulse(self) -> None:
        """Called ten times a second."""

    def on_change(self, changed: frozenset[str]) -> None:
        """Called after fields of the view changed, and with no names after the render thread changed it."""

    def on_loaded(self, scene: int, state: SceneState) -> None:
        """Called in the render thread when a scene, or newer weights of it, was loaded."""

    def on_views(self, image: Image) -> None:
        """Called in the render thread with the rendered dataset view beside its target."""

    def on_classes(self, scores: ClassScores | None) -> None:
        """Called in the render thread with the class scores that the canvas shows, or None."""


class HookList(BrowserHooks):
    """Forwards each event to all members, in their order."""

    def __init__(self) -> None:
        self.members: list[BrowserHooks] = []

    def pulse(self) -> None:
        for member in self.members:
            member.pulse()

    def on_change(self, changed: frozenset[str]) -> None:
        for member in self.members:
            member.on_change(changed)

    def on_loaded(self, scene: int, state: SceneState) -> None:
        for member in self.members:
            member.on_loaded(scene, state)

    def on_views(self, image: Image) -> None:
        for member in self.members:
            member.on_views(image)

    def on_classes(self, scores: ClassScores | None) -> None:
        for member in self.members:
            member.on_classes(scores)
