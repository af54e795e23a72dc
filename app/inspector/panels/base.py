"""Base class of panels, and the table in which they register."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import viser

from ..context import PanelContext
from ..hooks import BrowserHooks
from ..shared import Shared

PHONE = 600
"""Canvas width (px) up to which the page is taken for a phone's."""

TABS: dict[str, Any] = {
    "View": viser.Icon.EYE,
    "Search": viser.Icon.SEARCH,
    "Classes": viser.Icon.CATEGORY,
    "Run": viser.Icon.CHART_LINE,
    "Files": viser.Icon.PHOTO,
    "Objects": viser.Icon.BOX,
}
"""Tab → icon, in the order of the page."""

CLOSED_FOLDERS = frozenset({"Settings"})
"""Folders of panels that are collapsed at first."""


@dataclass(frozen=True)
class Command:
    """An entry of the command palette.

    Attributes:
        label: its text.
        key: its hot key, or None.
        action: what it does.
        order: its position in the palette.
        modifier: keys held with the hot key, or None.
    """

    label: str
    key: str | None
    action: Callable[[], None]
    order: int
    modifier: str | None = None


class Panel(BrowserHooks):
    """Controls of one browser. Panels read and change the view model, and never render."""

    def __init__(self, context: PanelContext) -> None:
        self.context = context

    def commands(self) -> Sequence[Command]:
        """Entries for the command palette."""
        return ()


@dataclass(frozen=True)
class PanelEntry:
    """Where a panel is on the page.

    Attributes:
        name: key of the panel.
        make: its class.
        tab: one of `TABS`, or "" for above the tabs.
        order: position within the tab.
        folder: folder around it and its neighbours of the same folder, or "".
        available: whether this inspector has the panel.
    """

    name: str
    make: Callable[[PanelContext], Panel]
    tab: str
    order: int
    folder: str
    available: Callable[[Shared], bool]


PANELS: dict[str, PanelEntry] = {}
"""Every registered panel by name."""

PanelClass = TypeVar("PanelClass", bound=type[Panel])


def register(
    name: str, tab: str, order: int = 0, folder: str = "", available: Callable[[Shared], bool] = lambda _: True
) -> Callable[[PanelClass], PanelClass]:
    """Decorate a panel class to enter it in `PANELS`; arguments as in `PanelEntry`."""

    def add(kind: PanelClass) -> PanelClass:
        PANELS[name] = PanelEntry(name, kind, tab, order, folder, available)
        return kind

    return add


def build_panels(context: PanelContext) -> dict[str, Panel]:
    """Create the controls of one browser.

    Returns:
        The panels by name, in the order of the page.
    """
    gui, shared = context.gui, context.shared
    entries = sorted((e for e in PANELS.values() if e.available(shared)), key=lambda e: e.order)
    panels = {e.name: e.make(context) for e in entries if not e.tab}
    tabs = gui.add_tab_group()
    # One row of tabs: with icons it fits a laptop; a phone's panel and the one with six tabs have no room for them.
    icons = context.client.camera.image_width > PHONE and shared.recognizer is None
    for tab, icon in TABS.items():
        inside = [e for e in entries if e.tab == tab]
        if not inside:
            continue
        with tabs.add_tab(tab, icon if icons else None):
            for folder, group in groupby(inside, key=lambda e: e.folder):
                if folder:
                    with gui.add_folder(folder, expand_by_default=folder not in CLOSED_FOLDERS):
                        panels |= {e.name: e.make(context) for e in group}
                else:
                    panels |= {e.name: e.make(context) for e in group}
    return panels
