"""Words on real captures: mean IoU of the best of 13 names per image cell, against the classes of a teacher network.

The names are scored at the points of a capture: features that a teacher computes from the training frames, lifted, or
those that a model predicts. Every frame's image is divided into the cells of the class maps
(`<capture>/teacher_ade20k`). A cell has the name with the highest mean cosine over the points that the frame sees in it
(visibility as in lifting), and is compared with the cell's most probable class. These classes are the output of a
network, often right, never ground truth. Cells of other classes and cells without a visible point are left out. Classes
with at least `LEAST` of the compared cells enter the mean.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from ..app.scenes.geometry import world_gaussians
from ..app.scenes.open import BUILTIN, OpenScene, SceneSpec, open_scene
from ..app.scenes.source import SceneState
from ..core.data.scene import PosedFrames
from ..core.datasets import open_dataset
from ..core.errors import InputError
from ..core.features.lifting import LiftConfig, observe
from ..core.io.pretrained import bundled_folder
from ..core.query import Query, QueryableFeatures, ask, template_for
from ..core.teachers.precomputed import PrecomputedTeacher
from ._machine import command_line, environment, markdown, write_report
from ._vocabulary import at_points

CLASSES: dict[str, tuple[str, ...]] = {
    "wall": ("wall",),
    "floor": ("floor",),
    "ceiling": ("ceiling",),
    "chair": ("chair", "armchair"),
    "table": ("table",),
    "cabinet": ("cabinet",),
    "door": ("door",),
    "window": ("window",),
    "curtain": ("curtain",),
    "painting": ("painting",),
    "sofa": ("sofa",),
    "plant": ("plant",),
    "shelf": ("shelf",),
}
"""Asked name → channels of the class maps that it should match."""

LEAST = 0.005
"""Smallest share of the compared cells of a class that enters the mean."""

FIELD = "bundled-field"
"""Name of the bundled feature field, which takes lifted features as input."""


@dataclass(frozen=True)
class WordsBench:
    """Compare names with the classes of a network, on captures."""

    captures: tyro.conf.Positional[tuple[Path, ...]]
    """RGB-D captures with class maps in `classes`."""
    teacher: tuple[str, ...] = (BUILTIN,)
    """Teachers whose features are lifted onto the points."""
    run: tuple[str, ...] = (FIELD, "bundled-rooms")
    """Runs or saved models: "bundled-field" takes pictures, "bundled-rooms" sees the points alone."""
    classes: str = "teacher_ade20k"
    """Folder of the class maps in a capture: <frame>.npy [h, w, C] and channels.json."""
    out: Path = Path("bench")
    """Folder for words.json and .md."""


@dataclass
class Confusion:
    """Cells by class of the network (rows) and asked name (columns)."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(CLASSES), len(CLASSES)), np.int64))

    def add(self, truth: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        np.add.at(self.counts, (truth, found), 1)

    def summary(self) -> dict[str, object]:
        """Return IoU and share of the cells by name, and the mean IoU of the names with at least `LEAST`."""
        right = np.diag(self.counts)
        rows, columns = self.counts.sum(1), self.counts.sum(0)
        share = rows / max(rows.sum(), 1)
        iou = right / np.maximum(rows + columns - right, 1)
        names = [name for name, part in zip(CLASSES, share, strict=True) if part >= LEAST]
        return {
            "miou": float(np.mean(iou[share >= LEAST])) if names else float("nan"),
            "accuracy": float(right.sum() / max(rows.sum(), 1)),
            "present": names,
            "iou": {name: float(v) for name, v in zip(CLASSES, iou, strict=True)},
            "share": {name: float(v) for name, v in zip(CLASSES, share, strict=True)},
        }


def main() -> int:
    args = tyro.cli(WordsBench)
    if not args.captures:
        raise InputError("gaussiancross bench words", "at least one capture", "none")
    report: dict[str, object] = {"environment": environment(torch.device("cpu")), "command": command_line("words")}
    tables, results = [], {}
    for capture in args.captures:
        rows = {}
        for kind, what in [*(("lifted", t) for t in args.teacher), *(("model", r) for r in args.run)]:
            started = time.perf_counter()
            confusion, unknown = measure(capture, kind, what, args.classes)
            rows[what] = confusion.summary() | {"unknown": unknown, "seconds": time.perf_counter() - started}
            rows[what]["confusion"] = confusion.counts.tolist()
        results[capture.name] = rows
        tables.append(_table(capture.name, rows))
    write_report(args.out, "words", report | {"captures": results}, "\n\n".join(tables))
    return 0


def measure(capture: Path, kind: str, what: str, classes: str = "teacher_ade20k") -> tuple[Confusion, list[str]]:
    """Compare one source of features with the class maps of a capture.

    Args:
        kind: "lifted" or "model".
        what: a teacher, or a run, a saved model or `FIELD`.

    Returns:
        the confusion matrix, and the asked names that the text encoder does not know.
    """
    maps = PrecomputedTeacher(capture / classes)
    opened = _open(capture, kind, what)
    state = opened.source.load(opened.index)
    frames = open_dataset(str(capture), "train", holdout=0).frames(0)
    assert state.points is not None and frames is not None
    words = QueryableFeatures.build(_features(state), opened.encoder, opened.channels)
    answer = ask(words, Query(tuple(CLASSES), template=template_for(words.encoder), mode="Cosine"))
    unknown = [p.phrase for p in answer.phrases if p.unknown is not None]
    scores = torch.full((len(state.points), len(CLASSES)), -2.0)
    if answer.phrase_scores is not None:
        scores[:, [i for i, p in enumerate(answer.phrases) if p.unknown is None]] = answer.phrase_scores
    return compare(torch.from_numpy(state.points.coord), scores, frames, maps), unknown


def compare(coord: Tensor, scores: Tensor, frames: PosedFrames, maps: PrecomputedTeacher) -> Confusion:
    """Compare the scores [N, K] of `CLASSES` at points [N, 3] with class maps, cell by cell of every frame.

    Raises:
        InputError: class maps without names of their channels.
    """
    if maps.channels is None:
        raise InputError(maps.folder / "channels.json", "the names of the classes", "no such file")
    column = {name: k for k, names in enumerate(CLASSES.values()) for name in names}
    class_of = np.array([column.get(name, -1) for name in maps.channels])
    h, w = maps.info.resolution or (1, 1)
    config, out = LiftConfig(), Confusion()
    width = min(config.width, frames.cameras.width)
    height = max(1, round(width * frames.cameras.height / frames.cameras.width))
    for i in range(len(frames)):
        depth = torch.from_numpy(np.ascontiguousarray(frames.read(i, width, height).depth))
        camera = frames.cameras[i].resized(width, height)
        index, _ = observe(coord, camera, depth, torch.ones(1, 1, 1), config)
        uv = camera.project(coord[index])[0][0]
        cell = (uv[:, 1] * h / height).long() * w + (uv[:, 0] * w / width).long()
        total = torch.zeros(h * w, scores.shape[1]).index_add(0, cell, scores[index])
        seen = torch.zeros(h * w, dtype=torch.bool).index_fill(0, cell, True)
        truth = class_of[maps.features("", frames, [i])[0].argmax(-1).flatten().numpy()]
        keep = seen.numpy() & (truth >= 0)
        out.add(truth[keep], total.argmax(1).numpy()[keep])
    return out


def _open(capture: Path, kind: str, what: str) -> OpenScene:
    spec = SceneSpec(str(capture), features_from="model", split="train", needs_features=True)
    if kind == "lifted":
        return open_scene(replace(spec, features_from="lifted", teacher=what))
    if what == FIELD:
        return open_scene(spec)
    if not (bundled_folder(what) or Path(what).exists()):
        raise InputError("--run", f"{FIELD}, a run or a saved model", what)
    return open_scene(replace(spec, what=what, data=str(capture)))


def _features(state: SceneState) -> Tensor:
    """Return the features [N, D] of the capture's points, in order."""
    assert state.points is not None and state.embeddings is not None
    if state.gaussian_per_point:
        return state.embeddings
    return at_points(world_gaussians(state), state.embeddings, state.points.coord)


def _table(title: str, rows: dict[str, dict]) -> str:
    """Format the results of one capture: classes by row, sources by column."""
    share = next(iter(rows.values()))["share"]
    names = sorted((n for n in share if share[n] > 0), key=lambda n: -share[n])
    header = (title, "share of the cells", *rows)
    lines: list[Sequence[object]] = [
        (
            name if share[name] >= LEAST else f"({name})",
            f"{share[name]:.1%}",
            *(f"{row['iou'][name]:.2f}" for row in rows.values()),
        )
        for name in names
    ]
    lines.append(("mean IoU", "", *(f"**{row['miou']:.3f}**" for row in rows.values())))
    lines.append(("right cells", "", *(f"{row['accuracy']:.3f}" for row in rows.values())))
    unknown = {what: row["unknown"] for what, row in rows.items() if row["unknown"]}
    note = f"\n\nunknown names: {json.dumps(unknown)}" if unknown else ""
    return markdown(header, lines) + note


if __name__ == "__main__":
    raise SystemExit(main())
