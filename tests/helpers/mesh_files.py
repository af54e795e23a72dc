"""Small meshes as files, in every form that object meshes come in."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDES = {
    "x": (1, 0, 0),
    "-x": (-1, 0, 0),
    "y": (0, 1, 0),
    "-y": (0, -1, 0),
    "z": (0, 0, 1),
    "-z": (0, 0, -1),
}


def side(name: str) -> NDArray[np.float64]:
    """[4, 3] corners of one side of the cube from −1 to 1, counter-clockwise from outside."""
    n = np.array(SIDES[name], float)
    a = np.roll(np.abs(n), 1)
    b = np.cross(n, a)
    return np.stack([n - a - b, n + a - b, n + a + b, n - a + b])


def cube() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A cube of six separate sides: vertices [24, 3] and triangles [12, 3], two per side in the order of `SIDES`."""
    vertices = np.concatenate([side(name) for name in SIDES])
    faces = np.concatenate([[[k, k + 1, k + 2], [k, k + 2, k + 3]] for k in range(0, 24, 4)])
    return vertices, faces


def write_ply(
    path: Path,
    vertices: NDArray,
    faces: NDArray,
    vertex_colors: NDArray | None = None,
    face_colors: NDArray | None = None,
) -> Path:
    """ASCII, with colours of vertices or of faces."""
    rgb = ["property uchar red", "property uchar green", "property uchar blue"]
    header = [
        "ply",
        "format ascii 1.0",
        f"element vertex {len(vertices)}",
        *(f"property float {c}" for c in "xyz"),
        *(rgb if vertex_colors is not None else []),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        *(rgb if face_colors is not None else []),
        "end_header",
    ]
    rows = [" ".join(map(str, v)) for v in vertices]
    if vertex_colors is not None:
        rows = [f"{row} {' '.join(map(str, c))}" for row, c in zip(rows, vertex_colors, strict=True)]
    lists = [f"3 {' '.join(map(str, f))}" for f in faces]
    if face_colors is not None:
        lists = [f"{row} {' '.join(map(str, c))}" for row, c in zip(lists, face_colors, strict=True)]
    path.write_text("\n".join([*header, *rows, *lists]) + "\n")
    return path


def write_obj(
    path: Path,
    vertices: NDArray,
    faces: NDArray,
    uv: NDArray | None = None,
    mtl: str | None = None,
    colors: NDArray | None = None,
) -> Path:
    """With a material file of that text beside it (``<stem>.mtl``, one material "m"), or with colours of vertices."""
    rows = [f"v {' '.join(map(str, v))}" for v in vertices]
    if colors is not None:
        rows = [f"{row} {' '.join(map(str, c))}" for row, c in zip(rows, colors, strict=True)]
    if mtl is not None:
        rows = [f"mtllib {path.stem}.mtl", *rows]
        path.with_suffix(".mtl").write_text(f"newmtl m\n{mtl}\n")
    if uv is not None:
        rows += [f"vt {' '.join(map(str, t))}" for t in uv]
    rows += ["usemtl m"] if mtl is not None else []
    corner = (lambda i: f"{i + 1}/{i + 1}") if uv is not None else (lambda i: str(i + 1))
    rows += [f"f {' '.join(map(corner, face))}" for face in faces]
    path.write_text("\n".join(rows) + "\n")
    return path


def write_picture(path: Path, pixels: Any) -> Path:
    """[H, W, 3 or 4] bytes."""
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def draco_mesh(part: dict[str, Any]) -> tuple[bytes, dict[str, int]]:
    """A part of `write_glb` compressed by DracoPy, and the identifier of each glTF attribute in it."""
    import DracoPy

    optional = {"TEXCOORD_0": "uv", "NORMAL": "normals", "COLOR_0": "colors"}
    content = DracoPy.encode(
        np.asarray(part["vertices"], np.float32),
        np.asarray(part["faces"], np.uint32),
        quantization_bits=14,
        tex_coord=None if "uv" not in part else np.asarray(part["uv"], float),
        normals=None if "normals" not in part else np.asarray(part["normals"], float),
        colors=part.get("colors"),
    )
    kinds = {a["attribute_type"]: a["unique_id"] for a in DracoPy.decode(content).attributes}
    number = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2, "TEXCOORD_0": 3}
    names = ["POSITION", *(name for name, key in optional.items() if key in part)]
    return content, {name: kinds[number[name]] for name in names}


