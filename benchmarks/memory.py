"""Memory of a pre-training step at the paper's scale on CUDA, by the shapes of what it keeps: no GPU is needed."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import tyro
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..app.scenes.predicted import DEVICE_BYTES
from ..core.losses.gaussiancross import depth_l1, rgb_l1
from ..core.losses.points import sum_of_cosines
from ..core.models import GaussianCross, GaussianCrossConfig
from ..core.nn import spunet
from ..core.sparse import SparseConv3d, SparseInverseConv3d, SubMConv3d
from ..core.splat import cuda
from ..trainers.pretraining.presets import FULL
from ._machine import environment, markdown, write_report

BATCHES = (1, 2, 4, 8)
SHARES = (1.0, 0.29, 0.078, 0.020, 0.005)
"""Occupied cells per resolution of a scene, as a share of its voxels."""
VISIBLE = 0.09
"""Share of a scene's Gaussians that a view sees: 34,000 to 52,000 of 524,288."""
GB = 1e9


@dataclass(frozen=True)
class Memory:
    """Account for what each part of a step of the preset `full` keeps until its backward pass, in mixed precision.

    Tensors are made on the meta device, so only their shapes and types count. Every anchor is kept, as at the start of
    a run. Working memory is the largest that a part needs beside; the allocator's fragments come on top.
    """

    voxels: int = 65_000
    """Voxels of a scene that the backbone sees (half of a ScanNet scene of 150,000 points)."""
    dim: int = 1280
    """D, width of the teacher's features (RADIO-H: 1280)."""
    out: Path = Path("bench")
    """Folder for memory.json and memory.md."""


def main() -> int:
    args = tyro.cli(Memory)
    table = {batch: account(args, batch) for batch in BATCHES}
    rows = [
        (part, ", ".join(f"{table[batch][part] / GB:.1f}" for batch in BATCHES)) for part in next(iter(table.values()))
    ]
    report: dict[str, Any] = {
        "batches": {str(k): v for k, v in table.items()},
        "environment": environment(torch.device("cpu")),
    }
    beside = viewer(args)
    rows += [(f"a viewer beside: {part}", f"{size / GB:.2f}") for part, size in beside.items()]
    report["viewer"] = beside
    heading = ("GB with batches of " + ", ".join(map(str, BATCHES)), "kept")
    write_report(args.out, "memory", report, markdown(heading, rows))
    return 0


