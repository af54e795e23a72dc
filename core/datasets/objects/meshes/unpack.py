"""Rewrite glTF files with compressed buffers (meshopt) or Basis textures (KTX 2) as plain ones.

`trimesh`, which reads the result, knows neither EXT_meshopt_compression, KHR_mesh_quantization,
KHR_texture_basisu nor KHR_texture_transform.
The result is a GLB with one buffer; Draco-compressed primitives stay as they are (`decode_draco`).
"""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ....errors import InputError
from ....io.json_files import parse_json
from ....io.plain_files import read_bytes
from .draco import Buffers, chunks_of, glb_of

MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
QUANTIZED, BASIS, MOVED = "KHR_mesh_quantization", "KHR_texture_basisu", "KHR_texture_transform"
EXTENSIONS = (*MESHOPT, QUANTIZED, BASIS, MOVED)
MOST_BYTES = 1 << 31
"""Largest size of an unpacked file."""

_TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def unpack_gltf(path: Path, read: Callable[[str], bytes]) -> bytes | None:
    """The content of a GLB without these extensions; None for a file that uses none of them.

    Args:
        path: a ``.glb`` or ``.gltf`` file.
        read: returns the content of a file that the glTF names by a relative URI.

    Raises:
        InputError: the package that decodes the file is not installed, or the data are damaged.
    """
    content = read_bytes(path)
    try:
        chunks = chunks_of(content)
        tree = parse_json(chunks[0])
        used = {*tree.get("extensionsUsed", ()), *tree.get("extensionsRequired", ())}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):
        return None  # not a glTF file: the loader reports it
    if not used & set(EXTENSIONS):
        return None
    try:
        return _Unpacked(path, tree, chunks[1], read).content()
    except InputError:
        raise
    except Exception as error:  # damaged files raise almost any exception
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(path, "a readable glTF file", f"damaged data ({reason})") from error


