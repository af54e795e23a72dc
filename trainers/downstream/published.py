"""The published figures beside which ours are printed. All are theirs, in per cent, from the GaussianCross paper
(arXiv 2508.02172) and, where said so, from the papers that it is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import FORMAT, RESULTS

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Row:
    """One row of the protocol.

    Attributes:
        task: "probe", "finetune" or "instances". preset: its name in `presets`.
        title: as the table prints it.
        metric: key in ``results.json``, a share of 1.
        published: method → per cent.
    """

    task: str
    preset: str
    title: str
    metric: str
    published: dict[str, float]


def _data_efficient() -> Iterable[Row]:
    ours = {"scenes": (32.1, 53.5, 64.2, 67.3), "points": (61.7, 68.5, 72.2, 73.3)}
    scratch = {"scenes": (26.0, 47.8, 56.7, 62.9), "points": (41.9, 53.9, 62.2, 65.5)}
    sizes = {"scenes": ((1, 5, 10, 20), "% of the scenes"), "points": ((20, 50, 100, 200), "points per scene")}
    for kind, (counts, what) in sizes.items():
        for i, count in enumerate(counts):
            published = {"GaussianCross": ours[kind][i], "scratch": scratch[kind][i]}
            yield Row("finetune", f"scannet-{kind}{count}", f"ScanNet, {count} {what}", "miou", published)


def _instances() -> Iterable[Row]:
    figures = {
        "scannet": ("ScanNet", (77.0, 62.7, 40.8), (72.8, 56.9, 36.0)),
        "scannet200": ("ScanNet200", (38.4, 30.6, 20.6), (32.2, 24.5, 15.8)),
    }
    for preset, (name, ours, scratch) in figures.items():
        for i, (metric, title) in enumerate((("ap25", "AP25"), ("ap50", "AP50"), ("map", "mAP"))):
            published = {"GaussianCross": ours[i], "scratch": scratch[i]}
            yield Row("instances", preset, f"{name}, PointGroup {title}", metric, published)


ROWS: tuple[Row, ...] = (
    Row(
        "probe",
        "scannet",
        "ScanNet, linear",
        "miou",
        {"GaussianCross": 23.3, "MSC": 14.1, "lifted DINOv2": 63.1, "Sonata": 72.5, "Concerto-L": 77.5},
    ),
    Row(
        "probe",
        "scannet200",
        "ScanNet200, linear",
        "miou",
        {"GaussianCross": 3.6, "MSC": 1.5, "lifted DINOv2": 27.4, "Sonata": 29.3, "Concerto-L": 38.6},
    ),
    Row(
        "probe",
        "s3dis",
        "S3DIS Area 5, linear",
        "miou",
        {"GaussianCross": 34.7, "MSC": 27.9, "Sonata": 72.3, "Concerto-L": 73.7},
    ),
    Row("probe", "s3dis-6fold", "S3DIS 6-fold, linear", "miou", {"GaussianCross": 35.9, "MSC": 29.9}),
    Row("finetune", "scannet", "ScanNet", "miou", {"GaussianCross": 76.0, "scratch": 72.2}),
    Row("finetune", "scannet200", "ScanNet200", "miou", {"GaussianCross": 34.3, "scratch": 25.0}),
    Row("finetune", "s3dis", "S3DIS Area 5", "miou", {"GaussianCross": 72.1, "scratch": 66.3}),
    Row("finetune", "s3dis-6fold", "S3DIS 6-fold", "miou", {"GaussianCross": 76.8, "scratch": 72.4}),
    *_data_efficient(),
    *_instances(),
)
"""Everything that the paper reports and this project can measure."""


@dataclass(frozen=True)
class Measured:
    """What runs of one row scored here.

    Attributes:
        percent: mean over the runs. runs: how many. changed: whether they differ from the published protocol.
    """

    percent: float
    runs: int
    changed: bool


@dataclass(frozen=True)
class Compared:
    """A row with what was measured here: with a pre-trained model, and without (from scratch, or random in a probe)."""

    row: Row
    pretrained: Measured | None
    scratch: Measured | None


def find_results(roots: Sequence[Path]) -> list[dict[str, Any]]:
    """The content of every ``results.json`` in or under the folders; others' files are passed over."""
    found = []
    for path in sorted({p for root in roots for p in root.rglob(RESULTS)}):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("format") == FORMAT:
            found.append(content | {"path": str(path)})
    return found


def compare(results: Sequence[dict[str, Any]], rows: Sequence[Row] = ROWS) -> list[Compared]:
    """Each row with the runs of its kind: those of the published protocol where there are any, else the others."""

    def measured(row: Row, with_init: bool) -> Measured | None:
        kind = (row.task, row.preset, with_init)
        mine = [r for r in results if (r["task"], r["preset"], bool(r["init"])) == kind]
        mine = [r for r in mine if isinstance(r.get(row.metric), (int, float)) and not r["about"].get("fold")]
        unchanged = [r for r in mine if not r["about"].get("changed")]
        chosen = unchanged or mine
        if not chosen:
            return None
        return Measured(sum(100 * r[row.metric] for r in chosen) / len(chosen), len(chosen), not unchanged)

    return [Compared(row, measured(row, True), measured(row, False)) for row in rows]
