"""Time of the parts of a training step, forward and backward, on any device.

A step runs its parts one after the other, so a part's time is the time between two marks. Forward marks are set by
module hooks. Backward marks are set by gradient hooks on the outputs of each part: autograd runs the nodes of a graph
in reverse order of their creation, so when the gradient of a part's output arrives, everything after it is done. On
CUDA a mark is an event in the stream, which causes no delay; elsewhere it is the clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from ..core.models import GaussianCross

PARTS = ("copy to device", "backbone", "lattice", "dense U-Net", "heads", "splat", "losses", "optimiser", "other")
"""Parts of a step. "lattice" is scatter and sampling; "other" is the rest of the loop (metrics, schedule)."""


class PartTimer:
    """Times the parts of `Pretrainer.train_step`. Use as a context, with one `step` block per training step.

    Args:
        model, optimizer: the trained network and its optimiser.
        device: device of the training.

    Attributes:
        steps: milliseconds per (part, "forward" or "backward") for every step so far.
    """

    def __init__(self, model: GaussianCross, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.model, self.optimizer, self.device = model, optimizer, device
        self.steps: list[dict[tuple[str, str], float]] = []
        self._marks: list[tuple[tuple[str, str], Any]] = []
        self._handles: list[Any] = []
        self._patches: list[Any] = []

    def __enter__(self) -> PartTimer:
        model = self.model
        self._module(model.backbone, "backbone", "lattice")
        self._method(model.backbone, "stages", "backbone", "lattice")  # with a point loss, instead of the module's call
        self._module(model.lattice_net, "dense U-Net", "lattice")
        for name in ("head", "fine_head"):
            if getattr(model, name) is not None:
                self._method(getattr(model, name), "scenes", "heads", "lattice")
        self._method(model, "render_scenes", "splat", "losses")
        self._method(model, "losses", "losses", None)
        # Gradient clipping belongs to the optimiser, and its call is where the backward pass has ended.
        clip = torch.nn.utils.clip_grad_norm_

        def marked_clip(*args: Any, **kwargs: Any) -> Any:
            self._mark("optimiser")
            return clip(*args, **kwargs)

        self._patches.append(mock.patch.object(torch.nn.utils, "clip_grad_norm_", marked_clip))
        for patch in self._patches:
            patch.start()
        self._handles.append(self.optimizer.register_step_post_hook(lambda *_: self._mark("other")))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        for patch in reversed(self._patches):
            patch.stop()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time the block as one step; waits for the device at its end."""
        self._marks.clear()
        self._mark("copy to device")
        yield
        self._mark("other")
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        times: dict[tuple[str, str], float] = {}
        for (part, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            times[part] = times.get(part, 0.0) + _milliseconds(start, end)
        self.steps.append(times)

    def median(self) -> dict[tuple[str, str], float]:
        """Return milliseconds per part and direction: the median over the steps."""
        keys = {key for step in self.steps for key in step}
        return {k: statistics.median(s.get(k, 0.0) for s in self.steps) for k in sorted(keys, key=_order)}

    def fastest(self) -> dict[tuple[str, str], float]:
        """Return milliseconds per part and direction of the fastest step, the most reliable one on a shared machine."""
        step = min(self.steps, key=lambda times: sum(times.values()))
        return {k: step[k] for k in sorted(step, key=_order)}

    # --- marks ------------------------------------------------------------------------------------------------

    def _mark(self, part: str, direction: str = "forward") -> None:
        """Count time from now on to ``part``."""
        if self.device.type == "cuda":
            now: Any = torch.cuda.Event(enable_timing=True)
            now.record()
        else:
            now = time.perf_counter()
        self._marks.append(((part, direction), now))

    def _mark_gradient(self, outputs: Any, part: str) -> None:
        """Count backward time to ``part`` as soon as the gradient of one of its outputs arrives."""
        for tensor in _tensors(outputs):
            if tensor.requires_grad:
                tensor.register_hook(lambda _: self._mark(part, "backward"))

    def _module(self, module: nn.Module, part: str, then: str) -> None:
        def before(_: nn.Module, args: tuple[Any, ...]) -> None:
            # Only outputs of earlier parts, no leaves.
            self._mark_gradient([t for t in _tensors(args) if t.grad_fn is not None], "lattice")
            self._mark(part)

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._mark_gradient(output, part)
            self._mark(then)

        self._handles.append(module.register_forward_pre_hook(before))
        self._handles.append(module.register_forward_hook(after))

    def _method(self, model: nn.Module, name: str, part: str, then: str | None) -> None:
        method = getattr(model, name)

        def marked(*args: Any, **kwargs: Any) -> Any:
            self._mark(part)
            output = method(*args, **kwargs)
            if then is None:  # the losses: the backward pass begins right after them
                self._mark(part, "backward")
            else:
                self._mark_gradient(output, part)
                self._mark(then)
            return output

        self._patches.append(mock.patch.object(model, name, marked))


def _order(key: tuple[str, str]) -> tuple[int, bool]:
    return PARTS.index(key[0]), key[1] == "backward"


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in a tensor, a dataclass of tensors, or a sequence of those."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value):
        return [t for f in fields(value) for t in _tensors(getattr(value, f.name))]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in _tensors(v)]
    return []


def _milliseconds(start: Any, end: Any) -> float:
    return start.elapsed_time(end) if isinstance(start, torch.cuda.Event) else (end - start) * 1e3
