"""Words over the canvas as elements of the page: legends, names of the sides, messages.

Drawn into the picture, they would change their size with it: while the camera moves, pictures are a third as wide. The
element lies in the control panel and is placed over the canvas by CSS.
"""

from __future__ import annotations

import html

from ..render.colors import css_colors
from ..render.draw import Legend
from ..render.options import Marks
from .browser import Browser

_PLATE = "background:rgba(16,17,21,.82);color:#e8eaf0;border-radius:6px;padding:5px 10px"

_STYLE = (
    "<style>"
    ".gc-over{position:fixed;z-index:4;pointer-events:none;font-size:12px;line-height:1.4;display:flex;gap:8px;"
    f"align-items:flex-start}}.gc-over>div>div{{{_PLATE}}}"
    # viser dims the controls and ignores clicks on them while the server cannot be reached.
    ".gc-gone{display:none}[style*='pointer-events: none'] .gc-gone{display:flex}"
    # On a phone the panel covers the lower part of the canvas; its title folds it, and six tabs fit into a row.
    "@media(max-width:600px){.gc-over{bottom:auto!important;top:52px}"
    ".mantine-Paper-root:has([role=tablist]){width:100%!important;max-height:45%!important}"
    ".mantine-Paper-root:has([role=tablist]) div[style*='width: 20em']{width:100%!important}"
    ".mantine-Paper-root [role=tab]{padding:.7em .5em!important}"
    ".mantine-Paper-root div[style*='cursor: pointer']>div[style*='ellipsis']::after"
    "{content:'  (tap to fold)';opacity:.6}}"
    "</style>"
)

_GONE = (
    '<div class="gc-over gc-gone" style="left:16px;top:50%"><div><div>The server has ended or cannot be reached. '
    "This page reconnects by itself.</div></div></div>"
)


class Overlay:
    """The words over one browser's canvas. Any thread."""

    def __init__(self, browser: Browser) -> None:
        self._content = ""
        self._element = browser.client.gui.add_html("")
        self.show(Marks())

    def show(self, marks: Marks) -> None:
        """Show these words in place of the ones before."""
        content = _STYLE + marks_html(marks) + _GONE
        if content != self._content:
            self._content = self._element.content = content


def marks_html(marks: Marks) -> str:
    """Messages, names and legends at the lower left of the canvas, above the tool bar."""
    below = "".join(_legend_html(layer if len(marks.legends) > 1 else "", legend) for layer, legend in marks.legends)
    names = " <span style='opacity:.5'>│</span> ".join(html.escape(name) for name in marks.names)
    above = [text for text in (names, *(html.escape(message) for message in marks.messages)) if text]
    parts = ("".join(f"<div>{text}</div>" for text in above), below)
    rows = "".join(f'<div style="display:flex;gap:8px;align-items:flex-end">{part}</div>' for part in parts if part)
    return f'<div class="gc-over" style="left:16px;bottom:50px;flex-direction:column">{rows}</div>'


def _legend_html(layer: str, legend: Legend) -> str:
    title = ": ".join(part for part in (layer, legend.title) if part)
    ticks = "".join(f"<span>{html.escape(tick)}</span>" for tick in legend.ticks)
    return (
        f'<div data-role="legend" style="width:230px"><div style="opacity:.75">{html.escape(title)}</div>'
        f'<div style="height:8px;border-radius:2px;margin:3px 0;background:linear-gradient(90deg,'
        f'{css_colors(legend.colors)})"></div><div style="display:flex;justify-content:space-between;'
        f'font-variant-numeric:tabular-nums">{ticks}</div></div>'
    )
