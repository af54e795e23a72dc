"""The controls beside the canvas, one module per panel. Panels read and change their session, and never render."""

from .compare import ComparePanel
from .curves import CurvesPanel
from .export import ExportPanel
from .help import HelpPanel
from .objects import ObjectsPanel
from .probe import ProbePanel
from .scenes import ScenesPanel
from .search import SearchTab
from .settings import SettingsPanel
from .status import StatusPanel
from .timeline import TimelinePanel
from .view import ViewPanel

__all__ = [
    "ComparePanel",
    "CurvesPanel",
    "ExportPanel",
    "HelpPanel",
    "ObjectsPanel",
    "ProbePanel",
    "ScenesPanel",
    "SearchTab",
    "SettingsPanel",
    "StatusPanel",
    "TimelinePanel",
    "ViewPanel",
]
