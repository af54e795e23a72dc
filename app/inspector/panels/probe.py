"""Classes: how right the probe is on the scene, class by class, and a legend that hides and recolours."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import viser

from ..classes import ClassStyle, ClassTable, Rgb, class_table
from ..layers import to_image

if TYPE_CHECKING:
    from ..session import Session
    from ..source import SceneState

_ROWS = 40
"""Classes in the legend at most, the most frequent ones."""

_NOTHING = (
    '<div style="padding:.6em .9em;opacity:.75;font-size:.9em">This scene has no labels, and no probe has looked at '
    "it. A pre-training on labelled scenes trains one by itself.</div>"
)


class ProbePanel:
    """The legend's widgets are rebuilt when other classes come up, not when numbers change."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state: SceneState | None = None
        self._table: ClassTable | None = None
        self._rows: list[viser.GuiCheckboxHandle] = []
        self._swatches: list[viser.GuiRgbHandle] = []
        self._shown: tuple[str, ...] = ()
        self._busy = False
        gui, guard = session.client.gui, session.guarded
        self._text = gui.add_html("")
        self._layer = gui.add_button_group("Layer", ("Probe", "Labels", "RGB"), visible=False)
        self._layer.on_click(guard(lambda _: self._show_layer(self._layer.value)))
        self._legend = gui.add_folder("Hide and show classes", expand_by_default=False, visible=False)
        with self._legend:
            self._all = gui.add_button_group("Show", ("All", "None", "Invert"))
            self._all.on_click(guard(lambda _: self._choose(self._all.value)))
        self._recolor = gui.add_folder("Colours of classes", expand_by_default=False, visible=False)
        with self._recolor:
            original = gui.add_button("Original colours", icon=viser.Icon.REFRESH, color="gray", order=1e9)
            original.on_click(guard(lambda _: self._restyle(colors=())))
        self._write()

    # --- what is shown --------------------------------------------------------------------------------------

    def update(self) -> None:
        """Called ten times a second: asks for a new table when another state is shown."""
        state = self._session.renderer.state(self._session.view.scene)
        if state is not None and state is not self._state:
            self._state = state
            self._session._ask("classes", lambda: self._measure(state), "background")

    def _measure(self, state: SceneState) -> None:
        """Render thread."""
        self._table = class_table(state, tuple(self._session.source.class_names))
        self._write()

    def _write(self) -> None:
        table, style = self._table, self._session.view.style
        present = () if table is None else tuple(sorted(table.names[i] for i in table.present()[:_ROWS]))
        self._busy = True
        try:
            colors = [] if table is None else _palette(table, style)
            _set(self._text, "content", _NOTHING if table is None else _as_html(table, colors, style))
            for part in (self._legend, self._recolor):
                _set(part, "visible", bool(present))
            splats = self._state is not None and self._state.gaussians is not None
            _set(self._layer, "visible", bool(present) and splats)
            if present and present != self._shown:
                self._rebuild(present)
            for name, row, swatch in zip(self._shown, self._rows, self._swatches, strict=True):
                _set(row, "value", name not in style.hidden)
                if table is not None and name in table.names:
                    _set(swatch, "value", colors[table.names.index(name)])
        finally:
            self._busy = False

    def _rebuild(self, present: tuple[str, ...]) -> None:
        session = self._session
        gui, guard = session.client.gui, session.guarded
        for row in (*self._rows, *self._swatches):
            row.remove()
        self._rows, self._swatches, self._shown = [], [], present
        for name in present:
            with self._legend:
                row = gui.add_checkbox(name, name not in session.view.style.hidden)
            row.on_update(guard(lambda _, name=name, row=row: self._toggle(name, row.value)))
            with self._recolor:
                swatch = gui.add_rgb(name, (128, 128, 128))
            swatch.on_update(guard(lambda _, name=name, swatch=swatch: self._paint(name, swatch.value)))
            self._rows.append(row)
            self._swatches.append(swatch)

    # --- what people do -------------------------------------------------------------------------------------

    def _restyle(self, **values: Any) -> None:
        self._session.change(style=replace(self._session.view.style, **values))
        self._write()

    def _toggle(self, name: str, shown: bool) -> None:
        hidden = self._session.view.style.hidden
        if not self._busy and shown == (name in hidden):
            self._restyle(hidden=hidden ^ {name})

    def _choose(self, which: str) -> None:
        hidden, present = self._session.view.style.hidden, frozenset(self._shown)
        chosen = {"All": hidden - present, "None": hidden | present, "Invert": hidden ^ present}
        self._restyle(hidden=chosen[which])

    def _paint(self, name: str, color: Rgb) -> None:
        if not self._busy:
            self._restyle(colors=self._session.view.style.recoloured(name, color).colors)

    def _show_layer(self, name: str) -> None:
        self._session.panel.choose_layer("Classes" if name == "Probe" else name)  # type: ignore[arg-type]


def _palette(table: ClassTable, style: ClassStyle) -> list[Rgb]:
    return [tuple(int(v) for v in color) for color in to_image(style.palette(table.names))]  # type: ignore[misc]


def _as_html(table: ClassTable, colors: list[Rgb], style: ClassStyle) -> str:
    """A headline and one row per class: colour, name, share of the points, IoU as a number and a bar."""
    counts = table.labelled if table.labelled is not None else table.predicted
    assert counts is not None
    total, scores = max(1, int(counts.sum())), table.scores
    what = "labels" if table.labelled is not None else "what the probe says"
    head = f"<b>This scene</b>: {what}"
    if scores is not None:
        head = (
            f"<b>Probe against labels</b>, this scene: mIoU <b>{100 * scores.miou_present:.1f} %</b>, "
            f"right <b>{100 * scores.allacc:.1f} %</b>"
        )
    rows = []
    for i in table.present()[:_ROWS]:
        faint = ";opacity:.4" if table.names[i] in style.hidden else ""
        iou = ""
        if scores is not None:
            value = 100 * float(scores.iou[i])
            iou = (
                f'<td style="text-align:right;padding-left:.8em">{value:.0f}</td>'
                '<td style="width:30%;padding-left:.5em"><div style="height:.5em;border-radius:.25em;'
                'background:rgba(128,128,128,.25)">'
                f'<div style="width:{value:.1f}%;height:100%;border-radius:.25em;background:rgb{colors[i]}"></div>'
                "</div></td>"
            )
        rows.append(
            f'<tr style="line-height:1.5{faint}"><td style="width:1.2em"><i style="display:inline-block;width:.8em;'
            f'height:.8em;border-radius:.2em;background:rgb{colors[i]}"></i></td><td>{html.escape(table.names[i])}</td>'
            f'<td style="text-align:right">{100 * counts[i] / total:.1f}</td>{iou}</tr>'
        )
    iou_head = "" if scores is None else '<td style="text-align:right">IoU %</td><td></td>'
    return (
        f'<div style="padding:.5em .9em;font-size:.85em;font-variant-numeric:tabular-nums">{head}'
        '<table style="width:100%;border-collapse:collapse;margin-top:.4em"><tr style="opacity:.6;font-size:.85em">'
        f'<td></td><td>class</td><td style="text-align:right">points %</td>{iou_head}</tr>{"".join(rows)}</table></div>'
    )


def _set(handle: object, name: str, value: object) -> None:
    """Assign only what differs: every assignment is a message to the browser."""
    if getattr(handle, name) != value:
        setattr(handle, name, value)
