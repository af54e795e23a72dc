"""Published figures of the protocol, and their comparison with results of this project.

All figures are in per cent, from the GaussianCross paper (arXiv 2508.02172) or the papers of the named methods.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ...core.config import flatten
from ...core.io.json_files import read_json
from .results import FORMAT, RESULTS

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Row:
    """One row of the protocol.

    Attributes:
        task: "probe", "finetune" or "instances".
        preset: its name in `presets`.
        title: label in the table.
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
        {
            "GaussianCross": 23.3,
            "MSC": 14.1,
            "lifted DINOv2": 63.1,
            "Sonata": 72.5,
            "Concerto-T": 67.7,
            "Concerto-S": 76.6,
            "Concerto-L": 77.5,
            "Utonia": 77.7,
        },
    ),
    Row(
        "probe",
        "scannet200",
        "ScanNet200, linear",
        "miou",
        {
            "GaussianCross": 3.6,
            "MSC": 1.5,
            "lifted DINOv2": 27.4,
            "Sonata": 29.3,
            "Concerto-L": 38.6,
            "Utonia": 36.4,
        },
    ),
    Row(
        "probe",
        "s3dis",
        "S3DIS Area 5, linear",
        "miou",
        {"GaussianCross": 34.7, "MSC": 27.9, "Sonata": 72.3, "Concerto-L": 73.7, "Utonia": 74.7},
    ),
    Row("probe", "s3dis-6fold", "S3DIS 6-fold, linear", "miou", {"GaussianCross": 35.9, "MSC": 29.9}),
    Row("finetune", "scannet", "ScanNet", "miou", {"GaussianCross": 76.0, "scratch": 72.2}),
    Row("finetune", "scannet200", "ScanNet200", "miou", {"GaussianCross": 34.3, "scratch": 25.0}),
    Row("finetune", "s3dis", "S3DIS Area 5", "miou", {"GaussianCross": 72.1, "scratch": 66.3}),
    Row("finetune", "s3dis-6fold", "S3DIS 6-fold", "miou", {"GaussianCross": 76.8, "scratch": 72.4}),
    *_data_efficient(),
    *_instances(),
)
"""All rows of the paper that this project can measure."""


PRESET_ALIASES = {"s3dis-area5": "s3dis"}
"""Preset → the row that it is an alias of."""


def rows_of(task: str, preset: str) -> list[Row]:
    """Return the published rows of a preset."""
    return [row for row in ROWS if (row.task, row.preset) == (task, PRESET_ALIASES.get(preset, preset))]


NON_RECIPE_OPTIONS = ("init", "seed", "eval_every", "save_every", "workers", "optim.amp")
"""Options that may differ between runs of one recipe, whose scores are averaged."""


@dataclass(frozen=True)
class MeasuredRow:
    """Score of the runs of one row, model and recipe.

    Attributes:
        model: the shortest distinctive end of the pre-trained model's path; "" for none.
        percent: mean score of the runs, %.
        runs: number of runs.
        changed: whether they deviate from the published protocol.
        others: number of further recipes of this model, not shown.
    """

    model: str
    percent: float
    runs: int
    changed: bool
    others: int = 0


@dataclass(frozen=True)
class Compared:
    """A row with its measured scores: of each pre-trained model, and without one (random weights in a probe)."""

    row: Row
    pretrained: tuple[MeasuredRow, ...]
    scratch: MeasuredRow | None


def find_results(roots: Sequence[Path]) -> list[dict[str, Any]]:
    """Read every ``results.json`` in or under the folders; skips files of another format."""
    return _read({path for root in roots for path in root.rglob(RESULTS)})


def results_beside(run_dir: Path) -> list[dict[str, Any]]:
    """Read a run's ``results.json`` and those of its sibling folders; not recursive, since a run may lie in a home
    folder."""
    return _read(set(run_dir.absolute().parent.glob(f"*/{RESULTS}")))


def _read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    found = []
    for path in sorted(paths):
        try:
            content, written = read_json(path), path.stat().st_mtime
        except (OSError, ValueError):
            continue
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            continue
        named = all(isinstance(content.get(key), str) for key in ("task", "preset"))
        if named and isinstance(content.get("init"), (str, type(None))) and isinstance(content.get("about"), dict):
            found.append({"init": None} | content | {"path": str(path), "written": written})
    return found


def compare(results: Sequence[dict[str, Any]], rows: Sequence[Row] = ROWS) -> list[Compared]:
    """Match results with rows, grouped by model and recipe.

    Of several recipes of a model, the published one is taken, else the latest.
    """
    results = [r | {"init": str(PurePath(r["init"])) if r["init"] else ""} for r in results]
    names = _short({r["init"] for r in results if r["init"]}) | {"": ""}

    def compared(row: Row) -> Compared:
        recipes: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for result in results:
            of_row = (result["task"], PRESET_ALIASES.get(result["preset"], result["preset"])) == (row.task, row.preset)
            if of_row and isinstance(result.get(row.metric), (int, float)) and not result["about"].get("fold"):
                recipes.setdefault(result["init"], {}).setdefault(_recipe(result), []).append(result)
        found = {init: _measured(row, names[init], list(groups.values())) for init, groups in recipes.items()}
        scratch = found.pop("", None)
        return Compared(row, tuple(sorted(found.values(), key=lambda measured: measured.model)), scratch)

    return [compared(row) for row in rows]


def _measured(row: Row, model: str, groups: list[list[dict[str, Any]]]) -> MeasuredRow:
    """Select and average one model's group of runs."""

    def rank(group: list[dict[str, Any]]) -> tuple[bool, float]:
        return not _changed(group[0]), max(r.get("written", 0.0) for r in group)

    runs = max(groups, key=rank)
    percent = sum(100 * r[row.metric] for r in runs) / len(runs)
    return MeasuredRow(model, percent, len(runs), bool(_changed(runs[0])), len(groups) - 1)


def _changed(result: dict[str, Any]) -> list[str]:
    changed = result["about"].get("changed")
    return list(map(str, changed)) if isinstance(changed, list) else []


def _recipe(result: dict[str, Any]) -> str:
    """Return a key that is equal for repetitions of a run."""
    config = result["about"].get("config")
    options = flatten(config if isinstance(config, dict) else {})
    ignored = ("network.",) if result["init"] else ()  # a pre-trained model determines the size
    recipe = {k: v for k, v in options.items() if k not in NON_RECIPE_OPTIONS and not k.startswith(ignored)}
    return json.dumps([recipe, _changed(result)], sort_keys=True)


def _short(paths: Iterable[str]) -> dict[str, str]:
    """Map each path to its shortest distinctive end; "model", a common folder name, never stands alone."""
    parts = {path: [p for p in PurePath(path).parts if p != "/"] or [path] for path in paths}

    def end(path: str, count: int) -> str:
        return "/".join(parts[path][-count:])

    short = {}
    for path in parts:
        count = 2 if parts[path][-1] == "model" else 1
        while count < len(parts[path]) and any(end(path, count) == end(o, count) for o in parts if o != path):
            count += 1
        short[path] = end(path, count)
    return short
