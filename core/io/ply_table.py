"""Header, vertex table and triangles of PLY files, ascii or binary.

A text header declares elements (vertex, face, …) with typed properties, up to ``end_header``; their values follow.
Elements other than the one to read may follow it, or precede it if their rows have a fixed length.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .plain_files import open_plain

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2"},
    **{"uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4"},
    **{"double": "f8", "float64": "f8"},
}
_PLY_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float"}
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}

BLOCK = 1 << 20
"""Number of bytes of text that are parsed at once."""

MAX_HEADER = 1 << 20
"""Number of bytes searched for ``end_header``."""


@dataclass
class _Element:
    name: str
    count: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    lists: list[tuple[int, str, str]] = field(default_factory=list)  # fields before, types of count and items

    @property
    def has_list(self) -> bool:
        return bool(self.lists)


def read_vertices(path: Path | str) -> NDArray:
    """Read the vertex element as a structured array [N], one field per property, in native byte order.

    Raises:
        InputError: missing, not a PLY, a damaged header, truncated, or a vertex count that does not match the size.
    """
    table = read_table(path, "vertex")
    assert table is not None  # every header has vertices
    return table


def read_table(path: Path | str, name: str) -> NDArray | None:
    """Read one element as `read_vertices`; None if the file has no such element.

    Raises:
        InputError: as `read_vertices`.
    """
    path = Path(path)
    try:
        with open_plain(path) as file:
            form, elements = _read_header(path, file)
            before = next((i for i, e in enumerate(elements) if e.name == name), None)
            if before is None:
                return None
            if any(e.has_list for e in elements[: before + 1]):
                raise InputError(path, f"{_rows(name)} before any element with lists", "lists first", "write it again")
            if form == "ascii":
                return _read_ascii(path, file, elements, before)
            offset = file.tell()
    except FileNotFoundError:
        raise InputError(path, "a PLY file", "no such file") from None
    except OSError as error:
        raise InputError(path, "a PLY file", f"something unreadable ({error})") from error
    return _read_binary(path, offset, elements, before, _ORDERS[form])


def count_vertices(path: Path | str) -> int:
    """Number of vertices according to the header.

    Raises:
        InputError: missing, not a PLY, or a damaged header.
    """
    return _vertex_element(Path(path)).count


def vertex_fields(path: Path | str) -> tuple[str, ...]:
    """Names of the vertex properties, from the header.

    Raises:
        InputError: missing, not a PLY, or a damaged header.
    """
    return tuple(name for name, _ in _vertex_element(Path(path)).fields)


def _vertex_element(path: Path) -> _Element:
    try:
        with open_plain(path) as file:
            return next(e for e in _read_header(path, file)[1] if e.name == "vertex")
    except OSError:
        raise InputError(path, "a PLY file", "no such file") from None


def read_triangles(path: Path | str) -> NDArray[np.int64]:
    """Read the face element as vertex indices [F, 3], without a check against the number of vertices.

    Raises:
        InputError: missing, not a binary PLY, truncated, without faces, or with faces that are not triangles.
    """
    path = Path(path)
    expected = "a binary PLY with triangles"
    try:
        with open_plain(path) as file:
            form, elements = _read_header(path, file)
            at = next((i for i, e in enumerate(elements) if e.name == "face"), None)
            if form == "ascii" or at is None or any(e.has_list for e in elements[:at]) or len(elements[at].lists) != 1:
                found = "text" if form == "ascii" else "no faces" if at is None else "lists of another kind"
                raise InputError(path, expected, found)
            order = _ORDERS[form]
            file.seek(sum(e.count * _dtype(e, order).itemsize for e in elements[:at]), 1)
            element, (place, count, item) = elements[at], elements[at].lists[0]
            # All rows of triangles have the same length: count, three indices, and the other fields.
            columns: list[Any] = [(name, order + kind) for name, kind in element.fields]
            columns[place:place] = [("count", order + count), ("indices", order + item, 3)]
            row = np.dtype(columns)
            rows = min(element.count, (path.stat().st_size - file.tell()) // row.itemsize)
            table = np.fromfile(file, row, max(rows, 0))
    except OSError as error:
        raise InputError(path, expected, error.strerror or "no such file") from error
    if len(table) < element.count or (table["count"] != 3).any():
        found = f"{len(table)} rows of {element.count}" if len(table) < element.count else "faces of other polygons"
        raise InputError(path, expected, found)
    return table["indices"].astype(np.int64)


def write_vertices(path: Path | str, columns: dict[str, NDArray]) -> None:
    """Write columns [N] as a binary little-endian PLY with one vertex element."""
    write_tables(path, {"vertex": columns})


def write_tables(path: Path | str, elements: dict[str, dict[str, NDArray]]) -> None:
    """Write elements, each with columns [N], as a binary little-endian PLY."""
    lines, tables = ["ply", "format binary_little_endian 1.0"], []
    for element, columns in elements.items():
        table = np.empty(
            len(next(iter(columns.values()))),
            np.dtype([(name, values.dtype.newbyteorder("<")) for name, values in columns.items()]),
        )
        for name, values in columns.items():
            table[name] = values
        lines.append(f"element {element} {len(table)}")
        lines += [f"property {_PLY_NAMES[v.dtype.str[1:]]} {name}" for name, v in columns.items()]
        tables.append(table)
    with Path(path).open("wb") as file:
        file.write(("\n".join([*lines, "end_header"]) + "\n").encode("ascii"))
        for table in tables:
            table.tofile(file)


def _read_header(path: Path, file: BinaryIO) -> tuple[str, list[_Element]]:
    def damaged(found: str) -> InputError:
        return InputError(path, "a PLY file", found, "copy or export it again")

    if file.readline(16).strip() != b"ply":
        raise damaged("a file that does not begin with 'ply'")
    form, elements = "", []
    while True:
        raw = file.readline(4096)
        if not raw.endswith(b"\n") or file.tell() > MAX_HEADER:
            raise damaged("a header without end_header (a truncated file?)")
        line = raw.decode("ascii", errors="replace").strip()
        words = line.split()
        match words:
            case ["end_header"]:
                break
            case [] | ["comment", *_] | ["obj_info", *_]:
                pass
            case ["format", name, _] if name in _ORDERS and not form:
                form = name
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count)))
            case ["property", "list", a, b, _] if elements and a in _TYPES and b in _TYPES:
                elements[-1].lists.append((len(elements[-1].fields), _TYPES[a], _TYPES[b]))
            case ["property", kind, name] if elements and kind in _TYPES:
                if name in dict(elements[-1].fields):
                    raise damaged(f"property {name} twice")
                elements[-1].fields.append((name, _TYPES[kind]))
            case _:
                raise damaged(f"the header line {line!r}")
    if not form:
        raise damaged("a header without a format line")
    if "vertex" not in [e.name for e in elements]:
        raise damaged("no element 'vertex'")
    return form, elements


def _read_binary(path: Path, offset: int, elements: list[_Element], before: int, order: str) -> NDArray:
    sizes = [e.count * _dtype(e, order).itemsize for e in elements]
    needed, present = sum(sizes[: before + 1]), path.stat().st_size - offset
    exact = not any(e.has_list for e in elements)
    total = sum(sizes)
    if present < needed or (exact and present != total):
        vertex = elements[before]
        raise InputError(
            path,
            f"{total if exact else needed} bytes after the header for {vertex.count} {_rows(vertex.name)}",
            f"{present}",
            "the file is truncated or its vertex count is wrong",
        )
    with open_plain(path) as file:
        file.seek(offset + sum(sizes[:before]))
        table = np.fromfile(file, _dtype(elements[before], order), elements[before].count)
    return table.astype(table.dtype.newbyteorder("="))


def _read_ascii(path: Path, file: BinaryIO, elements: list[_Element], before: int) -> NDArray:
    """Read the vertices from text, in blocks: the memory is that of the table."""
    vertex, width = elements[before], len(elements[before].fields)
    start = sum(e.count * len(e.fields) for e in elements[:before])
    end = start + vertex.count * width
    exact = not any(e.has_list for e in elements)
    needed = sum(e.count * len(e.fields) for e in elements) if exact else end
    room = path.stat().st_size - file.tell()
    fits = 2 * end <= room + 1  # every number has a digit and, but for the last, a separator
    table = np.empty(vertex.count if fits else 0, _dtype(vertex, "="))
    # without the end of the last line, the last number may have lost digits
    cut = _last_byte(file) not in b"\n\r"
    seen = row = 0
    rest = np.zeros(0)  # values of an incomplete row
    for block in _word_blocks(file):
        starts = _word_starts(block)
        first, last = max(start - seen, 0), min(end - seen, len(starts))
        if fits and first < last:
            words = block[starts[first] : starts[last] if last < len(starts) else None]
            rest = np.concatenate([rest, _numbers(path, words, last - first)])
            rows = len(rest) // width
            _fill(path, table[row : row + rows], rest[: rows * width].reshape(rows, width))
            row, rest = row + rows, rest[rows * width :]
        seen += len(starts)
        if fits and not exact and seen > end:
            break
    if cut or seen < needed or (exact and seen != needed):
        found = f"{seen} values" + (" and a last line without an end" if cut else "")
        expected = f"{needed} values for {vertex.count} vertices of {width} properties"
        raise InputError(path, expected, found, "the file is truncated or its vertex count is wrong")
    return table


def _last_byte(file: BinaryIO) -> bytes:
    """The last byte after the current position, which stays; nothing at the end of the file."""
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(max(here, end - 1))
    last = file.read(1)
    file.seek(here)
    return last


def _word_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Read text in blocks that end between two words; blocks of spaces are left out."""
    rest = b""
    while data := file.read(BLOCK):
        end = max(data.rfind(separator) for separator in (b"\n", b" ", b"\t", b"\r")) + 1
        block, rest = (rest + data[:end], data[end:]) if end else (b"", rest + data)
        if len(rest) > BLOCK:
            raise InputError(file.name, "numbers", f"a word of more than {BLOCK} letters")
        if block.strip():
            yield block
    if rest:
        yield rest


