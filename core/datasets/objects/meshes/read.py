"""Read mesh files with trimesh as one set of triangles with linear colours and textures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ....errors import InputError
from .draco import decode_draco
from .normals import corner_normals
from .unpack import unpack_gltf
from .usd import USD, usd_as_glb

if TYPE_CHECKING:
    import trimesh

SUFFIXES = (".glb", ".gltf", *USD, ".obj", ".ply", ".off", ".stl")
"""Suffixes of supported files. The last two formats have no colours."""
_LINEAR = (".glb", ".gltf", *USD)

GREY = 0.6
"""sRGB grey level of surfaces without colour."""
MOST_FACES = 4_000_000
"""Largest number of faces of a file."""
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga", ".tif", ".tiff", ".gif")


@dataclass(frozen=True, eq=False)
class RawMesh:
    """Surface of a mesh file in the frame and units of the file: V vertices, F triangles.

    Attributes:
        vertices: [V, 3] float64.
        normals: [V, 3] float32 unit vectors.
        uv: [V, 2] float32 texture coordinates, (0, 0) at the lower left corner; zero without a texture.
        color: [V, 4] float32 linear RGB and opacity.
        faces: [F, 3] int64.
        picture: [F] int64 index of the texture in ``pictures`` that multiplies the colour, −1 for none.
        cutoff: [F] float32 opacity below which the surface is cut out (leaves, fences).
        pictures: textures [H, W, 4], uint8 sRGB and opacity.
    """

    vertices: NDArray[np.float64]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    color: NDArray[np.float32]
    faces: NDArray[np.int64]
    picture: NDArray[np.int64]
    cutoff: NDArray[np.float32]
    pictures: tuple[NDArray[np.uint8], ...]


def read_mesh(path: Path | str) -> RawMesh:
    """Read all meshes of a file's scene, at the positions of its nodes, as one object.

    Colours come from glTF's metallic-roughness materials (factors and vertex colours linear, textures sRGB), from the
    ``.mtl`` of an OBJ and from vertices or faces of a PLY (sRGB). Transparent surfaces are opaque from an opacity of
    0.5 on. Draco-compressed glTF geometry is decoded by DracoPy, from the extra ``objects``; meshopt-compressed buffers
    and KTX 2 textures by the packages meshopt and opengl-basisu. USD becomes glTF by `usd_as_glb`, in metres and y up.

    Raises:
        InputError: missing, unreadable, without faces, with vertices that are not finite, with a missing or damaged
            texture or material file, or compressed by what needs a package that is not installed.
    """
    import trimesh

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(path, f"a mesh as {', '.join(SUFFIXES)}", f"the ending {path.suffix!r}")
    if not path.is_file():
        raise InputError(path, "a mesh", "no such file")
    files = _files(path)
    try:
        content, kind = None, suffix[1:]
        if kind in ("glb", "gltf"):
            plain = unpack_gltf(path, files.get)
            content = decode_draco(path, files.get, plain) or plain
            kind = kind if plain is None else "glb"
        if suffix in USD:
            content, kind = usd_as_glb(path, MOST_FACES), "glb"
        if content is None:
            loaded = trimesh.load(str(path), resolver=files, process=False)
        else:
            loaded = trimesh.load(io.BytesIO(content), file_type=kind, resolver=files, process=False)
    except InputError:
        if not files.problems:  # missing files are reported below
            raise
        loaded = None
    except Exception as error:  # its parsers raise almost any exception
        raise _unreadable(path, error) from error
    if files.problems:
        expected, found = files.problems[0]
        raise InputError(path, expected, found, "put it where the file refers to it")
    try:
        return _joined(path, suffix, loaded)
    except InputError:
        raise
    except Exception as error:  # it also returns arrays of shapes that are none of a mesh
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(path, "a readable mesh", f"a damaged one ({reason})")


def _joined(path: Path, suffix: str, loaded: Any) -> RawMesh:
    """Join the meshes of what trimesh loaded, after checking them."""
    import trimesh

    scene = loaded if isinstance(loaded, trimesh.Scene) else trimesh.Scene(loaded)
    placed = _node_meshes(scene, path)
    count = sum(len(mesh.faces) for mesh in placed)
    if count == 0:
        raise InputError(path, "a mesh with faces", "none")
    if count > MOST_FACES:
        raise InputError(path, f"a mesh of at most {MOST_FACES:,} faces", f"{count:,}", "simplify it")
    bad = sum(int((~np.isfinite(mesh.vertices).all(1)).sum()) for mesh in placed)
    if bad:
        total = sum(len(mesh.vertices) for mesh in placed)
        raise InputError(path, "finite vertices", f"{bad} of {total} with NaN or inf")
    joined = _concatenate([_part(mesh, suffix, path) for mesh in placed])
    if float(np.ptp(joined.vertices, axis=0).max()) <= 0:
        raise InputError(path, "a mesh with an extent", "all vertices at one position")
    return joined


def _files(path: Path) -> Any:
    """A resolver of referenced files that records problems, which trimesh ignores."""
    from trimesh.resolvers import FilePathResolver

    class Files(FilePathResolver):
        problems: list[tuple[str, str]]

        def get(self, name: str) -> bytes:
            is_picture = Path(name).suffix.lower() in _PICTURES
            kind = "the picture" if is_picture else "the file"
            if not (path.parent / name).is_file():
                name = unquote(name)  # glTF names files by percent-encoded URIs
            try:
                content = super().get(name)
            except Exception:
                self.problems.append((f"{kind} {name} beside it", "no such file"))
                raise
            if is_picture:
                try:
                    Image.open(io.BytesIO(content)).load()
                except Exception as error:
                    self.problems.append((f"{kind} {name}", f"a damaged one ({error})"))
                    raise
            return content

    files = Files(str(path))
    files.problems = []
    return files


def _node_meshes(scene: trimesh.Scene, path: Path) -> list[trimesh.Trimesh]:
    """The meshes of all nodes of a scene, in the scene's frame."""
    import trimesh

    out = []
    for node in sorted(scene.graph.nodes_geometry):
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            bad = mesh.faces[(mesh.faces < 0) | (mesh.faces >= len(mesh.vertices))]
            if len(bad):
                raise InputError(path, f"faces of {len(mesh.vertices):,} vertices", f"the vertex number {bad[0]:,}")
            out.append(mesh.copy(include_cache=True).apply_transform(transform))
    return out


