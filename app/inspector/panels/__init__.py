"""The controls beside the canvas, one module per panel. Panels read and change their session, and never render."""

from .curves import CurvesPanel
from .settings import SettingsPanel
from .status import StatusPanel
from .view import ViewPanel

__all__ = ["CurvesPanel", "SettingsPanel", "StatusPanel", "ViewPanel"]
