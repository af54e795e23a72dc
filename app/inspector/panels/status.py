"""Status card at the top: source, step, speed and losses; and the buttons that control a training."""

from __future__ import annotations

import html
import time

import viser

from ..context import PanelContext
from .base import Panel, register

_EVERY = 0.5
"""Seconds between updates of the card."""


@register("status", tab="")
class StatusPanel(Panel):
    """Shows the state of the training or of the scene."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._feed = context.shared.feed
        gui = context.gui
        self._card = gui.add_html("")
        self._text, self._updated = "", 0.0
        if self._feed is not None:
            self._pause = gui.add_button("Pause training", icon=viser.Icon.PLAYER_PAUSE, color="gray")
            self._pause.on_click(context.guarded(lambda _: self._toggle_pause()))
            self._more = gui.add_button_group("Training", ("Single step", "Save checkpoint"))
            self._more.on_click(context.guarded(lambda _: self._command(self._more.value)))
        self._update(force=True)

    def pulse(self) -> None:
        self._update()

    def _update(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._updated < _EVERY:
            return
        self._updated = now
        text = self._render()
        if text != self._text:
            self._text = self._card.content = text
        if self._feed is not None:
            label = "Resume training" if self._feed.paused else "Pause training"
            if self._pause.label != label:
                self._pause.label = label
                self._pause.icon = viser.Icon.PLAYER_PLAY if self._feed.paused else viser.Icon.PLAYER_PAUSE
                self._pause.color = "green" if self._feed.paused else "gray"

    def _render(self) -> str:
        context, source = self.context, self.context.source
        state = context.state()
        facts: list[tuple[str, str]] = []
        badge, tint = "static", "#6b7280"
        if self._feed is not None:
            series = _last(context.shared.series())
            badge, tint = ("paused", "#d97706") if self._feed.paused else ("live", "#16a34a")
            step = max((s for s, _ in series.values()), default=source.step() or 0)
            facts.append(("step", f"{step:,}"))
            for name, label, unit in (
                ("its_per_s", "speed", "it/s"),
                ("loss/total", "loss", ""),
                ("train/psnr", "PSNR", "dB"),
            ):
                if name in series:
                    facts.append((label, f"{series[name][1]:.3g}{(' ' + unit) if unit else ''}"))
        elif source.step() is not None:
            badge = "checkpoint"
            facts.append(("step", f"{source.step():,}"))
        if state is not None:
            if self._feed is not None and state.step is not None:
                facts.append(("shown", f"step {state.step:,}"))
            if state.gaussians is not None:
                facts.append(("Gaussians", f"{len(state.gaussians):,}"))
            if state.points is not None:
                facts.append(("points", f"{len(state.points):,}"))
        else:
            facts.append(("scene", "not loaded" if context.model.failed == context.view.scene else "loading …"))
        added = state is not None and context.view.scene >= len(source.scene_names)  # from a browser
        title = f"{state.name}, opened here" if state is not None and added else source.title
        cells = "".join(
            f'<div style="min-width:0"><div style="opacity:.6;font-size:.68em;text-transform:uppercase;'
            f'letter-spacing:.04em">{html.escape(k)}</div><div style="font-weight:600;font-size:.92em;'
            f'white-space:nowrap">{html.escape(v)}</div></div>'
            for k, v in facts
        )
        note = (
            f'<div style="margin-top:.5em;color:#e879f9;font-size:.8em">{html.escape(context.model.note)}</div>'
            if context.model.note
            else ""
        )
        return (
            '<div style="padding:.55em .8em .65em;font-variant-numeric:tabular-nums">'
            '<div style="display:flex;align-items:center;gap:.5em;margin-bottom:.45em">'
            f'<b style="font-size:1em;overflow:hidden;text-overflow:ellipsis;white-space:nowrap">'
            f"{html.escape(title)}</b>"
            f'<span style="margin-left:auto;background:{tint};color:white;border-radius:.8em;padding:0 .65em;'
            f'font-size:.72em;line-height:1.6em">{badge}</span></div>'
            f'<div style="display:grid;grid-template-columns:repeat(4,auto);gap:.35em .9em">{cells}</div>{note}</div>'
        )

    def _toggle_pause(self) -> None:
        assert self._feed is not None
        self._feed.pause(not self._feed.paused)
        self._update(force=True)

    def _command(self, name: str) -> None:
        assert self._feed is not None
        if name == "Save checkpoint":
            self._feed.request_save()
            self.context.notify("Checkpoint", "It will be written after the current step.", "green", 4)
            return
        if not self._feed.paused:
            self._feed.pause()
        self._feed.single_step()
        self._update(force=True)


def _last(series: dict[str, list[tuple[int, float]]]) -> dict[str, tuple[int, float]]:
    return {k: v[-1] for k, v in series.items() if v}