def _part(mesh: trimesh.Trimesh, suffix: str, path: Path) -> RawMesh:
    linear = suffix in _LINEAR
    faces = np.asarray(mesh.faces, np.int64)
    vertices = np.asarray(mesh.vertices, np.float64)
    uv, color, picture, cutoff = _appearance(mesh, linear, path)
    stored = mesh._cache.cache.get("vertex_normals")  # those of the file; the property would compute smooth ones
    if isinstance(color, tuple):  # one per face
        color = np.repeat(color[0], 3, 0)
        vertices, uv = vertices[faces.ravel()], uv[faces.ravel()]
        stored = None if stored is None else stored[faces.ravel()]
        faces = np.arange(3 * len(faces)).reshape(-1, 3)
    if stored is None or stored.shape != vertices.shape or not np.isfinite(stored).all():
        normals = corner_normals(vertices, faces)
        corners = faces.ravel()
        vertices, uv, color = vertices[corners], uv[corners], color[corners]
        faces = np.arange(3 * len(faces)).reshape(-1, 3)
    else:
        normals = np.asarray(stored, np.float32)
    return RawMesh(
        vertices,
        normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9).astype(np.float32),
        uv,
        color,
        faces,
        np.full(len(faces), -1 if picture is None else 0),
        np.full(len(faces), cutoff, np.float32),
        () if picture is None else (picture,),
    )


