"""Read .npy and .npz files without pickle, with checks of type, shape and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import InputError
from .archives import check_unpacked_size

MAGIC = b"\x93NUMPY"


def read_array(
    path: Path | str,
    dtype: DTypeLike | None = None,
    shape: tuple[int, ...] | None = None,
    mmap: bool = False,
) -> NDArray[Any]:
    """Read one ``.npy`` file.

    Args:
        dtype: required dtype. Files of the same kind are converted (any float to a float, any integer to an integer
            type that holds its values); another kind is an error.
        shape: required shape, with −1 for an axis of any length.
        mmap: map the file read-only instead of reading it, if no conversion is needed.

    Raises:
        InputError: missing, truncated, not a ``.npy`` file, pickled objects, wrong dtype or wrong shape.
    """
    path = Path(path)
    expected = "a readable .npy file"
    if not path.is_file():
        raise InputError(path, expected, "no such file")
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise InputError(path, expected, f"one that cannot be read ({error.strerror})") from error
    if magic != MAGIC:
        raise InputError(path, expected, "another kind of file", "write one array per file with numpy.save")
    try:
        check_npy_header(path)
        # Map first: a header that declares more data than the file has fails here, before memory is allocated.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python text: a damaged one raises almost any exception
        found = f"a damaged file ({str(error)[:200]})"
        raise InputError(path, expected, found, "write it again with numpy.save") from error
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


def check_npy_header(path: Path) -> None:
    """Refuse a ``.npy`` file that ends within its header, for which numpy would first allocate memory.

    Raises:
        ValueError: it does.
    """
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + 6)
    size = int.from_bytes(head[8:12] if head[6:7] != b"\1" else head[8:10], "little")
    if size > path.stat().st_size:
        raise ValueError(f"{path.stat().st_size} bytes, {size} needed for the header alone")


def read_npz(path: Path | str, expected: str = "arrays as .npz") -> dict[str, NDArray[Any]]:
    """Read all arrays of a ``.npz`` file.

    Args:
        expected: what the file should be, for error messages.

    Raises:
        InputError: missing, damaged, pickled objects, or an archive that unpacks to far more than its size.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, expected, "no such file")
    check_unpacked_size(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Exception as error:  # see `read_array`; also a single array, and what zipfile raises
        raise InputError(path, expected, f"a damaged file ({str(error)[:200]})") from error


def _fits(shape: tuple[int, ...], required: tuple[int, ...]) -> bool:
    return len(shape) == len(required) and all(r in (-1, s) for s, r in zip(shape, required, strict=True))


def _show(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join("N" if s == -1 else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
