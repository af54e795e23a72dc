"""How much the viewer may take from the training, and how things are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import viser

from ....core.errors import InputError

if TYPE_CHECKING:
    from ..session import Session


class SettingsPanel:
    def __init__(self, session: Session) -> None:
        self._session = session
        inspector, gui, guard = session.inspector, session.client.gui, session.guarded
        if inspector.feed is not None:
            self._follow = gui.add_checkbox("Follow training", True, hint="take over new weights as they come")
            self._follow.on_update(guard(lambda _: session.change(follow=self._follow.value)))
            self._share = gui.add_slider(
                "Viewer's share (%)",
                5,
                100,
                5,
                round(100 * inspector.share),
                hint="at most this share of the time goes into pictures while training; for all browsers together",
            )
            self._share.on_update(guard(lambda _: setattr(inspector, "share", self._share.value / 100)))
        self._width = gui.add_dropdown(
            "Largest picture", tuple(str(w) for w in _WIDTHS), initial_value=str(_nearest(inspector.max_width))
        )
        self._width.on_update(guard(lambda _: self._on_width()))
        self._colors = gui.add_markdown("")
        refit = gui.add_button("Refit feature colours", icon=viser.Icon.REFRESH, color="gray")
        refit.on_click(guard(lambda _: self._refit()))
        self._auto = gui.add_checkbox(
            "Refit by itself",
            inspector.renderer.colors.follow,
            hint="without a teacher: when the number of steps has doubled, turned onto the old colours",
        )
        self._auto.on_update(guard(lambda _: setattr(inspector.renderer.colors, "follow", self._auto.value)))
        self.update()

    def update(self) -> None:
        fitted = self._session.inspector.renderer.colors.describe()
        text = f"**Feature colours**: one PCA basis for all scenes and steps.\n\nFitted to: {fitted}"
        if self._colors.content != text:
            self._colors.content = text

    def _on_width(self) -> None:
        width = self._width.value
        if width not in map(str, _WIDTHS):  # the page offers no other; whatever talks to us may
            raise InputError("the largest picture", "one of " + ", ".join(map(str, _WIDTHS)), str(width)[:20])
        self._session.inspector.max_width = int(width)
        self._session.inspector.redraw()

    def _refit(self) -> None:
        self._session.inspector.renderer.colors.refresh()
        self._session.inspector.redraw()


_WIDTHS = (480, 640, 960, 1280, 1920)


def _nearest(width: int) -> int:
    return min(_WIDTHS, key=lambda w: abs(w - width))
