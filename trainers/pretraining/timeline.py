"""Time line of a run: weights of many steps, through which a viewer can scrub.

    <run>/timeline/step-000000123.safetensors    weights alone, matrices in half precision

Steps are spaced evenly in the logarithm, since early steps change most. When the folder would exceed its budget, the
frame with the nearest neighbours is removed. Checkpoints count as frames; frames cannot be resumed.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...core.errors import InputError
from ...core.io.atomic import flush_path
from ...core.io.checkpoint import MODEL, list_checkpoints
from ...core.io.plain_files import check_plain

SPACING = 0.15
"""Relative growth of the step after which the next frame is due."""
NEAREST = 5
"""Minimum number of steps between frames."""
MAX_FRAMES = 80
"""Maximum number of frames."""

_NAME = re.compile(r"step-(\d{9,})\.safetensors")
_HALF_LIMIT = 6e4


@dataclass(frozen=True)
class TimelineFrame:
    """Weights of one step on disk: a ``.safetensors`` file of `Timeline` or of a checkpoint."""

    step: int
    path: Path

    def weights(self) -> dict[str, Tensor]:
        """Load the state dict in float32 on the CPU, with the probe's (see `online_probe.split_probe`).

        Raises:
            InputError: a missing or damaged file.
        """
        try:
            check_plain(self.path)
            tensors = load_file(self.path)
        except (OSError, SafetensorError, ValueError) as error:
            found = "no such file" if isinstance(error, FileNotFoundError) else f"a damaged file ({error})"
            raise InputError(self.path, "the weights of one step", found, "move on to another step") from error
        return {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}


class Timeline:
    """Writes the frames of a training run.

    Args:
        run_dir: run folder; frames go to its ``timeline/``.
        budget: maximum size of the folder in bytes; 0 writes nothing.
        step: current step. Frames of later steps, left by an interrupted process, are removed.
    """

    def __init__(self, run_dir: Path, budget: int, step: int = 0) -> None:
        self._folder, self._budget = run_dir / "timeline", budget
        for frame in _written(self._folder):
            if frame.step > step:
                frame.path.unlink(missing_ok=True)
        self._frames = _written(self._folder)

    def due(self, step: int) -> bool:
        """Whether a frame is due at ``step``."""
        if self._budget <= 0:
            return False
        if not self._frames:
            return True
        last = self._frames[-1].step
        return step >= last + max(NEAREST, SPACING * last)

    def offer(self, step: int, weights: Callable[[], Mapping[str, Tensor]]) -> bool:
        """Write a frame if one is due; return whether it was written. A full disk prints one warning and ends the time
        line, not the run."""
        if not self.due(step):
            return False
        path = self._folder / f"step-{step:09d}.safetensors"
        part = path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file({k: _halved(v) for k, v in weights().items()}, part)
            if part.stat().st_size > self._budget:
                part.unlink()
                self._budget = 0
                return False
            flush_path(part)
            os.replace(part, path)
        except (OSError, SafetensorError) as error:
            warnings.warn(f"{self._folder}: the time line ends here ({error})", stacklevel=2)
            part.unlink(missing_ok=True)
            self._budget = 0
            return False
        self._frames.append(TimelineFrame(step, path))
        self._thin()
        return True

    def _thin(self) -> None:
        sizes = {f.path: f.path.stat().st_size for f in self._frames}
        while len(self._frames) > 1 and (len(self._frames) > MAX_FRAMES or sum(sizes.values()) > self._budget):
            drop = self._frames.pop(least_missed([f.step for f in self._frames]))
            drop.path.unlink(missing_ok=True)
            del sizes[drop.path]


def least_missed(steps: list[int]) -> int:
    """Return the index of the step whose removal leaves the smallest gap, measured in log(step + `NEAREST`).

    The first and the last step stay, unless there are only two; then it is the first.
    """
    if len(steps) < 3:
        return 0
    gaps = [math.log((b + NEAREST) / (a + NEAREST)) for a, b in zip(steps[:-2], steps[2:], strict=True)]
    return 1 + gaps.index(min(gaps))


def list_frames(run_dir: Path) -> list[TimelineFrame]:
    """List the frames and checkpoints of a run, oldest first; of a step with both, the checkpoint, which is exact."""
    frames = {f.step: f for f in _written(run_dir / "timeline")}
    frames |= {step: TimelineFrame(step, path / MODEL) for step, path in list_checkpoints(run_dir / "checkpoints")}
    return [frames[step] for step in sorted(frames)]


def thinned(frames: list[TimelineFrame], count: int) -> list[TimelineFrame]:
    """Select at most ``count`` frames, evenly spaced in the list, with the first and the last."""
    if len(frames) <= count or count < 2:
        return list(frames)
    picks = sorted({round(i * (len(frames) - 1) / (count - 1)) for i in range(count)})
    return [frames[i] for i in picks]


def _written(folder: Path) -> list[TimelineFrame]:
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(TimelineFrame(int(match.group(1)), path))
    return sorted(found, key=lambda frame: frame.step)


def _halved(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU, matrices in half precision where their values allow it.

    Vectors stay in float32: small values of norms, biases and running variances matter.
    """
    plain = tensor.detach().to("cpu", copy=True).contiguous()
    if plain.ndim < 2 or not plain.is_floating_point() or not bool(plain.abs().max() < _HALF_LIMIT):
        return plain
    return plain.half()
