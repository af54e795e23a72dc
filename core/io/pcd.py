"""Read PCD files of the Point Cloud Library: ascii, binary and binary_compressed.

A text header names the fields of a point, with their sizes and types; ``rgb`` is 0x00RRGGBB in four bytes. Compressed
bodies are one LZF block in which every field is stored for all points together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..errors import InputError
from .plain_files import read_bytes
from .point_files import PointColumns

MAX_HEADER = 1 << 16
"""Number of bytes searched for the line DATA."""

_XYZ, _NORMAL = ("x", "y", "z"), ("normal_x", "normal_y", "normal_z")
_EXPECTED = "a PCD file"


def read_pcd(path: Path) -> PointColumns:
    """Read the points of a PCD file, their colours (``rgb`` or ``rgba``) and normals.

    Raises:
        InputError: missing, damaged, truncated, or without x, y, z.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise InputError(path, _EXPECTED, f"something unreadable ({error})") from error
    header, body = _header(path, content)
    dtype, count = _fields(path, header)
    kind = " ".join(header["DATA"])
    if kind == "ascii":
        table = _ascii(path, body, dtype, count)
    elif kind == "binary":
        if len(body) < count * dtype.itemsize:
            raise InputError(path, f"{count * dtype.itemsize} bytes for {count} points", str(len(body)), _TRUNCATED)
        table = np.frombuffer(body, dtype, count)
    elif kind == "binary_compressed":
        table = _compressed(path, body, dtype, count)
    else:
        raise InputError(path, "DATA ascii, binary or binary_compressed", f"DATA {kind}")
    names = dtype.names or ()
    missing = [n for n in _XYZ if n not in names]
    if missing:
        raise InputError(path, "fields x, y, z", f"no {', '.join(missing)}")
    coord = np.stack([table[n].astype(np.float64) for n in _XYZ], 1)
    normal = np.stack([table[n].astype(np.float32) for n in _NORMAL], 1) if set(_NORMAL) <= set(names) else None
    packed = next((n for n in ("rgb", "rgba") if n in names and dtype[n].itemsize == 4), None)
    color = None
    if packed is not None:
        word = np.ascontiguousarray(table[packed]).view(np.uint32)
        color = np.stack([word >> shift & 0xFF for shift in (16, 8, 0)], 1).astype(np.uint8)
    return PointColumns(coord, color, normal)


_TRUNCATED = "the file may be truncated"


def _header(path: Path, content: bytes) -> tuple[dict[str, list[str]], bytes]:
    """Words of the header's lines by their first word, and the bytes after the line DATA."""
    header: dict[str, list[str]] = {}
    at = 0
    while at < min(len(content), MAX_HEADER):
        end = content.find(b"\n", at, MAX_HEADER)
        if end < 0:
            break
        words = content[at:end].decode("ascii", errors="replace").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
            if words[0] == "DATA":
                return header, content[at:]
    raise InputError(
        path, f"{_EXPECTED} with a header that ends with DATA", f"{len(content)} bytes without", _TRUNCATED
    )


def _fields(path: Path, header: dict[str, list[str]]) -> tuple[np.dtype, int]:
    """Type of a point and number of points. Repeated names, such as the padding ``_``, are numbered."""
    names, sizes, types = (header.get(key, []) for key in ("FIELDS", "SIZE", "TYPE"))
    counts = header.get("COUNT", ["1"] * len(names))
    try:
        points = int(header["POINTS"][0]) if "POINTS" in header else int(header["WIDTH"][0]) * int(header["HEIGHT"][0])
        if points < 0 or not len(names) == len(sizes) == len(types) == len(counts) or not names:
            raise ValueError
        columns = []
        for i, (name, size, kind, number) in enumerate(zip(names, sizes, types, counts, strict=True)):
            form = {"F": "f", "I": "i", "U": "u"}[kind] + str(int(size))
            if form[1:] not in ("1", "2", "4", "8") or not 1 <= int(number) <= 1 << 16:
                raise ValueError
            own = f"{name}.{i}" if name in names[:i] else name
            columns.append((own, "<" + form) if int(number) == 1 else (own, "<" + form, (int(number),)))
        return np.dtype(columns), points
    except (KeyError, IndexError, ValueError, TypeError) as error:
        lines = "; ".join(
            f"{key} {' '.join(header[key])}" for key in ("FIELDS", "SIZE", "TYPE", "COUNT", "POINTS") if key in header
        )
        raise InputError(path, f"{_EXPECTED} with FIELDS, SIZE, TYPE and POINTS that agree", lines or "none") from error


