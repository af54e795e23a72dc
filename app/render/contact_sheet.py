"""Contact sheets: pictures in a grid, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from .colors import BACKGROUND, Image
from .draw import caption, line_of

THUMBNAIL = (192, 120)
"""Width and height of a scene's thumbnail, pixels."""

_BACK, _CELL, _FRAME = tuple(round(255 * c) for c in BACKGROUND), (34, 36, 42), (64, 132, 246)


@dataclass(frozen=True)
class GridLayout:
    """Positions of equal cells, in pixels.

    Attributes:
        width, height: of a picture.
        columns: cells per row.
        gap: between cells and around the grid.
        line: height of the text line under a picture.
    """

    width: int
    height: int
    columns: int
    gap: int = 4
    line: int = 0

    def size(self, count: int) -> tuple[int, int]:
        """Width and height of the sheet for ``count`` cells; at least one row."""
        rows = max(1, -(-count // self.columns))
        return (
            self.columns * (self.width + self.gap) + self.gap,
            rows * (self.height + self.line + self.gap) + self.gap,
        )

    def origin(self, index: int) -> tuple[int, int]:
        """Left upper corner of a cell."""
        row, column = divmod(index, self.columns)
        return self.gap + column * (self.width + self.gap), self.gap + row * (self.height + self.line + self.gap)


def scene_sheet(cells: Sequence[tuple[str, Image | None, bool]]) -> Image:
    """Thumbnails of scenes in two columns, their names on them.

    Args:
        cells: (name, picture or None, whether it is framed) each.
    """
    grid = GridLayout(*THUMBNAIL, columns=2)
    canvas = Pil.new("RGB", grid.size(len(cells)), _BACK)
    for i, (name, image, framed) in enumerate(cells):
        x, y = grid.origin(i)
        if framed:
            canvas.paste(_FRAME, (x - grid.gap, y - grid.gap, x + grid.width + grid.gap, y + grid.height + grid.gap))
        cell = np.full((grid.height, grid.width, 3), _CELL, np.uint8) if image is None else image
        canvas.paste(Pil.fromarray(caption(cell, name)), (x, y))
    return np.asarray(canvas)


def object_sheet(cells: Sequence[tuple[Image, str]], columns: int = 3, size: int = 128) -> Image:
    """Square pictures of objects with a line of text under each.

    Args:
        cells: (picture [size, size, 3], text) each.
    """
    grid = GridLayout(size, size, columns, line=18)
    canvas = Pil.new("RGB", grid.size(len(cells)), _BACK)
    for i, (picture, text) in enumerate(cells):
        x, y = grid.origin(i)
        canvas.paste(Pil.fromarray(picture), (x, y))
        canvas.paste(Pil.fromarray(line_of(text, size, grid.line)), (x, y + size))
    return np.asarray(canvas)


class SheetFile(NamedTuple):
    """A picture file with its name, and a note at the right of the name."""

    file: Path
    name: str
    note: str


def file_sheet(files: Sequence[SheetFile], height: int = 128, columns: int = 4) -> Pil.Image:
    """Picture files scaled to one height, names and notes under them, on white."""
    pictures = []
    for entry in files:
        with Pil.open(entry.file) as image:
            size = round(image.width * height / image.height), height
            pictures.append(image.convert("RGB").resize(size, Pil.Resampling.LANCZOS))
    width = max(picture.width for picture in pictures)
    grid = GridLayout(width, height, min(columns, len(files)), gap=10, line=20)
    sheet = Pil.new("RGB", grid.size(len(files)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (entry, picture) in enumerate(zip(files, pictures, strict=True)):
        x, y = grid.origin(i)
        sheet.paste(picture, (x, y))
        note, name = draw.textlength(entry.note, font), entry.name
        while draw.textlength(name, font) > width - note - 12 and len(name) > 4:
            name = name[:-2].rstrip("…") + "…"
        draw.text((x + 2, y + height + 2), name, "black", font)
        draw.text((x + width - note - 2, y + height + 2), entry.note, "#555555", font)
    return sheet
