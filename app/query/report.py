"""Files of a query: pictures, selections and labels as PLY, and a JSON report."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.data.scene import PointScene
from ...core.io import write_color, write_gaussians, write_points
from ...core.io.ply_table import read_vertices, write_vertices
from ...core.query import Answer, PhraseAnswer
from ..render.renderer import Renderer
from ..scenes.geometry import world_gaussians
from ..scenes.open import OpenScene
from ..scenes.source import SceneState
from .answer import PhraseResult, best_phrase
from .pictures import AnswerPictures


def write_report(
    folder: Path,
    opened: OpenScene,
    renderer: Renderer,
    answer: Answer,
    results: Sequence[PhraseResult],
    scene: str,
    negatives: Sequence[str] = (),
    views: int = 3,
    width: int = 480,
) -> list[str]:
    """Write all files of a query and return their names.

    Args:
        folder: an existing folder.
        renderer: renderer of ``opened``, with the scene loaded.
        results: one per known phrase of ``answer``.
        scene: name of the scene, as the user typed it.
        negatives: contrast phrases of all queries.
        views: pictures per phrase.
        width: width of a picture, pixels.
    """
    state = renderer.state(opened.index)
    assert state is not None
    table = None
    if opened.ply is not None and state.gaussians is not None:
        table = original_rows(opened.ply, len(state.gaussians))
    names = file_names([p.phrase for p in answer.phrases])
    files, entries = [], []
    for label, phrase in enumerate(answer.phrases):
        entry: dict[str, Any] = {"label": label}
        result = next((r for r in results if r.answer is phrase), None)
        if result is None:
            entry |= _unknown_json(phrase)
        else:
            entry |= result.to_json()
            if result.selected.any():
                entry["ply"] = f"{names[label]}.ply"
                write_selection(folder / entry["ply"], state, result.selected, table)
            entry["picture"] = f"{names[label]}.png"
            pictures = AnswerPictures(renderer, opened.index, width, "relevancy")
            write_color(folder / entry["picture"], pictures.phrase(result, views))
            files += [entry[k] for k in ("picture", "ply") if k in entry]
        entries.append(entry)
    if results:
        labels = [i for i, p in enumerate(answer.phrases) if p.unknown is None]
        write_labels(folder / "labels.ply", state, best_phrase(results, labels), table)
        pictures = AnswerPictures(renderer, opened.index, width, "relevancy, 0.5 = as any other word")
        write_color(folder / "page.png", pictures.page(results))
        files += ["labels.ply", "page.png"]
    report = {
        "format": "gaussiancross-answer",
        "version": 1,
        "scene": scene,
        "name": state.name,
        "field": opened.kind,
        "teacher": opened.teacher_name,
        "step": state.step,
        "count": 0 if state.gaussians is None else len(state.gaussians),
        "calibrated": None
        if opened.calibration is None
        else opened.calibration.numbers() | {"data": opened.calibration.data},
        "phrases": entries,
        "negatives": list(negatives),
        "unknown_negatives": [str(u) for u in answer.unknown_negatives],
    }
    (folder / "answer.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return [*files, "answer.json"]


def _unknown_json(phrase: PhraseAnswer) -> dict[str, Any]:
    assert phrase.unknown is not None
    return {
        "phrase": phrase.phrase,
        "known": False,
        "unknown_word": phrase.unknown.phrase,
        "suggestions": list(phrase.unknown.suggestions),
    }


def file_names(phrases: Sequence[str]) -> list[str]:
    """A distinct plain file name without ending for each phrase; reserved names are avoided."""
    out: list[str] = []
    for phrase in phrases:
        plain = re.sub(r"[^a-z0-9]+", "-", phrase.casefold()).strip("-")[:60] or "phrase"
        name, number = plain, 2
        while name in out or name in ("page", "labels", "answer"):
            name, number = f"{plain}-{number}", number + 1
        out.append(name)
    return out


def write_selection(path: Path, state: SceneState, selected: NDArray[np.bool_], table: NDArray | None) -> None:
    """Write the selection as a PLY.

    Args:
        selected: [N] bool, of the Gaussians; of the points where each point has one Gaussian or there are points alone.
        table: [N] vertices of the PLY that the Gaussians came from, to write its rows as they are; None to write
            ``state``'s points or Gaussians (world, metres).
    """
    if table is not None:
        write_vertices(path, {n: table[n][selected] for n in table.dtype.names or ()})
    elif (points := _points_of_rows(state)) is not None:
        write_points(path, points[selected])
    else:
        write_gaussians(path, world_gaussians(state)[torch.from_numpy(selected)])


def write_labels(path: Path, state: SceneState, labels: NDArray[np.int64], table: NDArray | None) -> None:
    """Write all Gaussians or points as a PLY, in their order, with ``label`` = the number of the phrase, −1 for none.

    Args:
        labels: [N] int64, one per row; the rows and ``table`` as in `write_selection`.
    """
    if table is not None:
        columns = {n: table[n] for n in table.dtype.names or () if n != "label"}
        write_vertices(path, {**columns, "label": labels.astype("<i4")})
    elif (points := _points_of_rows(state)) is not None:
        write_points(path, replace(points, segment=labels))
    else:
        write_gaussians(path, world_gaussians(state), labels)


def _points_of_rows(state: SceneState) -> PointScene | None:
    """The scene's points where row i of a selection is point i; None where it is Gaussian i and nothing else.

    A model predicts Gaussians from points, and their numbers differ or agree by chance: lengths decide nothing.
    """
    return state.points if state.gaussians is None or state.gaussian_per_point else None


def original_rows(path: Path, count: int) -> NDArray | None:
    """The vertex table of a splat PLY, or None if its rows are not the ``count`` Gaussians (rows were dropped).

    Files written from it keep spherical harmonics and all other columns.
    """
    table = read_vertices(path)
    if len(table) != count:
        return None
    names = table.dtype.names or ()
    return table.astype([(n, "<f4" if table.dtype[n] == np.float64 else table.dtype[n]) for n in names])
