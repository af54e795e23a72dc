"""A simulated device: its tensors hold CPU tensors, and mixing both is an error, as with CUDA.

Importing this registers the device with torch for the whole process, so that the checks that use it
(``device_checks.py``) run in one of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
NAME = "pretended"


class _Module(backend_registration._DummyBackendModule):
    """What torch asks a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.zeros(1, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        pass


backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
DEVICE = torch.device(NAME, 0)


class Held(Tensor):
    """A tensor of the pretended device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Held:
        like = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        out = Tensor._make_wrapper_subclass(cls, inner.shape, **like, device=DEVICE)  # type: ignore[attr-defined]
        out.inner = inner
        return out

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"a tensor on {DEVICE} is no array: .cpu() first")

    __array__ = numpy

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.detach().__reduce_ex__(protocol)  # files hold plain tensors

    def __repr__(self, **kwargs: Any) -> str:
        return f"Held({self.inner!r})"


class _Mode(TorchDispatchMode):
    """Sees what has no tensor of ours in its arguments, such as ``torch.zeros(3, device=DEVICE)``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretended() -> Iterator[torch.device]:
    """The device can be used inside."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    # CUDA's module.to() leaves parameters the objects that they are, as optimisers expect.
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with _Mode():
            yield DEVICE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """``func`` of what the tensors hold; results are on the device where an argument is, or where it was asked for."""
    tensors = [t for t in _leaves((*args, *kwargs.values())) if isinstance(t, Tensor)]
    held = [t for t in tensors if isinstance(t, Held)]
    device = kwargs.get("device")
    here = bool(held) if device is None else torch.device(device).type == NAME
    if not held and not here:
        return func(*args, **kwargs)
    if held:
        _check(func, args, [t for t in tensors if not isinstance(t, Held)])
    if device is not None:
        if here and kwargs.get("generator") is not None:
            raise RuntimeError(f"{func} on {DEVICE} wants a generator of that device")
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*_map(_inner, args), **{name: _map(_inner, value) for name, value in kwargs.items()})
    if func is aten.copy_.default:
        return args[0]
    if held and torch.Tag.inplace_view in func.tags:  # squeeze_ and the like: the outer shape follows the inner one
        with no_dispatch():
            func(*args, **kwargs)
        return args[0]
    if not here:
        return out
    outer = {id(t.inner): t for t in held}  # what works in place returns what it was given

    def wrap(t: Any) -> Any:
        if not isinstance(t, Tensor):
            return t
        return outer[id(t)] if id(t) in outer else Held(t)

    return _map(wrap, out)


def _leaves(values: Any) -> Iterator[Any]:
    """What lists and tuples hold; torch's own pytrees take most of the time of such small operations."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _map(function: Any, value: Any) -> Any:
    """``function`` of every leaf, in the same lists and tuples."""
    if isinstance(value, (list, tuple)):
        return type(value)([_map(function, item) for item in value])
    return function(value)


def _check(func: Any, args: Any, others: list[Tensor]) -> None:
    """What CUDA allows beside its own tensors: copies, numbers in what works element by element, and indices on the
    CPU."""
    strangers = others
    if func in (aten.copy_.default, aten._to_copy.default):
        return
    if torch.Tag.pointwise in func.tags or func in _TAKE_NUMBERS:
        strangers = [t for t in strangers if t.ndim > 0]
    if func in _TAKE_INDICES and isinstance(args[0], Held):
        indices = {id(t) for t in _leaves(args[1])}
        strangers = [t for t in strangers if id(t) not in indices]
    if strangers:
        raise RuntimeError(
            f"{func} got tensors on {DEVICE} and others on the CPU: {[list(t.shape) for t in strangers]}"
        )


_TAKE_INDICES = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
_TAKE_NUMBERS = (*_TAKE_INDICES[1:], aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Held) else value


# What torch.tensor(..., device=DEVICE) and new_tensor() use, out of any mode's sight.


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **where: Any) -> Tensor:
    return Held(torch.empty(size, dtype=dtype))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **where: Any) -> Tensor:
    return Held(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _inner(target).copy_(_inner(source))
    return target


_library = torch.library.Library("aten", "IMPL")
_library.impl("empty.memory_format", _empty, "PrivateUse1")
_library.impl("empty_strided", _empty_strided, "PrivateUse1")
_library.impl("_copy_from", _copy_from, "PrivateUse1")