def _word_starts(text: bytes) -> NDArray[np.int64]:
    """Positions of the first letters of words."""
    letters = np.frombuffer(text, np.uint8) > ord(" ")
    starts = letters.copy()
    starts[1:] &= ~letters[:-1]
    return np.flatnonzero(starts)


def _numbers(path: Path, words: bytes, count: int) -> NDArray[np.float64]:
    # A number at the end shows whether everything before it was read: numpy stops at what is no number.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            values = np.fromstring(words + b" 0.8125", sep=" ")
    except ValueError:
        values = np.zeros(0)
    if len(values) != count + 1 or values[-1] != 0.8125:
        bad = next((word for word in words.split() if not _is_number(word)), b"")
        raise InputError(path, "numbers", f"something else among the vertices ({bad[:40].decode(errors='replace')!r})")
    return values[:-1]


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _fill(path: Path, table: NDArray, values: NDArray[np.float64]) -> None:
    """Write values [N, fields] into rows of a table."""
    for i, name in enumerate(table.dtype.names or ()):
        kind, column = table.dtype[name], values[:, i]
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            if not ((column >= limits.min) & (column <= limits.max)).all():
                raise InputError(path, f"values of {name} that fit its type {_PLY_NAMES[kind.str[1:]]}", "others")
        table[name] = column


def _rows(element: str) -> str:
    return "vertices" if element == "vertex" else f"rows of {element}"


def _dtype(element: _Element, order: str) -> np.dtype:
    return np.dtype([(name, order + kind) for name, kind in element.fields])
