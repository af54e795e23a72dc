"""Read and write Gaussian splats in binary glTF, extension KHR_gaussian_splatting.

Primitives of points with the attributes POSITION, KHR_gaussian_splatting:ROTATION (xyzw), :SCALE (linear), :OPACITY
(0–1) and :SH_DEGREE_l_COEF_n. glTF's world has y up; coordinates are read and written as they are. Features and
labels are an extension of this package: ``extras.gaussiancross`` of the primitive names buffer views of float32
[N, F] and int32 [N].

A primitive may instead hold an SPZ file (KHR_gaussian_splatting_compression_spz_2).
"""

from __future__ import annotations

import json
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import InputError
from ...geometry.gaussians import Gaussians, transform_gaussians
from ..json_files import parse_json
from ..plain_files import open_plain
from .data import SH_C0, SH_COUNTS, SplatData, check_labels, splat_data
from .spz import decode_spz

EXTENSION = "KHR_gaussian_splatting"
SPZ = "KHR_gaussian_splatting_compression_spz_2"
OWN = "gaussiancross"
"""Name of this package's entry in ``extras``."""
EXPECTED = "a binary glTF (.glb)"

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_JSON, _BIN = 0x4E4F534A, 0x004E4942


def has_splats(path: Path | str) -> bool:
    """Whether a GLB says that it uses KHR_gaussian_splatting. False for files that are missing or damaged."""
    try:
        with open_plain(path) as file:
            return EXTENSION in _json(Path(path), file).get("extensionsUsed", ())
    except (OSError, InputError, TypeError):
        return False


def read_splat_glb(path: Path | str) -> SplatData:
    """Read all Gaussians of a GLB's scene at the positions of its nodes.

    Raises:
        InputError: missing, damaged, without Gaussians, a node that does not scale evenly, or no usable Gaussian.
    """
    path = Path(path)
    gltf, buffer = _chunks(path)
    parts = []
    try:
        for mesh, matrix in _placed(path, gltf):
            for primitive in gltf["meshes"][mesh]["primitives"]:
                if EXTENSION in primitive.get("extensions", {}):
                    parts.append(_moved(path, _primitive(path, gltf, buffer, primitive), matrix))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, "a glTF with Gaussians", f"a damaged one ({type(error).__name__}: {error})") from error
    if not parts:
        raise InputError(path, f"primitives with {EXTENSION}", "none")
    return parts[0] if len(parts) == 1 else _joined(path, parts)


