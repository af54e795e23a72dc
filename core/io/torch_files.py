"""Read tensors from files of torch.save without running code that the file names.

``torch.load(weights_only=True)`` refuses a whole file for one NumPy scalar or scheduler, which training frameworks
store beside the weights. Here, refused objects are replaced by inert placeholders, so that the tensors can be read.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError, first_line
from .archives import check_unpacked_size
from .plain_files import check_plain

SAFE = (2, 10)
"""First version of torch whose ``weights_only=True`` neither runs code (CVE-2025-32434) nor corrupts memory
(CVE-2026-24747)."""

CONTAINERS = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which frameworks store the weights, in the order tried."""


class _Inert(dict):
    """Placeholder for objects that are neither tensors nor containers: ignores its arguments and state."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


def torch_load(path: Path) -> Any:
    """``torch.load`` on the CPU with ``weights_only=True``, where that is safe.

    Raises:
        InputError: this torch would run code of a hostile file, or the file unpacks to far more than its size.
    """
    if torch_version() < SAFE:
        found = f"torch {torch.__version__}, in which reading such a file may run code"
        raise InputError(path, f"torch {'.'.join(map(str, SAFE))} or newer", found, "update torch")
    check_plain(path)
    check_unpacked_size(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def torch_version() -> tuple[int, int]:
    """Major and minor number of the installed torch."""
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read tensors by name, on the CPU, from a ``.pth``, ``.pt`` or ``.safetensors`` file.

    Args:
        path: the file. Training checkpoints are searched for the first key of `CONTAINERS`.

    Raises:
        InputError: missing, damaged, or without a mapping of names to tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a file of weights", "a folder" if path.is_dir() else "no such file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(path, "a readable safetensors file", f"a damaged one ({error})") from error
    content = load_tensors_only(path)
    while isinstance(content, Mapping) and (key := next((k for k in CONTAINERS if _is_mapping(content, k)), None)):
        content = content[key]
    weights = {k: v.detach() for k, v in content.items() if isinstance(v, Tensor)} if _is_named(content) else {}
    if not weights:
        found = f"keys {list(content)[:8]}" if isinstance(content, Mapping) else type(content).__name__
        raise InputError(path, "a mapping of names to tensors, also under " + ", ".join(CONTAINERS), found)
    return weights


def load_tensors_only(path: Path | str, arrays: bool = False) -> Any:
    """Read a file of ``torch.save``: tensors, numbers, strings and containers, with placeholders for everything else.

    Args:
        arrays: also read NumPy arrays and numbers.

    Raises:
        InputError: missing or damaged.
    """
    path = Path(path)
    try:
        return torch_load(path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(path, "a file written by torch.save", "no such file") from None
    except pickle.UnpicklingError:
        serialization = torch.serialization
        try:
            names = serialization.get_unsafe_globals_in_checkpoint(str(path))
            numpy_names = _numpy_globals() if arrays else {}
            placeholders = [(_Inert, name) for name in names if name not in numpy_names]
            allowed = [*placeholders, *((value, name) for name, value in numpy_names.items())]
            with serialization.safe_globals(allowed):  # pyright: ignore[reportArgumentType]
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as again:  # unpicklers raise almost any exception on damaged bytes
            raise _unreadable(path, again) from again
    except Exception as error:
        raise _unreadable(path, error) from error


def _numpy_globals() -> dict[str, Any]:
    """Pickle name → function or type that rebuilds NumPy arrays and numbers."""
    rebuild, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    allowed: dict[str, Any] = {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before and since NumPy 2
        allowed |= {f"{module}._reconstruct": rebuild, f"{module}.scalar": scalar}
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return allowed | {f"numpy.dtypes.{kind.__name__}": kind for kind in kinds}


def _unreadable(path: Path, error: Exception) -> InputError:
    found = f"something unreadable ({first_line(error)})"
    return InputError(path, "a file written by torch.save", found, "copy or download it again")


def _is_mapping(content: Mapping, key: str) -> bool:
    return isinstance(content.get(key), Mapping) and not isinstance(content[key], _Inert)


def _is_named(content: object) -> bool:
    return isinstance(content, Mapping) and all(isinstance(k, str) for k in content)
