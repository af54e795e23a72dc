"""Results of an instance segmentation run: ``results.json`` and ``instances.csv``."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from .instances import InstanceResults
from .results import finite_or_none, write_json


def write_instances(
    folder: Path,
    results: InstanceResults,
    class_names: tuple[str, ...],
    preset: str,
    init: str,
    about: dict[str, Any] | None = None,
) -> None:
    """Write both files. Scores are shares of 1; a class without true instances has none.

    Args:
        preset: name of the protocol's row.
        init: the pre-trained model, "" for none.
        about: metadata in JSON types.
    """
    found, semantic = results.instances, results.semantic
    scores = {
        "map": finite_or_none(found.mean_ap),
        "ap50": finite_or_none(found.mean_ap50),
        "ap25": finite_or_none(found.mean_ap25),
        "miou": semantic.miou,
        "miou_present": finite_or_none(semantic.miou_present),
        "scenes": results.scenes,
        "proposals": results.proposals,
        "classes": list(class_names),
        "class_ap": _column(found.ap),
        "class_ap50": _column(found.ap50),
        "class_ap25": _column(found.ap25),
        "seconds_per_scene": {"network": results.network_s, "grouping": results.grouping_s},
    }
    write_json(folder, "instances", preset, init, scores, about or {})
    with (folder / "instances.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "AP", "AP50", "AP25", "IoU of the semantic head"])
        columns = (found.ap, found.ap50, found.ap25, semantic.iou)
        for name, *row in zip(class_names, *(c.tolist() for c in columns), strict=True):
            writer.writerow([name, *("" if math.isnan(v) else f"{v:.6f}" for v in row)])


def _column(values: Tensor) -> list[float | None]:
    return [finite_or_none(v) for v in values.tolist()]
