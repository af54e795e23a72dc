"""NumPy files, read without pickle and checked on the way in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import InputError

MAGIC = b"\x93NUMPY"


def read_array(
    path: Path | str,
    dtype: DTypeLike | None = None,
    shape: tuple[int, ...] | None = None,
    mmap: bool = False,
) -> NDArray[Any]:
    """One ``.npy`` file.

    Args:
        dtype: the dtype wanted. A file of the same kind (any float for a float, any integer for an integer that holds
            its values) is converted; another kind is an error.
        shape: the shape wanted, −1 for an axis of any length.
        mmap: map the file instead of reading it (read-only, and only if no conversion is needed).

    Raises:
        InputError: missing, truncated, not a ``.npy`` file, pickled objects, wrong dtype or wrong shape.
    """
    path = Path(path)
    wanted = "a readable .npy file"
    if not path.is_file():
        raise InputError(path, wanted, "no such file")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(path, wanted, "another kind of file", "write one array per file with numpy.save")
    try:
        # Mapping first: a header that promises more than the file holds fails here, before memory is allocated for it.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the header is parsed as Python text: damage surfaces as almost any exception
        raise InputError(path, wanted, f"a damaged file ({error})", "write it again with numpy.save") from error
    if shape is not None and not _fits(array.shape, shape):
        raise InputError(path, f"an array of shape {_show(shape)}", _show(array.shape))
    if dtype is not None and array.dtype != (want := np.dtype(dtype)):
        if want.kind != array.dtype.kind and not (want.kind in "iu" and array.dtype.kind in "iu"):
            raise InputError(path, f"values of type {want}", str(array.dtype))
        if want.kind in "iu" and array.size and not np.can_cast(array.dtype, want):
            low, high, limits = int(array.min()), int(array.max()), np.iinfo(want.str)
            if low < limits.min or high > limits.max:
                raise InputError(path, f"values of type {want}", f"{array.dtype} values from {low} to {high}")
        return array.astype(want)
    return array if mmap else np.array(array)


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (-1, s) for s, w in zip(shape, wanted, strict=True))


def _show(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join("N" if s == -1 else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
