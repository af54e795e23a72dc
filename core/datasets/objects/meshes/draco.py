"""Decode the Draco-compressed geometry of glTF files (KHR_draco_mesh_compression) to plain accessors."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import InputError
from ....io.json_files import parse_json
from ....io.plain_files import read_bytes

EXTENSION = "KHR_draco_mesh_compression"
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_COMPONENT = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
_TRIANGLES = 4


def decode_draco(path: Path, read: Callable[[str], bytes], content: bytes | None = None) -> bytes | None:
    """Decompress a glTF file's Draco primitives.

    Args:
        path: a ``.glb`` or ``.gltf`` file.
        read: returns the content of a file that the glTF names by a relative URI.
        content: what to take instead of the file's own content.

    Returns:
        the file's content, in its own container, with each compressed primitive's accessors pointing at decoded data;
        None where no primitive needs Draco (none is compressed, or all have an uncompressed fallback).

    Raises:
        InputError: DracoPy is not installed, or the compressed data are damaged.
    """
    content = read_bytes(path) if content is None else content
    is_glb = content[:4] == struct.pack("<I", _MAGIC)
    if is_glb and (needed := _declared_size(content)) > len(content):  # for which the loader would make room
        raise InputError(path, f"{needed} bytes of chunks", f"{len(content)}", "the file may be truncated")
    try:
        chunks = list(_chunks(content)) if is_glb else [(_JSON, content)]
        tree = parse_json(chunks[0][1])
        primitives = [
            primitive
            for mesh in tree.get("meshes", [])
            for primitive in mesh["primitives"]
            if EXTENSION in primitive.get("extensions", {}) and not _has_fallback(tree, primitive)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):
        return None  # not a glTF file: the loader reports it
    if not primitives:
        return None
    decode = _decoder(path)
    blob = next((data for kind, data in chunks[1:] if kind == _BIN), b"")
    try:
        buffers = Buffers(tree["buffers"], blob, read)
        extra = bytearray()
        first = tree["buffers"][0]
        in_blob = is_glb and "uri" not in first
        target, offset = (0, _padded(len(blob))) if in_blob else (len(tree["buffers"]), 0)
        for primitive in primitives:
            extension = primitive["extensions"].pop(EXTENSION)
            view = tree["bufferViews"][extension["bufferView"]]
            start = view.get("byteOffset", 0)
            mesh = decode(buffers[view["buffer"]][start : start + view["byteLength"]])
            for name, identifier in extension["attributes"].items():
                array = mesh.get_attribute_by_unique_id(identifier)["data"]
                old = primitive["attributes"][name]
                primitive["attributes"][name] = _add(tree, extra, target, offset, array, tree["accessors"][old])
            faces = np.asarray(mesh.faces, np.uint32).reshape(-1)
            primitive["indices"] = _add(tree, extra, target, offset, faces, {"type": "SCALAR"})
            primitive["mode"] = _TRIANGLES  # strips are decoded to a list of triangles, too
        for key in ("extensionsUsed", "extensionsRequired"):
            tree[key] = [name for name in tree.get(key, []) if name != EXTENSION]
            if not tree[key]:
                del tree[key]
        if in_blob:
            blob = blob.ljust(offset, b"\0") + extra
            first["byteLength"] = len(blob)
        else:
            uri = "data:application/octet-stream;base64," + base64.b64encode(extra).decode()
            tree["buffers"].append({"byteLength": len(extra), "uri": uri})
    except InputError:
        raise
    except Exception as error:  # damaged files raise almost any exception
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(path, "readable Draco-compressed geometry", f"damaged data ({reason})") from error
    text = json.dumps(tree).encode()
    return glb_of(text, blob) if is_glb else text


def _decoder(path: Path) -> Callable[[bytes], Any]:
    try:
        from DracoPy import decode
    except ImportError as error:
        raise InputError(
            path,
            "the package DracoPy, to read Draco-compressed geometry",
            "no such package",
            'run `pip install "gaussiancross[objects]"`',
        ) from error
    return decode


def chunks_of(content: bytes) -> tuple[bytes, bytes]:
    """The JSON text and the binary buffer (or nothing) of a ``.glb`` or ``.gltf`` file."""
    if content[:4] != struct.pack("<I", _MAGIC):
        return content, b""
    chunks = list(_chunks(content))
    return chunks[0][1], next((data for kind, data in chunks[1:] if kind == _BIN), b"")


def _has_fallback(tree: dict[str, Any], primitive: dict[str, Any]) -> bool:
    """Whether all accessors of a primitive point at uncompressed data as well."""
    used = [*primitive["attributes"].values(), *([primitive["indices"]] if "indices" in primitive else [])]
    return all("bufferView" in tree["accessors"][index] for index in used)


class Buffers:
    """The content of a glTF file's buffers, each read at most once."""

    def __init__(self, entries: list[dict[str, Any]], blob: bytes, read: Callable[[str], bytes]) -> None:
        self._entries, self._read = entries, read
        self._content: dict[int, bytes] = {i: blob for i, entry in enumerate(entries) if "uri" not in entry}

    def __getitem__(self, index: int) -> bytes:
        if index not in self._content:
            uri: str = self._entries[index]["uri"]
            self._content[index] = (
                base64.b64decode(uri.partition(",")[2]) if uri.startswith("data:") else self._read(uri)
            )
        return self._content[index]


def _add(
    tree: dict[str, Any], extra: bytearray, target: int, offset: int, array: NDArray, accessor: dict[str, Any]
) -> int:
    """Append an array to ``extra``, the content of buffer ``target`` from ``offset`` on; returns its accessor's index.

    The accessor is new, because other primitives may share the old one.
    """
    if array.dtype.name not in _COMPONENT:
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.uint32)
    content = np.ascontiguousarray(array).tobytes()
    view = {"buffer": target, "byteOffset": offset + len(extra), "byteLength": len(content)}
    extra += content + b"\0" * (-len(content) % 4)
    tree["bufferViews"].append(view)
    component = {"componentType": _COMPONENT[array.dtype.name], "count": len(array)}
    tree["accessors"].append({**accessor, **component, "bufferView": len(tree["bufferViews"]) - 1, "byteOffset": 0})
    return len(tree["accessors"]) - 1


def _chunks(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, data) of each chunk of a GLB."""
    at = 12
    while at + 8 <= len(content):
        size, kind = struct.unpack_from("<II", content, at)
        yield kind, content[at + 8 : at + 8 + size]
        at += 8 + size


def _declared_size(content: bytes) -> int:
    """Bytes that a GLB has according to the sizes of its chunks."""
    at = 12
    while at + 8 <= len(content):
        at += 8 + struct.unpack_from("<I", content, at)[0]
    return at


def glb_of(text: bytes, blob: bytes) -> bytes:
    parts = ((_JSON, text.ljust(_padded(len(text)), b" ")), (_BIN, bytes(blob).ljust(_padded(len(blob)), b"\0")))
    body = b"".join(struct.pack("<II", len(data), kind) + data for kind, data in parts if data)
    return struct.pack("<III", _MAGIC, 2, 12 + len(body)) + body


def _padded(size: int) -> int:
    return size + -size % 4
