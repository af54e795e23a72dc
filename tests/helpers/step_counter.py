"""Counts what a training step hands to a device: operators, and reads that wait for their result.

gsplat and spconv are stood for by fakes whose own operators and reads are not counted. Works on the pretended device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch
from gaussiancross.core.sparse import reference
from gaussiancross.core.splat import api
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .pretended_device import NAME, Held

aten = torch.ops.aten
READS = (
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.equal,
    aten.unique_consecutive, aten.is_nonzero, aten.bincount,
)  # fmt: skip


class StepCounter(TorchDispatchMode):
    """Counts operators on the pretended device, and those that read from it.

    Attributes:
        operators, reads: counts by name.
        images: shape of the image of every call of gsplat.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.images: list[tuple[int, ...]] = []
        self._paused = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        held = any(isinstance(t, Held) for t in tree_leaves((args, kwargs)))
        if not self._paused and (held or isinstance(out, Held)):
            self.operators[str(func)] += 1
            if held and _reads(func, args, kwargs or {}, out):
                self.reads[str(func)] += 1
        return out

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def uncounted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` as one operator."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not self._paused:
                self.operators[function.__qualname__] += 1
            with self.paused():
                return function(*args, **kwargs)

        return wrapped

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put fakes of gsplat and spconv in place, and count ``tolist``."""
        for name in ("submanifold_pairs", "coarsen"):
            monkeypatch.setattr(reference, name, self.uncounted(getattr(reference, name)))
        for name in ("forward", "backward"):
            counted = self.uncounted(getattr(reference.ReferenceConv, name))
            monkeypatch.setattr(reference.ReferenceConv, name, staticmethod(counted))
        module = ModuleType("gsplat")
        module.__spec__, module.__version__ = ModuleSpec("gsplat", None), "1.5.3"  # type: ignore[attr-defined]
        module.rasterization = self._rasterization  # type: ignore[attr-defined]
        monkeypatch.setitem(__import__("sys").modules, "gsplat", module)
        monkeypatch.setitem(api.BACKEND_DEVICES, "gsplat", NAME)
        monkeypatch.setattr(api, "_require", lambda backend: None)
        tolist = Held.tolist

        def counted_tolist(tensor: Held) -> Any:
            self.reads["tolist"] += not self._paused
            return tolist(tensor)

        monkeypatch.setattr(Held, "tolist", counted_tolist)

    def _rasterization(self, *, width: int, height: int, viewmats: Tensor, Ks: Tensor, **kwargs: Any) -> Any:
        values = [kwargs[name] for name in ("means", "quats", "scales", "opacities", "colors")]
        shape = (*viewmats.shape[:-2], height, width, values[4].shape[-1] + 1)
        self.images.append(shape)
        assert values[0].shape[:-2] == viewmats.shape[:-3] and not (kwargs["packed"] and len(shape) > 4)
        return (*_Images.apply(self, shape, *values), {})


class _Images(torch.autograd.Function):
    """Images that depend on nothing, with gradients of 0: gsplat's shapes."""

    @staticmethod
    def forward(ctx: Any, counter: StepCounter, shape: tuple[int, ...], *values: Tensor) -> tuple[Tensor, Tensor]:
        ctx.counter, ctx.like = counter, values
        counter.operators["gsplat"] += 1
        with counter.paused():
            return values[0].new_full(shape, 0.5), values[0].new_full((*shape[:-1], 1), 0.5)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        ctx.counter.operators["gsplat backward"] += 1
        with ctx.counter.paused():
            return None, None, *(torch.zeros_like(value) for value in ctx.like)


def _reads(func: Any, args: Any, kwargs: Any, out: Any) -> bool:
    if func.overloadpacket in READS:
        return True
    if func is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_):
        return any(isinstance(t, Held) and t.dtype == torch.bool for t in tree_leaves(args[1]))
    if func is aten.copy_.default:
        return isinstance(args[1], Held) and not isinstance(args[0], Held)
    return func is aten._to_copy.default and not isinstance(out, Held)
