"""Read pickled arrays of published benchmarks without running other code.

Pickles can call any function. This reader allows numpy arrays and numbers, strings, lists, tuples and dicts, and
refuses every other name before it is imported.
"""

from __future__ import annotations

import importlib
import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError
from .arrays import MAGIC, check_npy_header
from .plain_files import read_bytes

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # protocol 2 stores bytes with it
}


class _Refused(pickle.UnpicklingError):
    pass


def _empty_array(kind: type, shape: tuple[int, ...], code: Any) -> Any:
    """What numpy's pickles call first; the content follows, with its shape. Others would allocate any memory."""
    if kind is not np.ndarray or shape != (0,):
        raise _Refused(f"an array of shape {shape} without content")
    return np.zeros(0, np.uint8)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        modern = module.replace("numpy.core.", "numpy._core.")  # the name since numpy 2
        if (modern, name) not in _ALLOWED:
            raise _Refused(f"the name {module}.{name}")
        if modern.startswith("numpy._core") and np.lib.NumpyVersion(np.__version__) < "2.0.0":
            modern = modern.replace("numpy._core.", "numpy.core.")
        if name == "_reconstruct":
            return _empty_array
        return getattr(importlib.import_module(modern), name)


def read_pickle(path: Path | str) -> Any:
    """Read a pickle of arrays, numbers, strings, lists, tuples and dicts.

    Raises:
        InputError: missing, damaged, or with another type in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a pickle of arrays", "no such file")
    with _opened(path) as file:
        return _load(path, file)


def read_object_array(path: Path | str) -> Any:
    """Read a ``.npy`` file of Python objects (dicts of arrays), which numpy stores as a pickle.

    Returns:
        an object array, or the object itself for an array without axes.

    Raises:
        InputError: as for `read_pickle`, or not a ``.npy`` file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a .npy file of dicts", "no such file")
    with _opened(path) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(path, "a .npy file of dicts", "another kind of file")
        file.seek(0)
        try:
            check_npy_header(path)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        except Exception as error:  # numpy parses the header as Python text: a damaged one raises almost any exception
            raise InputError(path, "a .npy file of dicts", f"a damaged header ({error})") from error
        if dtype != np.dtype(object):
            raise InputError(path, "a .npy file of dicts", f"an array of type {dtype}")
        values = np.asarray(_load(path, file), object)
    try:
        return values.reshape(shape) if shape else values.item()
    except ValueError as error:
        raise InputError(path, f"objects of shape {shape}", f"shape {values.shape}") from error


def _opened(path: Path) -> BinaryIO:
    """The content of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return io.BytesIO(read_bytes(path))
    except OSError as error:
        raise InputError(path, "arrays", f"a file that cannot be read ({error.strerror})") from error


def _check_sizes(content: bytes) -> None:
    """Refuse a pickle that ends within a text or names more objects than it has bytes.

    The unpickler would first allocate memory for them.
    """
    for opcode, argument, _ in pickletools.genops(io.BytesIO(content)):
        if opcode.name in ("PUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= len(content):
            raise ValueError(f"object number {argument}")


def _load(path: Path, file: BinaryIO) -> Any:
    try:
        content = file.read()
        _check_sizes(content)
        return _Unpickler(io.BytesIO(content)).load()
    except _Refused as error:
        raise InputError(
            path, "arrays, numbers, strings, lists and dicts only", str(error), "do not open it"
        ) from error
    except Exception as error:  # unpicklers raise almost any exception on damaged bytes
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, "a whole pickle", f"a damaged file ({message})") from error