def write_splat_glb(path: Path | str, data: SplatData) -> None:
    """Write a GLB with float32 attributes, and features and labels in ``extras``."""
    g = data.gaussians
    quats = torch.nn.functional.normalize(g.quats.float(), dim=-1)
    rgba = (torch.cat([g.colors, g.opacities[:, None]], 1).clamp(0, 1) * 255).round().byte()
    attributes: dict[str, NDArray] = {
        "POSITION": g.means.float().numpy(),
        "COLOR_0": rgba.numpy(),  # for viewers that draw points
        f"{EXTENSION}:ROTATION": quats[:, [1, 2, 3, 0]].numpy(),
        f"{EXTENSION}:SCALE": g.scales.float().numpy(),
        f"{EXTENSION}:OPACITY": g.opacities.float().clamp(0, 1).numpy(),
        f"{EXTENSION}:SH_DEGREE_0_COEF_0": ((g.colors.double() - 0.5) / SH_C0).float().numpy(),
    }
    first = 0
    for degree in range(1, 1 + SH_COUNTS.index(0 if data.sh is None else data.sh.shape[1])):
        for n in range(2 * degree + 1):
            assert data.sh is not None
            attributes[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{n}"] = data.sh[:, first + n].float().numpy()
        first += 2 * degree + 1
    views, accessors, blobs, at = [], [], [], 0

    def add(values: NDArray) -> int:
        nonlocal at
        blob = np.ascontiguousarray(values).tobytes()
        views.append({"buffer": 0, "byteOffset": at, "byteLength": len(blob)})
        blobs.append(blob + b"\0" * (-len(blob) % 4))
        at += len(blobs[-1])
        return len(views) - 1

    for name, values in attributes.items():
        kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        entry = {"bufferView": add(values), "componentType": 5126, "count": len(g), "type": kind}
        if name == "COLOR_0":
            entry |= {"componentType": 5121, "normalized": True}
        if name == "POSITION":
            entry |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        accessors.append(entry)
    settings = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display", "projection": "perspective"}
    settings["sortingMethod"] = "cameraDistance"
    primitive: dict[str, Any] = {
        "attributes": {name: i for i, name in enumerate(attributes)},
        "mode": 0,
        "extensions": {EXTENSION: settings},
    }
    own: dict[str, Any] = {}
    if g.features is not None:
        own["features"] = {"bufferView": add(g.features.float().numpy()), "width": g.features.shape[1]}
    if data.labels is not None:
        own["labels"] = {"bufferView": add(check_labels(data.labels, len(g)))}
    if own:
        primitive["extras"] = {OWN: own}
    gltf = {
        "asset": {"version": "2.0", "generator": "gaussiancross"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "buffers": [{"byteLength": at}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(gltf).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, 28 + len(text) + at, len(text), _JSON)
    with Path(path).open("wb") as file:
        file.writelines([head, text, struct.pack("<II", at, _BIN), *blobs])


def _chunks(path: Path) -> tuple[dict[str, Any], memoryview]:
    """The JSON and the binary chunk of a GLB."""
    try:
        with open_plain(path) as file:
            gltf = _json(path, file)
            head = file.read(8)
            size, kind = struct.unpack("<II", head) if len(head) == 8 else (0, _BIN)
            buffer = memoryview(file.read(min(size, path.stat().st_size))) if kind == _BIN else memoryview(b"")
    except FileNotFoundError:
        raise InputError(path, EXPECTED, "no such file") from None
    except OSError as error:
        raise InputError(path, EXPECTED, f"something unreadable ({error})") from error
    if kind == _BIN and len(buffer) < size:
        raise InputError(path, f"{size} bytes in the binary chunk", f"{len(buffer)}", "the file may be truncated")
    return gltf, buffer


def _json(path: Path, file: BinaryIO) -> dict[str, Any]:
    """The JSON chunk, at the beginning of the file."""
    present, head = path.stat().st_size, file.read(20)
    if len(head) < 20 or head[:4] != b"glTF":
        raise InputError(path, EXPECTED, f"{present} bytes of something else")
    version, length, size, kind = struct.unpack("<IIII", head[4:])
    if version != 2 or length > present or kind != _JSON or 20 + size > present:
        found = f"version {version}, {length} bytes according to its header, {present} present"
        raise InputError(path, EXPECTED, found, "the file may be truncated")
    try:
        gltf = parse_json(file.read(size))
    except ValueError as error:
        raise InputError(path, EXPECTED, f"damaged JSON in it ({error})") from error
    if not isinstance(gltf, dict):
        raise InputError(path, EXPECTED, "JSON that is not an object")
    return gltf


def _placed(path: Path, gltf: dict[str, Any]) -> list[tuple[int, NDArray[np.float64]]]:
    """(mesh, transform [4, 4]) of every node of the default scene that has a mesh."""
    nodes, out = gltf.get("nodes", []), []
    scenes = gltf.get("scenes")
    roots = scenes[gltf.get("scene", 0)].get("nodes", []) if scenes else list(range(len(nodes)))
    pending, seen = [(root, np.eye(4)) for root in roots], set()
    while pending:
        index, above = pending.pop()
        if index in seen:
            raise InputError(path, "a tree of nodes", f"node {index} twice")
        seen.add(index)
        here = above @ _matrix(nodes[index])
        if "mesh" in nodes[index]:
            out.append((nodes[index]["mesh"], here))
        pending += [(child, here) for child in nodes[index].get("children", [])]
    return sorted(out, key=lambda item: item[0])


def _matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    turn = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix()
    matrix[:3, :3] = turn * np.array(node.get("scale", [1, 1, 1]), np.float64)
    matrix[:3, 3] = node.get("translation", [0, 0, 0])
    return matrix


def _moved(path: Path, data: SplatData, matrix: NDArray[np.float64]) -> SplatData:
    """Apply a node's transform. View-dependent harmonics would have to be rotated, too; they are dropped then."""
    if np.allclose(matrix, np.eye(4)):
        return data
    linear = matrix[:3, :3]
    size = abs(np.linalg.det(linear)) ** (1 / 3)
    if not np.isfinite(matrix).all() or size == 0 or not np.allclose(linear @ linear.T, size**2 * np.eye(3), atol=1e-4):
        raise InputError(path, "nodes that scale Gaussians evenly in all directions", "another transform")
    if np.linalg.det(linear) < 0:
        raise InputError(path, "nodes that do not mirror Gaussians", "a mirrored one")
    from scipy.spatial.transform import Rotation

    xyzw = Rotation.from_matrix(linear / size).as_quat()
    quat, shift = torch.tensor(xyzw[[3, 0, 1, 2]]).float(), torch.tensor(matrix[:3, 3]).float()
    turned = not np.allclose(linear / size, np.eye(3), atol=1e-6)
    if turned and data.sh is not None:
        warnings.warn(f"{path}: view-dependent colour of a rotated node is dropped.", stacklevel=4)
    sh = None if turned else data.sh
    return SplatData(transform_gaussians(data.gaussians, quat, float(size), shift), sh, data.labels)


def _primitive(path: Path, gltf: dict[str, Any], buffer: memoryview, primitive: dict[str, Any]) -> SplatData:
    inner = primitive["extensions"][EXTENSION].get("extensions", {})
    if SPZ in inner:
        return decode_spz(bytes(_view(path, gltf, buffer, inner[SPZ]["bufferView"])), path)
    if inner:
        raise InputError(path, f"Gaussians without compression, or with {SPZ}", ", ".join(inner))
    names = primitive["attributes"]

    def read(name: str, width: int) -> NDArray[np.float32]:
        if name not in names:
            raise InputError(path, f"the attribute {name}", f"only {', '.join(names)}")
        values = _accessor(path, gltf, buffer, names[name])
        if values.shape[1] != width:
            raise InputError(path, f"{width} components of {name}", str(values.shape[1]))
        return values

    means = read("POSITION", 3)
    degree = max([d for d in range(1, 5) if f"{EXTENSION}:SH_DEGREE_{d}_COEF_0" in names], default=0)
    columns = [read(f"{EXTENSION}:SH_DEGREE_{d}_COEF_{n}", 3) for d in range(1, degree + 1) for n in range(2 * d + 1)]
    quats, scales = read(f"{EXTENSION}:ROTATION", 4), read(f"{EXTENSION}:SCALE", 3)
    opacities, dc = read(f"{EXTENSION}:OPACITY", 1), read(f"{EXTENSION}:SH_DEGREE_0_COEF_0", 3)
    lengths = {len(values) for values in (means, quats, scales, opacities, dc, *columns)}
    if len(lengths) > 1:
        raise InputError(path, "attributes of the same length", ", ".join(map(str, sorted(lengths))))
    if (scales < 0).any():
        warnings.warn(f"{path}: some scales are negative, so all are taken as logarithms of metres.", stacklevel=4)
        with np.errstate(over="ignore"):
            scales = np.exp(scales)
    features, labels = _own(path, gltf, buffer, primitive, len(means))
    harmonics = np.stack(columns, 1) if columns else None
    return splat_data(
        path, means, quats[:, [3, 0, 1, 2]], scales, opacities[:, 0], 0.5 + SH_C0 * dc, harmonics, features, labels
    )


def _own(
    path: Path, gltf: dict[str, Any], buffer: memoryview, primitive: dict[str, Any], count: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.int32] | None]:
    """Features [N, F] and labels [N] of ``extras``."""
    own = primitive.get("extras", {}).get(OWN, {}) if isinstance(primitive.get("extras"), dict) else {}
    out = []
    for name, kind in (("features", "<f4"), ("labels", "<i4")):
        values = None
        if name in own:
            width = int(own[name].get("width", 1))
            values = np.frombuffer(_view(path, gltf, buffer, own[name]["bufferView"]), kind)
            if len(values) != count * width:
                raise InputError(path, f"{count * width} values of {name}", str(len(values)))
            values = values.reshape(count, width) if name == "features" else values
        out.append(values)
    return out[0], out[1]


def _view(path: Path, gltf: dict[str, Any], buffer: memoryview, index: int) -> memoryview:
    view = gltf["bufferViews"][index]
    start, size = int(view.get("byteOffset", 0)), int(view["byteLength"])
    if view.get("buffer", 0) != 0 or gltf["buffers"][0].get("uri") or start < 0 or not 0 <= size <= len(buffer) - start:
        raise InputError(path, f"{size} bytes at {start} of the file's own binary chunk", f"{len(buffer)} bytes")
    return buffer[start : start + size]


def _accessor(path: Path, gltf: dict[str, Any], buffer: memoryview, index: int) -> NDArray[np.float32]:
    """Values [N, C] of an accessor; normalised integers as shares of their largest value."""
    entry = gltf["accessors"][index]
    count, width = int(entry["count"]), _WIDTHS[entry["type"]]
    dtype = np.dtype(_COMPONENTS[entry["componentType"]])
    if "sparse" in entry or "bufferView" not in entry or count < 0:
        raise InputError(path, "accessors with a buffer view, not sparse", f"accessor {index}")
    view = gltf["bufferViews"][entry["bufferView"]]
    raw = _view(path, gltf, buffer, entry["bufferView"])[int(entry.get("byteOffset", 0)) :]
    row = width * dtype.itemsize
    stride = int(view.get("byteStride", row))
    if stride < row or (count and len(raw) < stride * (count - 1) + row):
        raise InputError(path, f"{count} rows of {stride} bytes in accessor {index}", f"{len(raw)} bytes")
    table = np.ndarray((count, width), dtype, raw, strides=(stride, dtype.itemsize)) if count else np.empty((0, width))
    if dtype.kind == "f" or not entry.get("normalized"):
        return table.astype(np.float32)
    return np.maximum(table.astype(np.float32) / np.iinfo(dtype).max, -1)


def _joined(path: Path, parts: list[SplatData]) -> SplatData:
    """The Gaussians of several primitives; what not all of them have alike is dropped."""
    widths = {None if p.gaussians.features is None else p.gaussians.features.shape[1] for p in parts}
    plain = [p.gaussians if len(widths) == 1 else replace(p.gaussians, features=None) for p in parts]
    tables = [p.sh for p in parts if p.sh is not None]
    labels = [p.labels for p in parts if p.labels is not None]
    alike = len(tables) == len(parts) and len({t.shape[1] for t in tables}) == 1
    if len(widths) > 1 or (tables and not alike) or len(labels) not in (0, len(parts)):
        warnings.warn(f"{path}: features, harmonics or labels that only some parts have are dropped.", stacklevel=3)
    return SplatData(
        Gaussians.cat(plain),
        torch.cat(tables) if alike else None,
        np.concatenate(labels) if len(labels) == len(parts) else None,
    )
