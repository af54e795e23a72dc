"""Time line panel: show the scene with the weights of an earlier training step."""

from __future__ import annotations

import time

import viser

from ...export.files import file_name
from ...export.video import MAX_VIDEO_SIDE, steps_work
from ...export.video_files import Format, even
from ...scenes.timeline import TimelineSource
from ..context import PanelContext
from .base import Panel, register
from .controls import Link, assign
from .export import FORMATS, JobBar

_WIDTHS = ("320", "480", "640", "960")


@register("timeline", tab="Run")
class TimelinePanel(Panel):
    """Moves this browser's position in the time line; a step that is not encoded yet takes a moment."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        source = context.source
        self._source = source if isinstance(source, TimelineSource) else None
        gui, guard = context.gui, context.guarded
        self._playing, self._moved_at = False, 0.0
        self._text = gui.add_markdown("")
        if self._source is None:
            self._text.content = "*Open a run folder to see its time line and curves.*"
            return
        self._slider = gui.add_slider("Time line", 0, 1, 1, 0, hint="weights of earlier steps, in this browser")
        self._slider_link = Link(self._slider, context, self._on_slider)
        self._moves = gui.add_button_group(" ", ("‹ older", "newer ›", "newest"))
        self._moves.on_click(guard(lambda _: self._move(self._moves.value), alone=True))
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY, color="gray")
        self._play.on_click(guard(lambda _: self._toggle(), alone=True))
        self._speed = gui.add_slider(
            "Steps per second", 1, 12, 1, 4, hint="upper limit; a step that was not shown before is encoded first"
        )
        with gui.add_folder("Time line as a video", expand_by_default=False) as self._video:
            self._format = gui.add_dropdown("Format", FORMATS)
            self._width = gui.add_dropdown("Width (px)", _WIDTHS, initial_value="480")
            save = gui.add_button("Save the time line", icon=viser.Icon.DOWNLOAD, color="gray")
            save.on_click(guard(lambda _: self._save()))
        self._bar = JobBar(context)
        self.pulse()

    def pulse(self) -> None:
        """Follow the source, and play."""
        source = self._source
        if source is None:
            return
        self._bar.pulse()
        steps = source.steps
        with self.context.lock:
            self._show(source, steps)
            if self._playing:
                self._advance(steps, source.step())

    def _show(self, source: TimelineSource, steps: tuple[int, ...]) -> None:
        step, enough = source.step(), len(steps) > 1
        shown = steps.index(step) if step in steps else len(steps) - 1
        if not enough:
            text = "*No earlier step has been saved yet; the run saves one at intervals.*"
        else:
            newest = source.position is None or source.position == steps[-1]
            where = "the newest" if newest else f"{shown + 1} of {len(steps)}"
            text = f"**Step {step if step is not None else 0:,}** · {where} · {steps[0]:,} to {steps[-1]:,}"
            if source.live and source.position is not None:
                text += "\n\nTraining continues; *newest* follows it again."
        assign(self._text, "content", text)
        for handle in (self._slider, self._moves, self._play, self._speed, self._video):
            assign(handle, "visible", enough)
        if enough:
            self._slider_link.show(shown, max=len(steps) - 1)

    def _advance(self, steps: tuple[int, ...], step: int | None) -> None:
        """Go to the next step once this one has been shown for long enough."""
        assert self._source is not None
        if self.context.loader.shown_step != step or time.monotonic() - self._moved_at < 1 / self._speed.value:
            return
        later = [s for s in steps if step is not None and s > step]
        if not later:
            self._toggle(False)
            return
        self._seek(later[0])

    def _toggle(self, play: bool | None = None) -> None:
        assert self._source is not None
        self._playing = not self._playing if play is None else play
        self._play.label = "Stop" if self._playing else "Play"
        self._play.icon = viser.Icon.PLAYER_STOP if self._playing else viser.Icon.PLAYER_PLAY
        steps = self._source.steps
        if self._playing and self._source.step() == steps[-1]:
            self._seek(steps[0])

    def _on_slider(self, index: int) -> None:
        assert self._source is not None
        self._toggle(False)
        self._seek(self._source.steps[index])

    def _move(self, direction: str) -> None:
        assert self._source is not None
        self._toggle(False)
        steps, step = self._source.steps, self._source.step() or 0
        if direction == "newest":
            self._seek(None)
        elif direction == "newer ›":
            self._seek(next((s for s in steps if s > step), steps[-1]))
        else:
            self._seek(next((s for s in reversed(steps) if s < step), steps[0]))

    def _seek(self, step: int | None) -> None:
        assert self._source is not None
        self._moved_at = time.monotonic()
        self._source.seek(step)

    def _save(self) -> None:
        assert self._source is not None
        context = self.context
        width, height = context.camera.image_size(int(self._width.value), MAX_VIDEO_SIDE[self._format.value])
        kind: Format = self._format.value
        work = steps_work(
            context.renderer,
            self._source,
            context.view.scene,
            context.model.options(),
            context.camera.pose(),
            (even(width), even(height)),
            kind,
            file_name(context.source.scene_names[context.view.scene], context.view.layer, "time-line"),
        )
        context.exports.start("time line", work)