def _appearance(
    mesh: trimesh.Trimesh, linear: bool, path: Path
) -> tuple[NDArray, NDArray | tuple[NDArray], NDArray | None, float]:
    """uv [V, 2], linear RGBA per vertex [V, 4] or, as a tuple, per face ([F, 4],), the texture, and the cutoff."""
    from trimesh.visual import ColorVisuals, TextureVisuals

    count, visual = len(mesh.vertices), mesh.visual
    uv = np.zeros((count, 2), np.float32)
    if isinstance(visual, ColorVisuals):
        if visual.kind == "face":
            return uv, (_opaque(_linear(visual.face_colors, linear)),), None, 0.0
        if visual.kind == "vertex":
            return uv, _opaque(_linear(visual.vertex_colors, linear)), None, 0.0
    plain = np.append(srgb_to_linear(np.full(3, GREY)), 1.0).astype(np.float32)
    if not isinstance(visual, TextureVisuals):
        return uv, np.tile(plain, (count, 1)), None, 0.0
    material: Any = visual.material
    pbr = hasattr(material, "baseColorFactor")
    factor = material.baseColorFactor if pbr else getattr(material, "diffuse", None)
    image = material.baseColorTexture if pbr else getattr(material, "image", None)
    mode, cutoff = (str(getattr(material, "alphaMode", None) or "OPAQUE"), 0.5) if pbr else ("MASK", 0.5)
    if mode == "OPAQUE":
        cutoff = 0.0
    elif mode == "MASK" and getattr(material, "alphaCutoff", None) is not None:
        cutoff = float(material.alphaCutoff)
    coordinates = None if visual.uv is None else np.nan_to_num(np.asarray(visual.uv, np.float32))
    picture = None
    if image is not None and coordinates is not None and coordinates.shape == uv.shape:
        uv = coordinates
        try:
            picture = np.asarray(image.convert("RGBA"))
        except Exception as error:
            raise InputError(path, "readable textures", f"a damaged one ({error})") from error
    white = np.ones(4, np.float32)
    # The Kd of an OBJ with a texture is often an arbitrary default, which viewers ignore.
    if factor is None or (picture is not None and not pbr):
        color = white if picture is not None or pbr else plain
    else:
        color = _linear(np.asarray(factor)[None], pbr)[0]
    rows = np.tile(color, (count, 1))
    tint = visual.vertex_attributes.get("color")
    if tint is not None and len(tint) == count:
        rows = rows * _linear(tint, linear)
    return uv, rows.astype(np.float32), picture, cutoff


def _concatenate(parts: Sequence[RawMesh]) -> RawMesh:
    first_vertex = np.cumsum([0, *(len(p.vertices) for p in parts)])
    first_picture = np.cumsum([0, *(len(p.pictures) for p in parts)])
    vertices, normals, uv, color, cutoff = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("vertices", "normals", "uv", "color", "cutoff")
    )
    faces = np.concatenate([p.faces + v for p, v in zip(parts, first_vertex, strict=False)])
    picture = np.concatenate(
        [np.where(p.picture < 0, -1, p.picture + k) for p, k in zip(parts, first_picture, strict=False)]
    )
    pictures = tuple(picture for p in parts for picture in p.pictures)
    return RawMesh(vertices, normals, uv, color, faces, picture, cutoff, pictures)


def srgb_to_linear(encoded: NDArray) -> NDArray:
    """Convert sRGB in [0, 1] to linear (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _linear(colors: Any, linear: bool) -> NDArray[np.float32]:
    """Convert RGB or RGBA, integers or floats in [0, 1], to linear RGBA [N, 4] in [0, 1]."""
    array = np.asarray(colors)
    scale = 1.0 if array.dtype.kind == "f" else 1 / float(np.iinfo(array.dtype).max)
    values = np.clip(np.nan_to_num(array.astype(np.float64) * scale), 0, 1)
    out = np.ones((len(values), 4))
    out[:, : values.shape[1]] = values[:, :4]
    if not linear:
        out[:, :3] = srgb_to_linear(out[:, :3])
    return out.astype(np.float32)


def _opaque(colors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Set the opacity to 1: scanners write arbitrary values to the fourth channel."""
    colors[:, 3] = 1
    return colors
