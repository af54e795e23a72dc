"""A sheet of small pictures with a line of text under each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

_GAP, _LINE = 10, 20


class Panel(NamedTuple):
    """A picture file, what it is, and what is said of it at the right."""

    file: Path
    name: str
    note: str


def contact_sheet(panels: Sequence[Panel], height: int = 128, columns: int = 4) -> Image.Image:
    """Pictures of that height in columns, names and notes under them."""
    pictures = []
    for panel in panels:
        with Image.open(panel.file) as image:
            size = round(image.width * height / image.height), height
            pictures.append(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    width = max(p.width for p in pictures)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    cell = width + _GAP, height + _LINE + _GAP
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for k, (panel, picture) in enumerate(zip(panels, pictures, strict=True)):
        x, y = _GAP + k % columns * cell[0], _GAP + k // columns * cell[1]
        sheet.paste(picture, (x, y))
        note = draw.textlength(panel.note, font)
        name = panel.name
        while draw.textlength(name, font) > width - note - 12 and len(name) > 4:
            name = name[:-2].rstrip("…") + "…"
        draw.text((x + 2, y + height + 2), name, "black", font)
        draw.text((x + width - note - 2, y + height + 2), panel.note, "#555555", font)
    return sheet