def _ascii(path: Path, body: bytes, dtype: np.dtype, count: int) -> NDArray:
    words = body.split()
    names = dtype.names or ()
    width = sum(int(np.prod(dtype[n].shape)) for n in names)
    if len(words) < count * width:
        raise InputError(path, f"{count * width} values for {count} points", str(len(words)), _TRUNCATED)
    try:
        values = np.array(words[: count * width], dtype="S32").astype(np.float64).reshape(count, width)
    except ValueError as error:
        raise InputError(path, "numbers", f"something else among the points ({error})") from error
    table, column = np.zeros(count, dtype), 0
    for name in names:
        if dtype[name].shape:
            column += int(np.prod(dtype[name].shape))
            continue
        # A packed colour that is declared as a float is written as its integer or as the float's digits.
        integer = dtype[name].kind == "f" and name in ("rgb", "rgba") and (values[:, column] >= 1).any()
        with np.errstate(over="ignore", invalid="ignore"):
            if integer:
                table[name] = values[:, column].astype(np.uint32).view(np.float32)
            else:
                table[name] = values[:, column]
        column += 1
    return table


def _compressed(path: Path, body: bytes, dtype: np.dtype, count: int) -> NDArray:
    sizes = np.frombuffer(body[: 8 if len(body) >= 8 else 0], "<u4")
    expected = f"{count * dtype.itemsize} bytes for {count} points"
    if len(sizes) < 2 or sizes[0] > len(body) - 8 or sizes[1] != count * dtype.itemsize:
        raise InputError(path, expected, f"a block of sizes {sizes.tolist()} in {len(body)} bytes", _TRUNCATED)
    if sizes[1] > 300 * int(sizes[0]):  # LZF makes at most 264 bytes of three
        raise InputError(path, f"at most {300 * int(sizes[0])} bytes from {sizes[0]}", f"{sizes[1]}")
    raw = np.zeros(int(sizes[1]), np.uint8)
    if decode_lzf(np.frombuffer(body, np.uint8, int(sizes[0]), 8), raw) != len(raw):
        raise InputError(path, expected, "a damaged LZF block")
    table, at = np.zeros(count, dtype), 0
    for name in dtype.names or ():
        size = count * dtype[name].itemsize
        table[name] = raw[at : at + size].view(dtype[name].base).reshape(table[name].shape)
        at += size
    return table


@njit(cache=True)
def decode_lzf(source: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Decompress an LZF block into ``out``; returns the number of bytes written, −1 for a damaged block.

    A control byte c < 32 precedes c + 1 literal bytes. Any other begins a copy of (c >> 5) + 2 bytes, where 7 means
    that the next byte is added, from ((c & 31) << 8 | next byte) + 1 bytes back.
    """
    i, o = 0, 0
    while i < len(source):
        control = int(source[i])
        i += 1
        if control < 32:
            length = control + 1
            if i + length > len(source) or o + length > len(out):
                return -1
            for _ in range(length):
                out[o] = source[i]
                o += 1
                i += 1
        else:
            length = control >> 5
            if length == 7:
                if i >= len(source):
                    return -1
                length += int(source[i])
                i += 1
            if i >= len(source):
                return -1
            start = o - ((control & 31) << 8) - int(source[i]) - 1
            i += 1
            if start < 0 or o + length + 2 > len(out):
                return -1
            for k in range(length + 2):
                out[o] = out[start + k]
                o += 1
    return o
