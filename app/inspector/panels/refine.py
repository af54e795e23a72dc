"""Refine panel: optimises the shown scene's Gaussians against its posed frames, and shows them meanwhile."""

from __future__ import annotations

import viser

from ....core.errors import InputError
from ....trainers.gaussian_fitting import RefineConfig
from ...export.refining import RefinedScene, refine_work
from ...scenes.uploads import MAX_ADDED
from ..context import PanelContext
from .base import Panel, register
from .controls import assign, note_html
from .export import JobBar

_HINT = (
    "Optimises the scene's Gaussians against its posed frames, as `gaussiancross refine` does. The result is a scene "
    "of its own, and a download."
)


@register("refine", tab="Files", order=2, folder="Refine", available=lambda shared: shared.feed is None)
class RefinePanel(Panel):
    """Runs in the background of the render thread, as exports do; a stopped one leaves the scene as it is then."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        gui, guard = context.gui, context.guarded
        self._text = gui.add_html(note_html(_HINT))
        self._seconds = gui.add_slider("Time (s)", 10, 600, 10, 60, hint="more time gives sharper scenes")
        self._start = gui.add_button("Refine", icon=viser.Icon.SPARKLES, color="gray")
        self._start.on_click(guard(lambda _: self._begin()))
        self._bar = JobBar(context)

    def pulse(self) -> None:
        self._bar.pulse()
        job, state = self.context.exports.job, self.context.state()
        frames = 0 if state is None or state.frames is None else len(state.frames)
        assign(self._start, "disabled", frames < 2 or (job is not None and not job.done))

    def _begin(self) -> None:
        context, state = self.context, self.context.state()
        if state is None:
            raise InputError("refining", "a loaded scene", "one that is still loading", "wait a moment")
        renderer = context.renderer
        if len(renderer.scene_names) - len(renderer.source.scene_names) >= MAX_ADDED:
            raise InputError("refining", f"at most {MAX_ADDED} added scenes", "one more", "restart to forget them")
        index: list[int] = []

        def show(now: RefinedScene) -> None:
            if index:
                renderer.replace_scene(index[0], now.state)
                if context.view.scene == index[0]:
                    context.requests.canvas(lane="background")
            else:
                index.append(renderer.add_scene(now.state))
                context.model.choose_layer("RGB")  # captures open on their points
                context.loader.select_scene(index[0])
            text = f"{state.name}: {now.before:.1f} dB before, {now.quality:.1f} dB now, on held-out frames."
            assign(self._text, "content", note_html(text))

        seconds = min(600.0, max(1.0, float(self._seconds.value)))
        context.exports.start("refined scene", refine_work(state, RefineConfig(seconds=seconds), show))
