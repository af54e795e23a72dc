"""Text, legends and sheets of pictures, drawn on the server so that every screenshot includes them.

Text is plain ASCII, because Pillow's built-in font has no dashes, arrows or Greek.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from ...core.geometry.cameras import Cameras
from .colors import BACKGROUND, DEFAULT_MAP, ColorMap, Image, colormap

_INK = (232, 234, 240)
_FAINT = (150, 155, 168)
_CELL = (34, 36, 42)
_BACK = tuple(round(255 * c) for c in BACKGROUND)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@dataclass(frozen=True)
class Legend:
    """A colour bar.

    Attributes:
        ticks: labels at evenly spaced places from the first colour to the last.
        title: name of the numbers; "" if the unit of the last tick suffices.
        colors: the colour map.
    """

    ticks: tuple[str, ...]
    title: str = ""
    colors: ColorMap = DEFAULT_MAP

    @staticmethod
    def numbers(
        low: float,
        high: float,
        unit: str = "",
        title: str = "",
        digits: int = 1,
        colors: ColorMap = DEFAULT_MAP,
        open_end: bool = False,
    ) -> Legend:
        """Five ticks from ``low`` to ``high``, the last one with the unit, and "> " where higher values share its
        colour (``open_end``)."""
        words = [f"{low + i * (high - low) / 4:.{digits}f}" for i in range(5)]
        return Legend((*words[:-1], f"{'> ' * open_end}{words[-1]} {unit}".rstrip()), title, colors)


def add_legend(image: Image, near: float, far: float, unit: str = "m") -> Image:
    """The image with a colour bar in its lower left corner: ``near`` to ``far`` with five labelled ticks."""
    return draw_legend(image, Legend.numbers(near, far, unit))


def draw_legend(image: Image, legend: Legend, left: int = 0, right: int | None = None) -> Image:
    """The image with a colour bar at the bottom, at the left of its columns ``left`` to ``right``."""
    h, w = image.shape[0], (right or image.shape[1]) - left
    unit_px = max(10, min(h // 30, 18))
    width, x0, y0 = min(w - 3 * unit_px, 18 * unit_px), left + unit_px, h - 3 * unit_px
    if width < 8 * unit_px or h < 8 * unit_px:  # too small to be read
        return image
    canvas = Pil.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    pad = unit_px // 2
    over = round(1.5 * unit_px) if legend.title else 0
    box = (x0 - pad, y0 - pad - over, x0 + width + 3 * pad, y0 + unit_px // 2 + pad + 1.6 * unit_px)
    draw.rounded_rectangle(box, radius=pad, fill=(16, 17, 21, 200))
    if legend.title:
        draw.text((x0, y0 - over), legend.title, font=_font(unit_px), fill=_FAINT)
    bar = (colormap(torch.linspace(0, 1, width), legend.colors) * 255).byte().numpy()
    canvas.paste(Pil.fromarray(np.repeat(bar[None], unit_px // 2, 0)), (x0, y0))
    fits = width >= sum(draw.textlength(label, font=_font(unit_px)) + unit_px for label in legend.ticks)
    for i, label in enumerate(legend.ticks):
        if not fits and 0 < i < len(legend.ticks) - 1:
            continue  # the first and the last one alone do not overlap
        x = x0 + i * (width - 1) / max(1, len(legend.ticks) - 1)
        draw.text((x, y0 + unit_px * 0.75), label, font=_font(unit_px), fill=_INK, anchor="la" if i == 0 else "ma")
    return np.asarray(canvas)


def crop_cameras(
    cameras: Cameras, left: int = 0, top: int = 0, right: int | None = None, bottom: int | None = None
) -> Cameras:
    """Cameras of a part of the same pictures: columns ``left`` to ``right``, rows ``top`` to ``bottom``."""
    ks = cameras.Ks.clone()
    ks[:, 0, 2] -= left
    ks[:, 1, 2] -= top
    right, bottom = cameras.width if right is None else right, cameras.height if bottom is None else bottom
    return replace(cameras, Ks=ks, width=right - left, height=bottom - top)


def divide(image: Image, x: int, left: str, right: str, grip: bool = False) -> Image:
    """The image with a thin line at column ``x`` and the names of its two sides beside the line's upper end.

    Args:
        grip: a knob on the line, with an arrow to either side.
    """
    h, w = image.shape[:2]
    text = max(10, min(h // 28, 18))
    canvas = Pil.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    half = max(1, h // 400)
    draw.rectangle((x - half - 1, 0, x + half, h), fill=(10, 10, 14, 150))
    draw.rectangle((x - half, 0, x + half - 1, h), fill=(245, 246, 250, 255))
    for name, side, room in ((left, -1, x), (right, 1, w - x)):
        if name:
            _chip(draw, x + side * text, text, name, text, "ra" if side < 0 else "la", room)
    if grip:
        r, y = max(7, h // 45), h // 2
        draw.ellipse((x - r - 1, y - r - 1, x + r + 1, y + r + 1), fill=(10, 10, 14, 150))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(245, 246, 250, 255))
        for side in (-1, 1):
            near, far, half = x + side * 0.25 * r, x + side * 0.68 * r, 0.36 * r
            draw.polygon(((near, y - half), (near, y + half), (far, y)), fill=(30, 32, 40, 255))
    return np.asarray(canvas)


def caption(image: Image, words: str, middle: bool = False) -> Image:
    """The image with a short text at its upper left, or in its middle."""
    h, w = image.shape[:2]
    text = max(10, min(h // 28, 18))
    canvas = Pil.fromarray(image)
    at = (w // 2, h // 2, "mm") if middle else (text, text, "la")
    _chip(ImageDraw.Draw(canvas, "RGBA"), at[0], at[1], words, text, at[2], w)
    return np.asarray(canvas)


def _chip(draw: ImageDraw.ImageDraw, x: float, y: float, words: str, text: int, anchor: str, room: int) -> None:
    """Draw text on a dark rounded rectangle; nothing if it is wider than ``room`` pixels."""
    box = draw.textbbox((x, y), words, font=_font(text), anchor=anchor)
    if box[2] - box[0] + 2 * text > room:
        return
    pad = text // 2
    plate = (box[0] - pad, box[1] - pad * 0.7, box[2] + pad, box[3] + pad * 0.7)
    draw.rounded_rectangle(plate, radius=pad, fill=(10, 10, 14, 190))
    draw.text((x, y), words, font=_font(text), fill=_INK, anchor=anchor)


def line_of(words: str, width: int, height: int) -> Image:
    """A strip with one line of text in its middle, truncated if it is too long."""
    font = _font(round(0.66 * height))
    canvas = Pil.new("RGB", (width, height), _BACK)
    draw = ImageDraw.Draw(canvas)
    short = words
    while len(short) > 1 and draw.textlength(short, font=font) > width - 4:
        words = words[:-1]
        short = f"{words.rstrip()}.."
    draw.text((width // 2, height // 2), short, font=font, fill=_INK, anchor="mm")
    return np.asarray(canvas)


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Attributes:
        image: any size; None leaves the cell empty, with ``note`` in its middle.
        note: a short caption in the picture's corner ("23.1 dB").
    """

    image: Image | None
    note: str = ""


