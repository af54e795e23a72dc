"""The controls beside the canvas, one module per panel; importing this package registers all of them.

base.py      `Panel`, the table `PANELS`, `build_panels`
controls.py  `Link`: a control and the value that it stands for
"""

from . import (
    address,
    compare,
    curves,
    export,
    help,
    objects,
    probe,
    refine,
    scenes,
    search,
    settings,
    status,
    timeline,
    toolbar,
    view,
)
from .base import PANELS, Command, Panel, build_panels, register

__all__ = [
    "PANELS",
    "Command",
    "Panel",
    "address",
    "build_panels",
    "compare",
    "curves",
    "export",
    "help",
    "objects",
    "probe",
    "refine",
    "register",
    "scenes",
    "search",
    "settings",
    "status",
    "timeline",
    "toolbar",
    "view",
]
