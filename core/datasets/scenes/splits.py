"""Data-efficient splits: few scenes, or few labelled points per scene.

    <root>/splits/{train,val,test}.txt          scene names
    <root>/tasks/scenes/{1,5,10,20}.txt         percentages of the training scenes
    <root>/tasks/points/points{20,50,100,200}   scene → indices of its labelled points, saved by torch

The layout is that of ScanNet's data-efficient benchmark, whose lists should be preferred: only results on equal splits
are comparable. `sample_scenes` and `sample_points` make similar lists; <root>/tasks/drawn.json records which lists were
sampled here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.scene import IGNORE, PointScene
from ...errors import InputError
from ...io.json_files import read_json
from ...io.plain_files import read_bytes
from ...io.torch_files import load_tensors_only

SCENE_SHARES = (1, 5, 10, 20)
"""Percentages of the training scenes."""

POINT_COUNTS = (20, 50, 100, 200)
"""Numbers of labelled points per scene."""

SAMPLED = "drawn.json"
"""File in ``tasks`` with the digests of sampled lists, so that a list that was replaced is recognised."""


def sample_scenes(names: Sequence[str], percent: int, seed: int = 0) -> list[str]:
    """Sample a percentage of the scenes, at least one, sorted by name.

    With equal seeds, smaller samples are subsets of larger ones.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    ordered = sorted(names)
    return sorted(ordered[i] for i in order[: max(1, len(names) * percent // 100)])


def sample_points(segment: NDArray[np.integer], count: int, seed: int = 0, key: int = 0) -> NDArray[np.int64]:
    """Sample ``count`` labelled points of a scene [N]; all of them if there are fewer.

    Args:
        segment: [N] class labels.
        count: number of points.
        seed, key: seed of the sample; ``key`` distinguishes scenes. With equal seeds, smaller samples are subsets of
            larger ones.

    Returns:
        indices of the points, ascending.
    """
    labelled = np.flatnonzero(np.asarray(segment) != IGNORE)
    order = np.random.default_rng([seed, 2, key]).permutation(len(labelled))
    return np.sort(labelled[order[:count]])


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write one name per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def write_point_lists(path: Path, points: Mapping[str, NDArray[np.integer]]) -> None:
    """Write scene → indices of labelled points, for `read_point_lists`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: torch.from_numpy(np.asarray(index, np.int64)) for name, index in points.items()}, path)


def read_point_lists(path: Path | str) -> dict[str, NDArray[np.int64]]:
    """Read scene → indices of labelled points, from a file of `write_point_lists` or of the benchmark.

    Raises:
        InputError: missing, damaged, or without such a mapping.
    """
    path = Path(path)
    content = load_tensors_only(path, arrays=True)
    points = {}
    for name, index in content.items() if isinstance(content, Mapping) else ():
        array = np.asarray([] if isinstance(index, Mapping) else index)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise InputError(path, "indices of points by scene", f"{type(index).__name__} for {name}")
        points[str(name)] = array.astype(np.int64)
    if not points:
        raise InputError(path, "indices of points by scene", type(content).__name__)
    return points


def mark_sampled(tasks: Path, lists: Sequence[Path], seed: int) -> None:
    """Record that these lists, files under ``tasks``, were sampled with that seed."""
    digests = {path.relative_to(tasks).as_posix(): _digest(path) for path in lists}
    (tasks / SAMPLED).write_text(json.dumps({"seed": seed, "sha256": digests}, indent=1), encoding="utf-8")


def was_sampled(path: Path) -> bool:
    """Whether a list of scenes or points was sampled (`mark_sampled`) and not replaced since."""
    tasks = path.parent.parent
    try:
        digests = read_json(tasks / SAMPLED)["sha256"]
        return digests.get(path.relative_to(tasks).as_posix()) == _digest(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no such file, or another content
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def with_labels_at(scene: PointScene, index: NDArray[np.integer], where: Path | str = "points") -> PointScene:
    """Remove the classes and instances of all points except the listed ones.

    Args:
        scene: N labelled points.
        index: indices of the points that keep their labels.
        where: file of the list, for errors.

    Raises:
        InputError: an index outside the scene.
    """
    if len(index) and not 0 <= index.min() <= index.max() < len(scene):
        found = f"{index.min()} to {index.max()}"
        raise InputError(where, f"for {scene.name} indices from 0 to {len(scene) - 1}", found)
    listed = np.zeros(len(scene), bool)
    listed[index] = True
    segment, instance = (None if v is None else np.where(listed, v, IGNORE) for v in (scene.segment, scene.instance))
    return replace(scene, segment=segment, instance=instance)