class _Unpacked:
    """One glTF file, whose buffers are joined into one."""

    def __init__(self, path: Path, tree: dict[str, Any], blob: bytes, read: Callable[[str], bytes]) -> None:
        self.path, self.tree, self.read = path, tree, read
        self.buffers = Buffers(tree.get("buffers", []), blob, read)
        self.joined = bytearray()

    def content(self) -> bytes:
        for view in self.tree.get("bufferViews", []):
            data = self._view(view)
            view["byteOffset"], view["buffer"], view["byteLength"] = self._append(data), 0, len(data)
        for mesh in self.tree.get("meshes", []):
            for primitive in mesh["primitives"]:
                moved = self._texture_transform(primitive)
                for name, index in primitive["attributes"].items():
                    if name.startswith(("POSITION", "NORMAL", "TANGENT", "TEXCOORD")):
                        primitive["attributes"][name] = self._plain(index, moved if name == "TEXCOORD_0" else None)
        self._decode_pictures()
        self.tree["buffers"] = [{"byteLength": len(self.joined)}]
        for key in ("extensionsUsed", "extensionsRequired"):
            self.tree[key] = [n for n in self.tree.get(key, []) if n not in EXTENSIONS]
            if not self.tree[key]:
                del self.tree[key]
        return glb_of(json.dumps(self.tree).encode(), bytes(self.joined))

    def _append(self, data: bytes) -> int:
        """Add to the joined buffer; return where it begins."""
        start = len(self.joined)
        if start + len(data) > MOST_BYTES:
            raise InputError(self.path, f"a file of at most {MOST_BYTES >> 30} GB unpacked", "more")
        self.joined += data + b"\0" * (-len(data) % 4)
        return start

    def _view(self, view: dict[str, Any]) -> bytes:
        packed = next((view["extensions"].pop(n) for n in MESHOPT if n in view.get("extensions", {})), None)
        source = packed or view
        start = source.get("byteOffset", 0)
        data = self.buffers[source["buffer"]][start : start + source["byteLength"]]
        if len(data) < source["byteLength"]:
            raise InputError(self.path, f"{source['byteLength']} bytes of a buffer", str(len(data)), "truncated")
        if packed is None:
            return data
        count, stride, mode = packed["count"], packed["byteStride"], packed["mode"]
        if count * stride > MOST_BYTES:
            raise InputError(self.path, f"at most {MOST_BYTES >> 30} GB unpacked", f"{count} rows of {stride} bytes")
        decode = self._package("meshopt", "meshopt-compressed buffers").decode_gltf_buffer
        rows = np.ascontiguousarray(decode(data, count, stride, mode, packed.get("filter", "NONE")))
        if mode != "ATTRIBUTES":
            rows = rows.astype("<u2" if stride == 2 else "<u4")
        return rows.tobytes()

    def _texture_transform(self, primitive: dict[str, Any]) -> NDArray[np.float32] | None:
        """[3, 2] offset and rows of the linear map of texture coordinates; None where the material has none."""
        material = self.tree["materials"][primitive["material"]] if "material" in primitive else {}
        texture = material.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
        found = texture.get("extensions", {}).get(MOVED)
        if found is None:
            return None
        turn, (x, y) = found.get("rotation", 0.0), found.get("scale", (1, 1))
        c, s = np.cos(turn), np.sin(turn)
        return np.array([found.get("offset", (0, 0)), (c * x, -s * x), (s * y, c * y)], np.float32)

    def _plain(self, index: int, moved: NDArray[np.float32] | None) -> int:
        """The accessor itself, or a new one with its values as float32, texture coordinates ``moved``."""
        accessor = self.tree["accessors"][index]
        kind = np.dtype(_TYPES[accessor["componentType"]])
        if "bufferView" not in accessor or (kind.kind == "f" and moved is None):
            return index
        view, count = self.tree["bufferViews"][accessor["bufferView"]], accessor["count"]
        row = _WIDTH[accessor["type"]] * kind.itemsize
        stride, start = view.get("byteStride", row), view["byteOffset"] + accessor.get("byteOffset", 0)
        table = np.frombuffer(bytes(self.joined[start : start + (count - 1) * stride + row]), np.uint8)
        if count < 1 or stride < row or len(table) < (count - 1) * stride + row:
            raise InputError(self.path, f"{count} rows of {stride} bytes in a buffer", f"{len(table)} bytes", "damaged")
        rows = np.lib.stride_tricks.as_strided(table, (count, row), (stride, 1), writeable=False)
        values = np.ascontiguousarray(rows).view(kind).astype(np.float32)
        low, high = (np.array(accessor.get(end, []), np.float32) for end in ("min", "max"))
        if accessor.get("normalized") and kind.kind != "f":
            most = np.float32(np.iinfo(kind).max)
            values, low, high = np.maximum(values / most, -1), low / most, high / most
        if moved is not None:
            values, low, high = moved[0] + values @ moved[1:], low[:0], high[:0]
        return self._accessor({**accessor, "min": low.tolist(), "max": high.tolist()}, values)

    def _accessor(self, like: dict[str, Any], values: NDArray[np.float32]) -> int:
        data = values.astype("<f4").tobytes()
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": self._append(data), "byteLength": len(data)})
        new = {**like, "bufferView": len(self.tree["bufferViews"]) - 1, "byteOffset": 0, "componentType": 5126}
        new.pop("normalized", None)
        self.tree["accessors"].append({k: v for k, v in new.items() if v != []})
        return len(self.tree["accessors"]) - 1

    def _decode_pictures(self) -> None:
        decoded: dict[int, int] = {}
        for texture in self.tree.get("textures", []):
            found = texture.get("extensions", {}).pop(BASIS, None)
            if found is not None:
                source = found["source"]
                decoded[source] = texture["source"] = decoded.get(source, len(self.tree["images"]))
                if texture["source"] == len(self.tree["images"]):
                    self.tree["images"].append(self._picture(self.tree["images"][source]))
        for source in decoded:
            self.tree["images"][source] = dict(self.tree["images"][decoded[source]])  # the loader opens all pictures

    def _picture(self, image: dict[str, Any]) -> dict[str, Any]:
        """A KTX 2 picture as a PNG in the buffer."""
        if "bufferView" in image:
            view = self.tree["bufferViews"][image["bufferView"]]
            data = bytes(self.joined[view["byteOffset"] : view["byteOffset"] + view["byteLength"]])
        elif image["uri"].startswith("data:"):
            data = base64.b64decode(image["uri"].partition(",")[2])
        else:
            data = self.read(image["uri"])
        package = self._package("opengl_basisu", "KTX 2 textures", "opengl-basisu")
        pixels = package.open(data).transcode("RGBA8")
        array = np.frombuffer(bytes(pixels.data), np.uint8).reshape(pixels.height, pixels.width, 4)
        file = io.BytesIO()
        Image.fromarray(array).save(file, "png", compress_level=1)
        start, size = self._append(file.getvalue()), len(file.getvalue())
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": start, "byteLength": size})
        return {"bufferView": len(self.tree["bufferViews"]) - 1, "mimeType": "image/png"}

    def _package(self, name: str, what: str, install: str = "") -> Any:
        try:
            return __import__(name)
        except ImportError as error:
            install = install or name
            hint = f"run `pip install {install}`"
            raise InputError(self.path, f"the package {install}, to read {what}", "no such package", hint) from error
