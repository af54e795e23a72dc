"""What keeps a damaged checkpoint from being used, and a damaged network from being saved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...core.errors import RunError
from ...core.io.checkpoint import DamagedCheckpoint, latest_checkpoint, list_checkpoints

C = TypeVar("C")


class NotFiniteError(RunError):
    """Weights or optimiser state that must not be saved."""


def require_finite(folder: Path, step: int, weights: Mapping[str, Tensor], state: Any, hint: str) -> None:
    """Check what a checkpoint is to store.

    Args:
        folder: folder of the run's checkpoints.
        state: nested dicts and lists; only tensors in it are checked.
        hint: remedy for a diverged training.

    Raises:
        NotFiniteError: a tensor has a NaN or an infinite number.
    """
    bad = [name for name, tensor in (*weights.items(), *_tensors(state, "")) if not bool(torch.isfinite(tensor).all())]
    if not bad:
        return
    latest = latest_checkpoint(folder)
    safe = f"the last good checkpoint is {latest}" if latest else "there is no earlier checkpoint"
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    problem = f"{folder.parent}: training stopped at step {step}, {bad[0]}{more} not finite, nothing was saved"
    raise NotFiniteError(problem, f"{hint}; {safe}")


def _tensors(state: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """(path, tensor) of nested dicts and lists."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, (Mapping, list, tuple)):
        for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
            yield from _tensors(value, f"{name}.{key}" if name else str(key))


def read_newest(folder: Path, read: Callable[[Path], C]) -> tuple[Path | None, C | None, list[DamagedCheckpoint]]:
    """Read the newest checkpoint of a folder that is not damaged.

    Returns:
        its path and content, None without any checkpoint, and the errors of the newer, damaged ones.

    Raises:
        DamagedCheckpoint: all of them are damaged.
    """
    errors: list[DamagedCheckpoint] = []
    for _, path in reversed(list_checkpoints(folder)):
        try:
            return path, read(path), errors
        except DamagedCheckpoint as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return None, None, []


def set_aside(folder: Path, step: int) -> None:
    """Rename checkpoints after ``step`` to ``damaged-…``, so that later ones are not taken for older ones than them."""
    for number, path in list_checkpoints(folder):
        if number > step:
            target = path.with_name(f"damaged-{path.name}")
            with suppress(OSError):  # then the folder cannot be written to, which the next checkpoint reports
                shutil.rmtree(target, ignore_errors=True)
                path.rename(target)
