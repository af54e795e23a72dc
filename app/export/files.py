"""Splats, features and selections of a scene as files."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import InputError
from ...core.geometry.gaussians import transform_gaussians
from ...core.io import SplatData, write_points, write_splats
from ...core.io.formats import splat_format_of
from ..scenes.geometry import guess_up, world_gaussians
from ..scenes.source import SceneState
from .work import Download, Progress, Work

Z_TO_Y = torch.tensor([0.5**0.5, -(0.5**0.5), 0.0, 0.0])
"""Rotation, wxyz, that takes z to y."""


def file_name(*parts: object) -> str:
    """Parts joined by dashes, free of anything that a file system or a browser could trip over."""
    plain = (re.sub(r"[^A-Za-z0-9._]+", "-", str(p)).strip("-.") for p in parts if p is not None)
    return "-".join(p for p in plain if p)[:120] or "gaussiancross"


def splats_work(state: SceneState, kind: str, chosen: NDArray | None, name: str, features: bool = False) -> Work:
    """The Gaussians of the scene, or the ``chosen`` ones (indices [K]), in the format of splats with the ending
    ``kind``; of a scene without Gaussians, its points as a PLY. With ``features``, formats that keep them also get the
    embeddings.

    Harmonics and labels of the scene's file are written again where the format keeps them. Scenes whose world is known
    to have z up (captures, rooms, runs) are rotated to the axis that the format says points up; files keep their axes.
    """
    yield Progress(0.1)
    form = splat_format_of(f"{name}.{kind}")
    if features and (state.gaussians is None or state.embeddings is None or "features" not in form.keeps):
        hint = "export a run, a room or a capture to a .ply or .glb"
        raise InputError("--features", "Gaussians with features and a .ply or .glb to write", "none", hint)
    if state.gaussians is None and state.points is not None and kind == "ply":
        points = state.points if chosen is None else state.points[chosen]
        return Download(f"{name}.ply", written_file("ply", lambda path: write_points(path, points)))
    gaussians = world_gaussians(state)
    if features and state.embeddings is not None:
        gaussians = replace(gaussians, features=state.embeddings.detach().float().cpu())
    if form.up == "y" and guess_up(state) == "+z" and (state.frames is not None or state.transform is not None):
        gaussians = transform_gaussians(gaussians, Z_TO_Y, 1.0, torch.zeros(3))
    data = SplatData(gaussians, state.sh, state.labels)
    if chosen is not None:
        data = data[torch.from_numpy(chosen)]
    yield Progress(0.4)
    return Download(f"{name}.{kind}", written_file(kind, lambda path: write_splats(path, data)))


def features_work(state: SceneState, chosen: NDArray | None, name: str) -> Work:
    """[N, D] float32 ``.npy``: features of the Gaussians, in the order of the PLY; without Gaussians or without
    features of theirs, those of the points."""
    yield Progress(0.1)
    if state.embeddings is not None:
        rows = state.embeddings.detach().cpu()
    elif state.point_features is not None and state.point_voxel is not None:
        rows = state.point_features.detach().cpu()[state.point_voxel.cpu()]
    else:
        raise InputError(state.name, "features", "none", "open a run")
    if chosen is not None:
        rows = rows[torch.from_numpy(chosen)]
    return Download(f"{name}.npy", npy(rows.float().numpy()))


def selection_work(state: SceneState, chosen: NDArray, title: str, name: str) -> Work:
    """A ``.zip`` with the selection's indices as ``.npy`` and a ``.json`` that says what they are indices of."""
    yield Progress(0.1)
    of = "gaussians" if state.gaussians is not None else "points"
    if state.gaussians is not None:
        centers, total = world_gaussians(state).means.numpy(), len(state.gaussians)
    elif state.points is not None:
        centers, total = state.points.coord, len(state.points)
    else:
        raise InputError(state.name, "something to select from", "an empty scene")
    picked = centers[chosen]
    about = {
        "format": "gaussiancross-selection",
        "source": title,
        "scene": state.name,
        "step": state.step,
        "of": of,
        "total": total,
        "count": len(chosen),
        "center": picked.mean(0).round(4).tolist(),
        "low": picked.min(0).round(4).tolist(),
        "high": picked.max(0).round(4).tolist(),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "indices": chosen.tolist(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{name}.npy", npy(chosen.astype(np.int64)))
        file.writestr(f"{name}.json", json.dumps(about, indent=1))
    return Download(f"{name}.zip", buffer.getvalue())


def checked_selection(selection: object, total: int) -> NDArray[np.int64]:
    """A selection as sorted unique indices [K] into ``total`` things; `InputError` where nothing is selected."""
    if isinstance(selection, Tensor):
        selection = selection.detach().cpu().numpy()
    chosen = np.asarray([] if selection is None else selection)
    if chosen.dtype == bool and chosen.shape == (total,):
        chosen = np.flatnonzero(chosen)
    chosen = np.unique(chosen.astype(np.int64))
    if not len(chosen) or chosen[0] < 0 or chosen[-1] >= total:
        found = "none" if not len(chosen) else "one of another scene or step"
        raise InputError("this export", "a selection", found, "select something first")
    return chosen


def npy(array: NDArray) -> bytes:
    """The array as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def written_file(suffix: str, write: Callable[[Path], None]) -> bytes:
    """The bytes of what ``write`` writes to a file of its own."""
    with tempfile.TemporaryDirectory(prefix="gaussiancross-") as folder:
        path = Path(folder) / f"export.{suffix}"
        write(path)
        return path.read_bytes()
