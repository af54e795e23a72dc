"""A contact sheet of objects: every category with some of its instances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ...errors import InputError
from .build import build_object
from .catalogue import CATEGORIES
from .render import front, render_object

_LABEL = 16


def contact_sheet(
    categories: Sequence[str] = CATEGORIES, instances: int = 4, size: int = 96, columns: int = 4, first: int = 0
) -> Image.Image:
    """``columns`` blocks side by side, each a category's name over ``instances`` pictures of ``size`` pixels.

    Args:
        first: seed of the first instance.
    """
    rows = -(-len(categories) // columns)
    sheet = Image.new("RGB", (columns * (instances * size + 8), rows * (size + _LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    for k, category in enumerate(categories):
        x, y = (k % columns) * (instances * size + 8), (k // columns) * (size + _LABEL)
        draw.text((x + 3, y + 2), category, fill="black")
        for i in range(instances):
            obj = build_object(category, first + i)
            color, _ = render_object(obj, front(obj, size))
            sheet.paste(Image.fromarray(color[0]), (x + i * size, y + _LABEL))
    return sheet


def save_sheet(
    path: Path | str,
    categories: Sequence[str] = CATEGORIES,
    instances: int = 4,
    size: int = 96,
    columns: int = 4,
    first: int = 0,
) -> None:
    """Writes `contact_sheet` as an image of the suffix's format.

    Raises:
        InputError: an unknown category, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(path, "an image file: .png, .jpg or .webp", f"the suffix {path.suffix!r}")
    sheet = contact_sheet(categories, instances, size, columns, first)
    try:
        sheet.save(path)
    except OSError as error:
        raise InputError(path, "a file that can be written", str(error)) from error
