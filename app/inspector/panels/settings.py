"""How much the viewer may take from the training, and how things are drawn."""

from __future__ import annotations

import viser

from ....core.errors import InputError
from ...render.feature_colors import Method
from ..context import PanelContext
from .base import Panel, register
from .controls import Link, assign


@register("settings", tab="View", order=1, folder="Settings")
class SettingsPanel(Panel):
    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        inspector, gui, guard = context.shared, context.gui, context.guarded
        if inspector.feed is not None:
            self._follow = gui.add_checkbox("Follow training", True, hint="take over new weights as they come")
            self._follow.on_update(guard(lambda _: context.change(follow=self._follow.value)))
            self._share = gui.add_slider(
                "Viewer's share (%)",
                5,
                100,
                5,
                round(100 * inspector.share),
                hint="at most this share of the time goes into pictures while training; for all browsers together",
            )
            self._share.on_update(guard(lambda _: setattr(inspector, "share", self._share.value / 100)))
        self._rate = gui.add_slider(
            "Pictures/s, at most",
            1,
            60,
            1,
            round(context.requests.rate),
            hint="while the camera moves, in this browser; fewer leave more to others and to a training",
        )
        self._rate.on_update(guard(lambda _: self._on_rate()))
        self._width = gui.add_dropdown(
            "Largest picture (px)", tuple(str(w) for w in _WIDTHS), initial_value=str(_nearest(inspector.max_width))
        )
        self._width.on_update(guard(lambda _: self._on_width()))
        method = gui.add_dropdown(
            "Feature colours",
            ("PCA", "UMAP"),
            initial_value=inspector.renderer.colors.method,
            hint="for all browsers; UMAP tells more apart, and takes a while to fit",
        )
        self._method = Link(method, context, self._on_method)
        self._colors = gui.add_markdown("")
        refit = gui.add_button("Refit feature colours", icon=viser.Icon.REFRESH, color="gray")
        refit.on_click(guard(lambda _: self._refit()))
        self._auto = gui.add_checkbox(
            "Refit by itself",
            inspector.renderer.colors.follow,
            hint="without a teacher: when the number of steps has doubled, turned onto the old colours",
        )
        self._auto.on_update(guard(lambda _: setattr(inspector.renderer.colors, "follow", self._auto.value)))
        self.pulse()

    def pulse(self) -> None:
        colors = self.context.renderer.colors
        text = f"One basis for all scenes and steps, fitted to {colors.describe()}."
        if colors.progress is not None:
            text = f"Fitting UMAP: {colors.progress:.0%}. The colours change when it is done."
        elif colors.failed:
            text = f"No UMAP ({colors.failed}): these are PCA's."
        assign(self._colors, "content", text)
        with self.context.lock:
            self._method.show(colors.method)  # another browser may have chosen

    def _on_method(self, method: Method) -> None:
        self.context.renderer.colors.method = method
        self.context.shared.redraw()

    def _on_rate(self) -> None:
        self.context.requests.rate = min(60.0, max(1.0, float(self._rate.value)))

    def _on_width(self) -> None:
        width = self._width.value
        if width not in map(str, _WIDTHS):  # the page offers no other; whatever talks to us may
            raise InputError("the largest picture", "one of " + ", ".join(map(str, _WIDTHS)), str(width)[:20])
        self.context.shared.max_width = int(width)
        self.context.shared.redraw()

    def _refit(self) -> None:
        self.context.renderer.colors.refresh()
        self.context.shared.redraw()


_WIDTHS = (480, 640, 960, 1280, 1920)


def _nearest(width: int) -> int:
    return min(_WIDTHS, key=lambda w: abs(w - width))