def account(args: Memory, batch: int) -> dict[str, int]:
    """Bytes by part for a batch of scenes; the last rows are their sum and the sum with working memory."""
    data = FULL.data
    with torch.device("meta"):
        config = GaussianCrossConfig(**{**vars(FULL.model), "teacher_dim": args.dim})
        model = GaussianCross(config)
        cells = math.prod(config.lattice_shape)
        images = batch * data.views
        counts = [int(share * args.voxels) * batch for share in SHARES]
        parts = {
            "weights, gradients, AdamW": 16 * sum(p.numel() for p in model.parameters()),
            "targets": batch * data.views * 4 * (4 * data.width * data.height + 30 * 40 * args.dim),
            "backbone": _backbone(model.backbone, counts),
            "kernel maps": 1024 * counts[0] + sum(2 * 27 * 4 * n for n in counts),
            "dense U-Net": _unet(model, batch),
            "heads": _heads(model, batch * cells),
            "splat: colour and depth": _splat(images, batch, cells, 0),
            "splat: embeddings": _splat(images, batch, cells, config.head.feature_dim),
            "losses on images": _images(images, data.width, data.height),
            "point loss": _points(model, counts, args.dim),
        }
    working = {
        "U-Net": 3 * batch * cells * config.lattice_channels * 2,
        "splat": max(parts["splat: colour and depth"], parts["splat: embeddings"]),
        "lifting": 4 * args.dim * (3 * args.voxels + counts[0] // 2 + counts[1]),
    }
    kept = sum(parts.values())
    return parts | {"sum": kept, "sum and working memory": kept + max(working.values())}


def viewer(args: Memory) -> dict[str, int]:
    """Bytes by part of what a viewer adds on the device that trains, where every anchor is kept.

    `app.scenes.source.LiveSource` keeps one scene there, and a second network, which computes in mixed precision.
    """
    with torch.device("meta"), torch.no_grad():
        config = GaussianCrossConfig(**{**vars(FULL.model), "teacher_dim": args.dim})
        model = GaussianCross(config).eval()
        cells, width, inner = math.prod(config.lattice_shape), config.channels[-1], config.lattice_channels
        features = config.head.feature_dim
        voxels = 2 * args.voxels  # nothing is masked
        scene = 4 * (cells * (14 + features) + voxels * width)
        words = 4 * cells * args.dim
        every = mock.patch.object(model.head, "keep", lambda opacities, sizes: (torch.arange(cells), list(sizes)))
        exact = mock.patch.object(torch, "is_autocast_enabled", lambda *_: False)
        with every, exact:
            net, head = model.lattice_net.to(torch.bfloat16), model.head.to(torch.bfloat16)  # as autocast computes
            shape, at = (1, width, *config.lattice_shape), torch.empty(cells, 3)
            volume = peak_bytes(lambda: net(torch.empty(shape, dtype=torch.bfloat16)))
            heads = peak_bytes(lambda: head.scenes(torch.empty(cells, inner, dtype=torch.bfloat16), at, at, [cells]))
    parts = {
        "weights": 4 * sum(p.numel() for p in model.parameters()),
        "scene, and the one before": 2 * scene,
        "features for words": words if words <= DEVICE_BYTES else 0,
        # The volume is kept until its scene is done, the backbone's maps until its features are.
        "network": max(
            volume, heads + 2 * cells * inner, 1024 * voxels + sum(2 * 27 * 4 * int(s * voxels) for s in SHARES)
        ),
    }
    return parts | {"sum": sum(parts.values())}


class _Peak(TorchDispatchMode):
    """Adds up the storages that are alive.

    Attributes:
        peak: largest sum so far, bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._alive:
                storage = tensor.untyped_storage()
                self._alive.add(storage._cdata)
                self._now += storage.nbytes()
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return out

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._now -= size


def peak_bytes(function: Callable[[], Any]) -> int:
    """Largest number of bytes of tensors that ``function`` holds at a time."""
    with _Peak() as counter:
        function()
    return counter.peak


def kept_bytes(function: Callable[[], Any], without: nn.Module | None = None) -> int:
    """Bytes of the distinct tensors that autograd keeps for the backward pass of what ``function`` computes.

    Args:
        without: module whose parameters do not count.
    """
    known = {p.untyped_storage()._cdata for p in without.parameters()} if without is not None else set()
    found: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in known:
            found.setdefault(tensor.untyped_storage()._cdata, tensor)  # alive, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


def _unet(model: GaussianCross, batch: int) -> int:
    net = model.lattice_net.to(torch.bfloat16)  # as autocast computes
    width = model.config.channels[-1]
    volume = torch.empty(batch, width, *model.config.lattice_shape, dtype=torch.bfloat16, requires_grad=True)
    with mock.patch.object(torch, "is_autocast_enabled", lambda *_: False):  # does not know the meta device
        return kept_bytes(lambda: net(volume), net)


def _heads(model: GaussianCross, anchors: int) -> int:
    head = model.head.to(torch.bfloat16)
    feat = torch.empty(anchors, model.config.lattice_channels, dtype=torch.bfloat16, requires_grad=True)
    every = mock.patch.object(head, "keep", lambda opacities, sizes: (torch.arange(anchors), list(sizes)))
    with every:
        return kept_bytes(lambda: head.scenes(feat, torch.empty(anchors, 3), torch.empty(anchors, 3), [anchors]), head)


def _splat(images: int, batch: int, anchors: int, features: int) -> int:
    dense = cuda.dense_bytes(images, anchors, features)
    if dense <= cuda.DENSE_BYTES:
        return dense
    return int(VISIBLE * dense) + 4 * anchors * batch * (14 + features)  # packed, and the Gaussians themselves


def _images(images: int, width: int, height: int) -> int:
    color, depth, alpha = (torch.empty(images, height, width, k, requires_grad=True) for k in (3, 1, 1))

    def losses() -> list[Tensor]:
        expected = (depth / alpha.clamp_min(1e-10))[..., 0]
        target = torch.empty(images, height, width)
        return [rgb_l1(color, torch.empty_like(color)), depth_l1(expected, alpha[..., 0], target)]

    return kept_bytes(losses)


def _points(model: GaussianCross, counts: list[int], dim: int) -> int:
    levels = (0, 1, 2, 3, 4, 3, 2, 1, 0)
    directions = [torch.empty(n, dim, dtype=torch.bfloat16) for n in counts]
    layers = model.point_projections
    assert layers is not None

    def losses() -> list[Tensor]:
        results = []
        for layer, level in zip(layers, levels, strict=True):
            assert isinstance(layer, nn.Linear)
            features = torch.empty(counts[level], layer.in_features, requires_grad=True)
            results.append(sum_of_cosines(features, layer, directions[level]))
        return results

    return kept_bytes(losses, layers)


# --- the backbone, with convolutions that keep what spconv's keep ---------------------------------------------------


class _Convolution(torch.autograd.Function):
    """Keeps its input in float32, as spconv under bfloat16 autocast does, and returns bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(x.float(), weight)
        return x.new_empty(rows, weight.shape[0], dtype=torch.bfloat16)


class _Cells:
    """The features of a level's cells, in place of a `SparseTensor`."""

    def __init__(self, features: Tensor, level: int) -> None:
        self.features, self.level = features, level

    def with_features(self, features: Tensor) -> _Cells:
        return _Cells(features, self.level)


@contextmanager
def _convolutions(counts: list[int]) -> Iterator[None]:
    def forward(change: int) -> Callable[[Any, _Cells], _Cells]:
        def convolve(layer: Any, x: _Cells) -> _Cells:
            level = x.level + change
            return _Cells(_Convolution.apply(x.features, layer.weight, counts[level]), level)  # type: ignore[arg-type]

        return convolve

    with (
        mock.patch.object(SubMConv3d, "forward", forward(0)),
        mock.patch.object(SparseConv3d, "forward", forward(1)),
        mock.patch.object(SparseInverseConv3d, "forward", forward(-1)),
    ):
        yield


def _backbone(net: spunet.SpUNet, counts: list[int]) -> int:
    x: Any = _Cells(torch.empty(counts[0], net.in_channels, requires_grad=True), 0)
    net.train()
    with _convolutions(counts):
        return kept_bytes(lambda: net._run(x), net)
