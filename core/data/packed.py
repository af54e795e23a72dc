"""Target views as they are stored, a third of their size in float32, until they are on the device that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..geometry.cameras import Cameras
from .batch import Views

T = TypeVar("T")


@dataclass(frozen=True)
class PackedViews:
    """`Views` of M images of one scene in the types of their files; `to` makes the same numbers of them.

    Attributes:
        cameras: see `Views`.
        color: [M, H, W, 3] uint8, or float32 in [0, 1].
        depth: [M, H, W] uint16 in units of ``depth_unit``, or float32 in metres.
        depth_unit: metres.
        teacher: [M, h, w, D] float16, float32, or int8 in units of ``scale``; None without a teacher.
        scale: [M, h, w] float32, for int8.
    """

    cameras: Cameras
    color: Tensor
    depth: Tensor
    depth_unit: float = 1.0
    teacher: Tensor | None = None
    scale: Tensor | None = None

    def to(self, device: torch.device | str) -> Views:
        """Copy to a device and convert there to float32."""
        if torch.device(device).type != "cpu":
            self.cameras.require_finite()
        wait = torch.device(device).type != "cuda"
        color, depth = (t.to(device, non_blocking=not wait) for t in (self.color, self.depth))
        teacher = None if self.teacher is None else self.teacher.to(device, non_blocking=not wait).float()
        if teacher is not None and self.scale is not None:
            teacher = teacher * self.scale.to(device, non_blocking=not wait)[..., None]
        return Views(
            self.cameras.to(device),
            # By a tensor: CUDA multiplies by the rounded inverse of a number.
            color.float() / color.new_full((), 255, dtype=torch.float32) if color.dtype == torch.uint8 else color,
            depth.float() * self.depth_unit if depth.dtype == torch.uint16 else depth,
            teacher,
        )


def map_tensors(value: T, function: Callable[[Tensor], Tensor]) -> T:
    """Apply a function to the tensors in a batch: dataclasses and lists of tensors."""
    result: Any = value
    if isinstance(value, Tensor):
        result = function(value)
    elif isinstance(value, list):
        result = [map_tensors(item, function) for item in value]
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: map_tensors(getattr(value, f.name), function) for f in fields(value)}
        result = replace(value, **parts)
    return result
