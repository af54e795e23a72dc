"""What an instance segmentation run scored: ``results.json`` and ``instances.csv`` in its folder."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from .instances import InstanceResults
from .results import FORMAT, RESULTS, VERSION


def write_instances(
    folder: Path,
    results: InstanceResults,
    class_names: tuple[str, ...],
    preset: str,
    init: str,
    about: dict[str, Any] | None = None,
) -> None:
    """Both files. Scores are shares of 1; a class without true instances has none.

    Args:
        preset: the row of the protocol. init: the pre-trained model, "" for none.
        about: anything else worth knowing, in JSON types.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, semantic = results.instances, results.semantic
    content = {
        "format": FORMAT,
        "version": VERSION,
        "task": "instances",
        "preset": preset,
        "init": init,
        "map": _finite(found.mean_ap),
        "ap50": _finite(found.mean_ap50),
        "ap25": _finite(found.mean_ap25),
        "miou": semantic.miou,
        "miou_present": _finite(semantic.miou_present),
        "scenes": results.scenes,
        "proposals": results.proposals,
        "classes": list(class_names),
        "class_ap": _column(found.ap),
        "class_ap50": _column(found.ap50),
        "class_ap25": _column(found.ap25),
        "seconds_per_scene": {"network": results.network_s, "grouping": results.grouping_s},
        "about": about or {},
    }
    (folder / RESULTS).write_text(json.dumps(content, indent=1), encoding="utf-8")
    with (folder / "instances.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "AP", "AP50", "AP25", "IoU of the semantic head"])
        columns = (found.ap, found.ap50, found.ap25, semantic.iou)
        for name, *row in zip(class_names, *(c.tolist() for c in columns), strict=True):
            writer.writerow([name, *("" if math.isnan(v) else f"{v:.6f}" for v in row)])


def _column(values: Tensor) -> list[float | None]:
    return [_finite(v) for v in values.tolist()]


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
