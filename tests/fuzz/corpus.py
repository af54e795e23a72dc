"""The table of readers. A new reader is one more row; every format of splats in `core.io.formats` has one already."""

from __future__ import annotations

from fuzz.further_rows import FURTHER_ROWS
from fuzz.layout_rows import LAYOUT_ROWS
from fuzz.model_rows import MODEL_ROWS
from fuzz.object_rows import OBJECT_ROWS, POINT_ROWS, format_rows
from fuzz.scene_rows import SCENE_ROWS
from fuzz.shipped_rows import SHIPPED_ROWS

READERS = (
    *format_rows(),
    *POINT_ROWS,
    *OBJECT_ROWS,
    *SCENE_ROWS,
    *LAYOUT_ROWS,
    *MODEL_ROWS,
    *FURTHER_ROWS,
    *SHIPPED_ROWS,
)
"""All rows."""