def write_glb(path: Path, parts: list[dict[str, Any]], nodes: list[dict[str, Any]] | None = None) -> Path:
    """A GLB, byte by byte as the specification has it.

    Args:
        parts: one mesh each: "vertices", "faces", and optionally "uv" (origin at the upper left, as in glTF), "colors"
            [V, 4] float linear or bytes, "normals" [V, 3], "material" (JSON; an "image" in it, [H, W, C] bytes, becomes
            its base colour texture, a text the name of a file beside), "draco" (True: Draco-compressed geometry, with
            colours as bytes; "too": beside the uncompressed).
        nodes: "mesh" and e.g. "matrix" (16, by columns), "translation", "children"; one per mesh by default.
    """
    blob, views, accessors = b"", [], []
    meshes, materials, images, textures = [], [], [], []

    def store(content: bytes) -> int:
        nonlocal blob
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(content)})
        blob += content + b"\0" * (-len(content) % 4)
        return len(views) - 1

    def accessor(values: NDArray, kind: str, component: int, compressed: bool = False) -> int:
        entry: dict[str, Any] = {"componentType": component, "count": len(values), "type": kind}
        if not compressed:
            entry["bufferView"] = store(np.ascontiguousarray(values).tobytes())
        if component == 5121:
            entry["normalized"] = True
        if kind == "VEC3":
            finite = np.nan_to_num(values)
            entry |= {"min": finite.min(0).tolist(), "max": finite.max(0).tolist()}
        accessors.append(entry)
        return len(accessors) - 1

    for part in parts:
        draco = part.get("draco") is True
        attributes = {"POSITION": accessor(part["vertices"].astype("<f4"), "VEC3", 5126, draco)}
        if "uv" in part:
            attributes["TEXCOORD_0"] = accessor(np.asarray(part["uv"], "<f4"), "VEC2", 5126, draco)
        if "normals" in part:
            attributes["NORMAL"] = accessor(np.asarray(part["normals"], "<f4"), "VEC3", 5126, draco)
        if "colors" in part:
            colors = np.asarray(part["colors"])
            as_bytes = colors.dtype == np.uint8
            attributes["COLOR_0"] = accessor(
                colors if as_bytes else colors.astype("<f4"), "VEC4", 5121 if as_bytes else 5126, draco
            )
        primitive: dict[str, Any] = {"attributes": attributes}
        if part.get("draco"):
            compressed, identifiers = draco_mesh(part)
            extension = {"bufferView": store(compressed), "attributes": identifiers}
            primitive["extensions"] = {"KHR_draco_mesh_compression": extension}
        if len(part["faces"]):
            primitive["indices"] = accessor(part["faces"].astype("<u4").reshape(-1), "SCALAR", 5125, draco)
        else:
            primitive["mode"] = 0
        if "material" in part:
            material = dict(part["material"])
            if (image := material.pop("image", None)) is not None:
                if isinstance(image, str):
                    images.append({"uri": image})
                else:
                    png = path.with_suffix(".tmp.png")
                    write_picture(png, image)
                    images.append({"bufferView": store(png.read_bytes()), "mimeType": "image/png"})
                    png.unlink()
                textures.append({"source": len(images) - 1})
                pbr = material.setdefault("pbrMetallicRoughness", {})
                pbr["baseColorTexture"] = {"index": len(textures) - 1}
            materials.append(material)
            primitive["material"] = len(materials) - 1
        meshes.append({"primitives": [primitive]})
    nodes = [{"mesh": i} for i in range(len(parts))] if nodes is None else nodes
    inner = {c for node in nodes for c in node.get("children", ())}
    header: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [i for i in range(len(nodes)) if i not in inner]}],
        "nodes": nodes,
        "meshes": meshes,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
        **{k: v for k, v in (("materials", materials), ("images", images), ("textures", textures)) if v},
    }
    if any(part.get("draco") for part in parts):
        header["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    if any(part.get("draco") is True for part in parts):
        header["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    return path
