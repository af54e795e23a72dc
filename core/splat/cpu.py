"""The CPU splatter: numba kernels behind one `torch.autograd.Function`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numba import get_num_threads, set_num_threads
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..geometry.gaussians import Gaussians
from .gather import gather_rows
from .project import RECORD, project_and_bin
from .tiles import composite_backward, composite_tiles, pick_tiles

# One call at a time: numba's portable threading layer aborts the process when two threads enter it, and two renders
# that share the cores gain nothing. The trainer and the viewer simply take turns.
_lock = threading.Lock()


@contextmanager
def _kernels() -> Iterator[None]:
    """Exclusive use of the kernels, on as many threads as torch may use (and numba allows)."""
    with _lock:
        threads = torch.get_num_threads()
        before = get_num_threads()
        set_num_threads(min(before, threads))
        try:
            yield
        finally:
            set_num_threads(before)
            # numba, as it starts its threads, sets the number of OpenMP's for the whole process, and so torch's
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)


class _Scratch:
    """Float32 memory reused between calls, because fresh pages cost more than the arithmetic on them."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float32)

    def take(self, size: int) -> np.ndarray:
        if not size <= len(self._memory) <= max(8 * size, 1 << 24):
            self._memory = np.empty(size + size // 4, np.float32)
        return self._memory[:size]


_rows = _Scratch()


@dataclass(frozen=True)
class _Lists:
    """Result of `project_and_bin`, which gives the shapes."""

    table: np.ndarray
    records: np.ndarray
    boxes: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    members: np.ndarray
    views: np.ndarray
    Ks: np.ndarray


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def project_records(inputs, viewmats, Ks, width, height, near, far, eps2d) -> _Lists:
    means, quats, scales, opacities, colors, features = (_array(x) for x in inputs)
    views, intrinsics = _array(viewmats.double()), _array(Ks.double())
    C, n, F = len(views), len(means), features.shape[1]
    table = np.empty(n * (16 + (F + 15) // 16 * 16), np.float32)
    records, boxes = np.empty((C, n, RECORD), np.float32), np.empty((C, n, 4), np.int32)
    offsets = np.empty((C, n + 1), np.int64)
    starts, members = project_and_bin(
        means, quats, scales, opacities, colors, features, views, intrinsics, width, height, near, far, eps2d,
        table, records, boxes, offsets,
    )  # fmt: skip
    return _Lists(table, records, boxes, offsets, starts, members, views, intrinsics)


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, quats, scales, opacities, colors, features, viewmats, Ks, width, height, near, far, eps2d):
        size = (len(viewmats), height, width)
        color, depth, rest = (torch.empty(*size, k) for k in (3, 1, features.shape[1]))
        transmittance, last = np.empty(size, np.float32), np.empty(size, np.int32)
        inputs = (means, quats, scales, opacities, colors, features)
        with _kernels():
            lists = project_records(inputs, viewmats, Ks, width, height, near, far, eps2d)
            used = np.empty(len(lists.starts) - 1, np.int64)
            composite_tiles(
                lists.starts, lists.members, lists.records, lists.table, width, height,
                color.numpy(), depth[..., 0].numpy(), transmittance, rest.numpy(), last, used,
            )  # fmt: skip
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(means, quats, scales, opacities)
        ctx.state = lists, width, height, eps2d, transmittance, last, used
        return color, depth, torch.from_numpy(1.0 - transmittance)[..., None], rest

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        lists, width, height, eps2d, transmittance, last, used = ctx.state
        means, quats, scales, opacities = (_array(x) for x in ctx.saved_tensors)
        n, (C, _, _) = len(means), transmittance.shape
        stride = len(lists.table) // n
        v_color, v_depth, v_alpha, v_features = (
            np.zeros((C, height, width, k), np.float32) if g is None else _array(g)
            for g, k in zip(gradients, (3, 1, 1, 0), strict=True)
        )
        first_rows, count = np.cumsum(used) - used, int(used.sum())
        slots = np.zeros(len(lists.members), np.int32)
        v_means, v_quats, v_scales, v_opacities, v_colors, v_rest = (
            torch.empty(n, *shape) for shape in ((3,), (4,), (3,), (), (3,), v_features.shape[3:])
        )
        with _kernels():
            rows = _rows.take(count * stride)
            composite_backward(
                lists.starts, lists.members, lists.records, lists.boxes, lists.offsets, lists.table, width, height,
                transmittance, last, used, first_rows, v_color, v_depth[..., 0], v_alpha[..., 0], v_features, rows,
                slots,
            )  # fmt: skip
            gather_rows(
                means, quats, scales, opacities, lists.views, lists.Ks, width, height, eps2d, lists.records,
                lists.offsets, lists.starts, slots, rows, stride, v_means.numpy(), v_quats.numpy(), v_scales.numpy(),
                v_opacities.numpy(), v_colors.numpy(), v_rest.numpy(),
            )  # fmt: skip
        v_rest = None if gradients[3] is None else v_rest
        return v_means, v_quats, v_scales, v_opacities, v_colors, v_rest, *[None] * 7


def composite(
    gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, width: int, height: int, near: float, far: float, eps2d: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `reference.composite`, float32."""
    features = gaussians.means.new_empty(len(gaussians), 0) if gaussians.features is None else gaussians.features
    return _Splat.apply(  # type: ignore[return-value]
        gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.colors, features,
        viewmats, Ks, width, height, near, far, eps2d,
    )  # fmt: skip


def pick(
    gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, width: int, height: int, near: float, far: float, eps2d: float
) -> tuple[Tensor, Tensor]:
    """As `reference.pick`, float32."""
    g = gaussians
    size = (len(viewmats), height, width)
    index, depth = torch.empty(size, dtype=torch.int64), torch.empty(size)
    with _kernels():
        inputs = (g.means, g.quats, g.scales, g.opacities, g.colors, g.means.new_empty(len(g), 0))
        lists = project_records(inputs, viewmats, Ks, width, height, near, far, eps2d)
        pick_tiles(lists.starts, lists.members, lists.records, width, height, index.numpy(), depth.numpy())
    return index, depth
