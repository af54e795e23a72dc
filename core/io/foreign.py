"""Weights that others saved with torch.save, read without running anything that the file names.

``torch.load(weights_only=True)`` refuses a whole file for one NumPy scalar or one scheduler in it, which training
frameworks leave beside the weights. Whatever it would refuse is replaced here by an inert stand-in, so that the tensors
can be read and nothing else comes to life.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError

CONTAINERS = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which frameworks keep the weights, tried in this order."""


class _Inert(dict):
    """Stands for anything that is neither tensor nor container: takes every argument, does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from a ``.pth`` / ``.pt`` file or a ``.safetensors`` file.

    Args:
        path: of the file. Of a training checkpoint, what lies under the first of `CONTAINERS` is read.

    Raises:
        InputError: missing, damaged, or no mapping of names to tensors in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a file of weights", "a folder" if path.is_dir() else "no such file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(path, "a readable safetensors file", f"a damaged one ({error})") from error
    try:
        content = _load_inert(path)
    except InputError:
        raise
    except Exception as error:  # unpicklers meet damaged bytes with almost any exception
        found = f"something unreadable ({_first_line(error)})"
        raise InputError(path, "a file written by torch.save", found, "copy or download it again") from error
    while isinstance(content, Mapping) and (key := next((k for k in CONTAINERS if _is_mapping(content, k)), None)):
        content = content[key]
    weights = {k: v.detach() for k, v in content.items() if isinstance(v, Tensor)} if _is_named(content) else {}
    if not weights:
        found = f"keys {list(content)[:8]}" if isinstance(content, Mapping) else type(content).__name__
        raise InputError(path, "a mapping of names to tensors, also under " + ", ".join(CONTAINERS), found)
    return weights


def _load_inert(path: Path) -> Any:
    """What `torch.load` reads, with stand-ins for what it refuses."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        serialization = torch.serialization
        if not hasattr(serialization, "get_unsafe_globals_in_checkpoint"):
            found = f"more than weights ({_first_line(error)})"
            raise InputError(path, "a file of weights alone", found, "update torch to read it") from error
        names = serialization.get_unsafe_globals_in_checkpoint(str(path))
        if not names:
            raise
        with serialization.safe_globals([(_Inert, name) for name in names]):  # pyright: ignore[reportArgumentType]
            return torch.load(path, map_location="cpu", weights_only=True)


def _is_mapping(content: Mapping, key: str) -> bool:
    return isinstance(content.get(key), Mapping) and not isinstance(content[key], _Inert)


def _is_named(content: object) -> bool:
    return isinstance(content, Mapping) and all(isinstance(k, str) for k in content)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
