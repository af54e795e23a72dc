"""Settings panel: time budget of the viewer, image sizes and rates, feature colours."""

from __future__ import annotations

from typing import get_args

import viser

from ....core.errors import InputError
from ...render.colors import DEFAULT_MAP, ColorMap
from ...render.feature_colors import Method
from ..context import PanelContext
from .base import Panel, register
from .controls import Link, assign


@register("settings", tab="View", order=1, folder="Settings")
class SettingsPanel(Panel):
    """Settings of this browser and, where their hints say so, of all browsers."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        shared, gui, guard = context.shared, context.gui, context.guarded
        if shared.feed is not None:
            self._follow = gui.add_checkbox("Follow training", True, hint="load new weights as they arrive")
            self._follow.on_update(guard(lambda _: context.change(follow=self._follow.value)))
            self._share = gui.add_slider(
                "Viewer time share (%)",
                5,
                100,
                5,
                round(100 * shared.share),
                hint="upper limit of the time spent rendering while training runs, for all browsers together",
            )
            self._share.on_update(guard(lambda _: setattr(shared, "share", self._share.value / 100)))
        self._rate = gui.add_slider(
            "Max. images per second",
            1,
            60,
            1,
            round(context.requests.rate),
            hint="while the camera moves, in this browser; lower values leave time to others and to a training",
        )
        self._rate.on_update(guard(lambda _: self._on_rate()))
        self._width = gui.add_dropdown(
            "Max. image width (px)",
            tuple(str(w) for w in _WIDTHS),
            initial_value=str(_nearest(shared.max_width)),
            hint="for all browsers",
        )
        self._width.on_update(guard(lambda _: self._on_width()))
        colors = gui.add_dropdown(
            "Colour map",
            get_args(ColorMap),
            initial_value=DEFAULT_MAP,
            hint="of depths, scores and errors; all but Turbo are perceptually uniform",
        )
        Link(colors, context, lambda name: context.change(colors=name))
        method = gui.add_dropdown(
            "Feature colours",
            ("PCA", "UMAP"),
            initial_value=shared.renderer.colors.method,
            hint="for all browsers; UMAP separates more classes and takes longer to fit",
        )
        self._method = Link(method, context, self._on_method)
        self._colors = gui.add_markdown("")
        refit = gui.add_button("Refit feature colours", icon=viser.Icon.REFRESH, color="gray")
        refit.on_click(guard(lambda _: self._refit()))
        self._auto = gui.add_checkbox(
            "Refit automatically",
            shared.renderer.colors.follow,
            hint="without a teacher: refit when the number of steps has doubled, aligned with the old colours",
        )
        self._auto.on_update(guard(lambda _: setattr(shared.renderer.colors, "follow", self._auto.value)))
        self.pulse()

    def pulse(self) -> None:
        colors = self.context.renderer.colors
        text = f"One basis for all scenes and steps, fitted to {colors.describe()}."
        if colors.progress is not None:
            text = f"Fitting UMAP: {colors.progress:.0%}. The colours change when it has finished."
        elif colors.failed:
            text = f"UMAP failed ({colors.failed}); showing PCA colours."
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
        if width not in map(str, _WIDTHS):  # the page offers no other; other clients may
            raise InputError("the largest image", "one of " + ", ".join(map(str, _WIDTHS)), str(width)[:20])
        self.context.shared.max_width = int(width)
        self.context.shared.redraw()

    def _refit(self) -> None:
        self.context.renderer.colors.refresh()
        self.context.shared.redraw()


_WIDTHS = (480, 640, 960, 1280, 1920)


def _nearest(width: int) -> int:
    return min(_WIDTHS, key=lambda w: abs(w - width))