def sheet(
    cells: list[list[Cell]], columns: list[str], rows: list[str], width: int, aspect: float, text: int | None = None
) -> Image:
    """Pictures in a grid with column titles above and row titles at the left.

    Args:
        cells: [R][C].
        width: width of the whole sheet, pixels; everything else follows from it.
        aspect: width / height of one cell.
        text: text size, pixels; by default in proportion to the width.
    """
    text = text or max(9, width // 50)
    left, top, gap = round(text * 1.7), round(text * 1.7), max(2, width // 160)
    cell_w = max(8, (width - left - gap * len(columns)) // len(columns))
    cell_h = max(8, round(cell_w / aspect))
    height = top + len(rows) * (cell_h + gap)
    canvas = Pil.new("RGB", (width, height), _BACK)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for c, title in enumerate(columns):
        x = left + c * (cell_w + gap) + cell_w // 2
        draw.text((x, top // 2), title, font=_font(text), fill=_INK, anchor="mm")
    for r, title in enumerate(rows):
        y = top + r * (cell_h + gap)
        label = Pil.new("RGB", (cell_h, left), _BACK)
        ImageDraw.Draw(label).text((cell_h // 2, left // 2), title, font=_font(text), fill=_FAINT, anchor="mm")
        canvas.paste(label.rotate(90, expand=True), (0, y))
        for c, cell in enumerate(cells[r]):
            x = left + c * (cell_w + gap)
            if cell.image is None:
                draw.rectangle((x, y, x + cell_w - 1, y + cell_h - 1), fill=_CELL)
                middle = (x + cell_w // 2, y + cell_h // 2)
                draw.text(middle, cell.note, font=_font(text), fill=_FAINT, anchor="mm", align="center")
                continue
            picture = Pil.fromarray(cell.image).resize((cell_w, cell_h), Pil.Resampling.BILINEAR)
            canvas.paste(picture, (x, y))
            if cell.note:
                box = draw.textbbox((x + text // 2, y + cell_h - text // 2), cell.note, font=_font(text), anchor="ld")
                pad = text // 4
                draw.rounded_rectangle(
                    (box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad), radius=pad, fill=(10, 10, 14, 190)
                )
                draw.text((x + text // 2, y + cell_h - text // 2), cell.note, font=_font(text), fill=_INK, anchor="ld")
    return np.asarray(canvas)


def fit(image: Image, width: int, height: int) -> Image:
    """The image in the middle of a ``width`` × ``height`` one, over the background colour, not enlarged."""
    scale = min(width / image.shape[1], height / image.shape[0], 1.0)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    canvas = Pil.new("RGB", (width, height), _BACK)
    picture = Pil.fromarray(image)
    if size != picture.size:
        picture = picture.resize(size, Pil.Resampling.BOX)
    canvas.paste(picture, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(canvas)
