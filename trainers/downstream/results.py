"""Results of a semantic run: ``results.json``, ``classes.csv``, ``confusion.csv`` and ``confusion.png``."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...core.errors import InputError
from ...core.io.atomic import atomic_file
from ...core.io.json_files import read_json
from ...core.metrics import SemanticScores, semantic_scores

RESULTS = "results.json"
FORMAT = "gaussiancross-results"
VERSION = 1


@dataclass(frozen=True)
class SemanticResult:
    """Test of one run, or of several folds.

    Attributes:
        task: "probe" or "finetune".
        preset: name of the protocol's row.
        init: the pre-trained model, "" for none.
        class_names: K names.
        confusion: [K, K] int64 counts of original points, rows the true class.
        about: metadata in JSON types (config, steps, device, seconds, …).
    """

    task: str
    preset: str
    init: str
    class_names: tuple[str, ...]
    confusion: Tensor
    about: dict[str, Any]

    @property
    def scores(self) -> SemanticScores:
        return semantic_scores(self.confusion)


def sum_results(parts: Sequence[SemanticResult], about: dict[str, Any]) -> SemanticResult:
    """Combine folds by summing their confusion matrices.

    Raises:
        InputError: folds with different classes.
    """
    first = parts[0]
    if any(p.class_names != first.class_names for p in parts):
        raise InputError("results", "equal classes in all folds", "different ones")
    total = torch.stack([p.confusion for p in parts]).sum(0)
    return SemanticResult(first.task, first.preset, first.init, first.class_names, total, about)


def write_results(folder: Path, result: SemanticResult) -> None:
    """Write the four files to ``folder``."""
    scores = result.scores
    values = {
        "miou": scores.miou,
        "macc": scores.macc,
        "allacc": scores.allacc,
        "miou_present": finite_or_none(scores.miou_present),
        "points": int(result.confusion.sum()),
        "classes": list(result.class_names),
        "iou": scores.iou.tolist(),
        "acc": scores.acc.tolist(),
        "confusion": result.confusion.tolist(),
    }
    write_json(folder, result.task, result.preset, result.init, values, result.about)
    with (folder / "classes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "IoU", "accuracy", "points", "predicted"])
        for k, name in enumerate(result.class_names):
            row, column = int(result.confusion[k].sum()), int(result.confusion[:, k].sum())
            writer.writerow([name, f"{float(scores.iou[k]):.6f}", f"{float(scores.acc[k]):.6f}", row, column])
    with (folder / "confusion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *result.class_names])
        for name, row in zip(result.class_names, result.confusion.tolist(), strict=True):
            writer.writerow([name, *row])
    confusion_picture(result.confusion, result.class_names).save(folder / "confusion.png")


def write_json(folder: Path, task: str, preset: str, init: str, scores: dict[str, Any], about: dict[str, Any]) -> None:
    """Write the ``results.json`` of any task: run, scores and metadata, in JSON types."""
    folder.mkdir(parents=True, exist_ok=True)
    run = {"format": FORMAT, "version": VERSION, "task": task, "preset": preset, "init": init}
    with atomic_file(folder / RESULTS) as partial:
        partial.write_text(json.dumps(run | scores | {"about": about}, indent=1), encoding="utf-8")


def read_results(folder: Path) -> SemanticResult:
    """Read the result that `write_results` wrote.

    Raises:
        InputError: missing, damaged or of a newer version.
    """
    path = folder / RESULTS
    try:
        content = read_json(path)
        if content["format"] != FORMAT or content["version"] > VERSION:
            raise KeyError("format")
        confusion = torch.tensor(content["confusion"], dtype=torch.int64)
        names = tuple(content["classes"])
        return SemanticResult(content["task"], content["preset"], content["init"], names, confusion, content["about"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(path, f"a {RESULTS} of this version", f"{error or 'another file'}") from error


def confusion_picture(confusion: Tensor, names: Sequence[str], cell: int | None = None) -> Image.Image:
    """Draw a confusion matrix: rows are true classes, columns predicted ones, colours and per cents shares of the row.

    Rows of classes without labelled points are white.

    Args:
        cell: size of a cell, pixels; by default chosen to fit 1800 pixels.
    """
    k = len(names)
    cell = cell or max(4, min(36, 1800 // k))
    font = ImageFont.load_default(size=max(8, min(15, cell - 2)))
    small = ImageFont.load_default(size=max(8, min(12, round(cell * 0.36))))
    shown = names if cell >= 9 else ()
    margin = 24 + max((round(font.getlength(n)) for n in shown), default=0)
    total = confusion.sum(1, keepdim=True)
    share = (confusion.double() / total.clamp_min(1)).numpy()
    picture = Image.new("RGB", (margin + k * cell + 24, margin + k * cell + 24), "white")
    draw = ImageDraw.Draw(picture)
    for i in range(k):
        for j in range(k):
            x, y = margin + j * cell, margin + i * cell
            value = share[i, j]
            draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=_blue(value) if int(total[i]) else "white")
            if cell >= 24 and round(100 * value) >= 1:
                ink = "white" if value > 0.55 else "#1c2b3a"
                draw.text((x + cell / 2, y + cell / 2), f"{100 * value:.0f}", ink, small, "mm")
    for i, name in enumerate(shown):
        middle = margin + i * cell + cell / 2
        draw.text((margin - 8, middle), name, "#1c2b3a", font, "rm")
        _draw_vertical_text(picture, name, font, middle, margin - 8)
    frame = (margin - 1, margin - 1, margin + k * cell, margin + k * cell)
    draw.rectangle(frame, outline="#c3ccd6")
    draw.text(
        (margin + k * cell / 2, margin + k * cell + 13), "predicted", "#5b6b7b", ImageFont.load_default(size=14), "mm"
    )
    return picture


def _draw_vertical_text(picture: Image.Image, text: str, font: Any, x: float, bottom: float) -> None:
    """Draw text that reads from bottom to top, centred on ``x``, starting at ``bottom``."""
    left, top, right, low = font.getbbox(text)
    label = Image.new("L", (round(right - left) + 2, round(low - top) + 2), 0)
    ImageDraw.Draw(label).text((1 - left, 1 - top), text, 255, font)
    label = label.rotate(90, expand=True)
    picture.paste("#1c2b3a", (round(x - label.width / 2), round(bottom - label.height)), label)


def _blue(share: float) -> tuple[int, int, int]:
    """Map a share (0 to 1) to a colour from white to dark blue."""
    low, high = np.array([246, 249, 252]), np.array([23, 78, 166])
    r, g, b = np.rint(low + (high - low) * share**0.7).astype(int).tolist()
    return r, g, b


def finite_or_none(value: float) -> float | None:
    """Replace non-finite values by None, since JSON has no NaN."""
    return value if np.isfinite(value) else None
