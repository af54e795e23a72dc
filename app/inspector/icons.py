"""Icons of tabs and buttons, read from viser's archive without listing it anew for each."""

from __future__ import annotations

import zipfile
from contextlib import nullcontext
from functools import lru_cache
from types import SimpleNamespace


def keep_icons_open() -> None:
    """Let viser keep its archive of icons open.

    It opens the archive for every icon, and each time lists the five thousand icons in it: 0.4 s for the icons of this
    page, which whoever opens the page first would wait for. Where another viser reads its icons in another way, this
    changes nothing.
    """
    try:
        from viser import _icons
    except ImportError:
        return
    opened = lru_cache(maxsize=1)(zipfile.ZipFile)
    _icons.zipfile = SimpleNamespace(ZipFile=lambda path: nullcontext(opened(path)))  # type: ignore[attr-defined]
