"""Several data sets as one: ``rooms:400+captures/office@0.2``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data.scene import PointScene, PosedFrames, SceneDataset
from ..errors import InputError

JOIN = "+"
"""Separates sources."""

SHARE = "@"
"""Precedes a source's share of the training scenes."""


def split_sources(data: str) -> list[tuple[str, float]]:
    """Split ``A@SHARE+B`` into sources and shares that sum to 1; a source without a share has one of 1 at first.

    The name of an existing file or folder is one source, whatever characters it holds.

    Raises:
        InputError: an empty source, or a share that is not a number above 0.
    """
    if JOIN not in data or Path(data).expanduser().exists():
        return [(data, 1.0)]
    sources = []
    for part in _parts(data):
        name, mark, share = part.strip().rpartition(SHARE)
        if not mark or _exists(part.strip()):
            name, share = part.strip(), "1"
        try:
            weight = float(share)
        except ValueError:
            weight = 0.0
        if not name or not 0 < weight < float("inf"):
            raise InputError(data, f"sources joined by {JOIN}, each with an optional share, as in rooms@2", repr(part))
        sources.append((name, weight))
    total = sum(weight for _, weight in sources)
    return [(name, weight / total) for name, weight in sources]


def _parts(data: str) -> list[str]:
    """Split at `JOIN`, but not inside names of existing files and folders, the longest of which counts."""
    words, parts = data.split(JOIN), []
    while words:
        names = [(count, JOIN.join(words[:count]).strip()) for count in range(len(words), 1, -1)]
        count = next((count for count, name in names if _exists(name) or _exists(_without_share(name))), 1)
        parts.append(JOIN.join(words[:count]))
        words = words[count:]
    return parts


def _without_share(name: str) -> str:
    """The name before a share; empty where no share ends it."""
    head, _, share = name.rpartition(SHARE)
    return "" if JOIN in share else head


def _exists(name: str) -> bool:
    return bool(name) and Path(name).expanduser().exists()


class JoinedDataset:
    """Scenes of several data sets, in turn: the first scene of each, then the second of each, and so on.

    Args:
        parts: the data sets; those with labels must have the same classes.
        shares: share of each in training, with a sum of 1.

    Raises:
        InputError: labels of different classes.
    """

    def __init__(self, parts: Sequence[SceneDataset], shares: Sequence[float]) -> None:
        self.parts, self.shares = tuple(parts), tuple(shares)
        labels = {tuple(part.class_names) for part in parts if part.class_names}
        if len(labels) > 1:
            found = " and ".join(f"{len(names)} ({names[0]}, …)" for names in sorted(labels))
            raise InputError("data sets", "the same classes in all that have labels", found)
        self.class_names: tuple[str, ...] = next(iter(labels), ())
        longest = max(len(part) for part in parts)
        self._where = [(k, i) for i in range(longest) for k, part in enumerate(parts) if i < len(part)]
        self._members = [[n for n, (k, _) in enumerate(self._where) if k == j] for j in range(len(parts))]
        names = [parts[k].names[i] for k, i in self._where]
        self.names = tuple(
            f"{k}-{name}" if names.count(name) > 1 else name for (k, _), name in zip(self._where, names, strict=True)
        )

    def __len__(self) -> int:
        return len(self._where)

    def scene(self, index: int) -> PointScene:
        k, i = self._where[index]
        return replace(self.parts[k].scene(i), name=self.names[index])

    def frames(self, index: int) -> PosedFrames | None:
        k, i = self._where[index]
        return self.parts[k].frames(i)

    def draw(self, rng: np.random.Generator) -> int:
        """Index of a random scene: first a data set by its share, then one of its scenes."""
        members = self._members[int(rng.choice(len(self.parts), p=self.shares))]
        return members[int(rng.integers(len(members)))]
