"""Convert a USD file (USDZ or the layers in it) to GLB with Pixar's library usd-core, as a program of its own.

``python usd_worker.py FILE OUT.glb MOST_FACES BYTES SECONDS`` ends with 0, or with 1 and a JSON list on stdout of what
was expected and found. The library reads past the ends of damaged binary files, or never ends: `usd.py` runs this file
in a process with limits on memory and time, and without importing the package, which would take seconds.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

_MODULES = ("Ar", "Gf", "Tf", "Usd", "UsdGeom", "UsdShade", "UsdUtils")
Ar, Gf, Tf, Usd, UsdGeom, UsdShade, UsdUtils = (import_module(f"pxr.{name}") for name in _MODULES)  # have no types

_Z_TO_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
_GREY = np.array([0.319, 0.319, 0.319, 1.0])
"""Linear colour of meshes without one: sRGB 0.6, as of other formats."""
_INPUTS = ("diffuseColor", "opacity")


class Refused(Exception):
    """What was expected, and what was found; optionally what to do."""


def convert(path: Path, most_faces: int) -> bytes:
    """The visible meshes of a stage at its first time as GLB, in metres and y up, with their preview materials."""
    diagnostics = UsdUtils.CoalescingDiagnosticDelegate()  # takes what would be printed; exceptions say it
    try:
        stage = Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise Refused("a readable USD file", f"{path.stat().st_size} bytes that are not") from error
    up = _Z_TO_Y_UP if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z else np.eye(4)
    world = np.diag([*[UsdGeom.GetStageMetersPerUnit(stage)] * 3, 1.0]) @ up
    time = Usd.TimeCode.EarliestTime()
    places, materials, scene, count = UsdGeom.XformCache(time), _Materials(path), trimesh.Scene(), 0
    for prim in stage.Traverse(Usd.TraverseInstanceProxies(Usd.PrimDefaultPredicate)):
        shape = UsdGeom.Imageable(prim)
        if not prim.IsA(UsdGeom.Mesh) or shape.ComputeVisibility(time) == UsdGeom.Tokens.invisible:
            continue
        if shape.ComputePurpose() in (UsdGeom.Tokens.guide, UsdGeom.Tokens.proxy):
            continue
        mesh = _Mesh(prim, time)
        count += len(mesh.corners)
        if count > most_faces:
            raise Refused(f"a mesh of at most {most_faces:,} faces", f"{count:,} or more", "simplify it")
        place = world @ np.array(Gf.Matrix4d(places.GetLocalToWorldTransform(prim))).T
        for faces, bound in mesh.parts(materials.bound):
            scene.add_geometry(mesh.piece(faces, materials.look(bound)), transform=place)
    diagnostics.TakeUncoalescedDiagnostics()
    if not scene.geometry:
        raise Refused("a mesh with faces", "none")
    return export_glb(scene)


class _Mesh:
    """Triangles of one mesh; ``corners`` [F, 3] are numbers of the corners of its polygons."""

    def __init__(self, prim: Any, time: Any) -> None:
        mesh = UsdGeom.Mesh(prim)
        self.prim, self.time, self.mesh = prim, time, mesh
        self.points = _array(mesh.GetPointsAttr().Get(time), np.float64, 3)
        sizes = _array(mesh.GetFaceVertexCountsAttr().Get(time), np.int64)
        self.vertex = _array(mesh.GetFaceVertexIndicesAttr().Get(time), np.int64)  # of each corner
        if (sizes < 0).any() or sizes.sum() != len(self.vertex):
            raise Refused(f"{sizes.sum()} corners of polygons in {prim.GetPath()}", f"{len(self.vertex)}")
        if len(self.vertex) and not 0 <= self.vertex.min() <= self.vertex.max() < len(self.points):
            found = f"the vertex number {self.vertex.max():,}"
            raise Refused(f"polygons of {len(self.points):,} vertices in {prim.GetPath()}", found)
        fans = np.maximum(sizes - 2, 0)
        self.polygon = np.repeat(np.arange(len(sizes)), fans)  # [F]
        first = (np.cumsum(sizes) - sizes)[self.polygon]
        within = np.arange(len(self.polygon)) - np.repeat(np.cumsum(fans) - fans, fans)
        self.corners = first[:, None] + np.stack([0 * within, within + 1, within + 2], 1)
        if mesh.GetOrientationAttr().Get(time) == UsdGeom.Tokens.leftHanded:
            self.corners = self.corners[:, ::-1]

    def parts(self, bound: Callable[[Any], Any]) -> list[tuple[NDArray[np.int64], Any]]:
        """(faces, material) of each subset with a material of its own, and of the rest of the mesh."""
        left, out = np.ones(len(self.corners), bool), []
        for subset in UsdShade.MaterialBindingAPI(self.prim).GetMaterialBindSubsets():
            polygons = _array(UsdGeom.Subset(subset).GetIndicesAttr().Get(self.time), np.int64)
            mine = np.isin(self.polygon, polygons) & left
            left &= ~mine
            out.append((np.flatnonzero(mine), bound(subset.GetPrim())))
        out.append((np.flatnonzero(left), bound(self.prim)))
        return [(faces, material) for faces, material in out if len(faces)]

    def piece(self, faces: NDArray[np.int64], look: _Look) -> trimesh.Trimesh:
        """Some of the triangles, three vertices each, with a material."""
        corners = self.corners[faces].ravel()
        normals = self._values(self.mesh.GetNormalsAttr(), self.mesh.GetNormalsInterpolation(), faces, 3)
        normals = self._primvar("normals", faces, 3) if normals is None else normals
        out = trimesh.Trimesh(
            self.points[self.vertex[corners]],
            np.arange(len(corners)).reshape(-1, 3),
            vertex_normals=normals,
            process=False,
        )
        color = None if look.given else self._primvar("displayColor", faces, 3)
        if color is not None:
            rows = np.rint(255 * color.clip(0, 1)).astype(np.uint8)
            out.visual = ColorVisuals(out, vertex_colors=rows)
            return out
        uv = None if look.picture is None else self._primvar(look.coordinates, faces, 2)
        material = PBRMaterial(
            baseColorFactor=np.rint(255 * look.color).astype(np.uint8),
            baseColorTexture=None if uv is None else look.picture,
            alphaMode=look.mode,
            alphaCutoff=look.cutoff,
        )
        out.visual = TextureVisuals(uv, material)
        return out

    def _primvar(self, name: str, faces: NDArray[np.int64], width: int) -> NDArray | None:
        found = UsdGeom.PrimvarsAPI(self.prim).FindPrimvarWithInheritance(name)
        if not found or not found.HasValue():
            return None
        return self._values(found, found.GetInterpolation(), faces, width)

    def _values(self, attribute: Any, interpolation: str, faces: NDArray[np.int64], width: int) -> NDArray | None:
        """Values [3F, width] at the corners of triangles; None without values."""
        flat = getattr(attribute, "ComputeFlattened", attribute.Get)
        values = _array(flat(self.time), np.float64, width)
        if not len(values):
            return None
        corners = self.corners[faces].ravel()
        index = {
            "constant": 0 * corners,
            "uniform": np.repeat(self.polygon[faces], 3),
            "faceVarying": corners,
        }.get(interpolation, self.vertex[corners])
        if index.max() >= len(values):
            where = f"{attribute.GetName()} of {self.prim.GetPath()}"
            raise Refused(f"at least {index.max() + 1} values in {where}", f"{len(values)}")
        return values[index]


class _Look:
    """What a preview material looks like: linear RGBA [4], a picture, and the name of its texture coordinates."""

    def __init__(self) -> None:
        self.given, self.color, self.coordinates = False, _GREY, "st"
        self.picture: Image.Image | None = None
        self.mode = "OPAQUE"  # as in glTF
        self.cutoff: float | None = None


class _Materials:
    """Materials of a stage, each read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._looks: dict[str, _Look] = {}

    def bound(self, prim: Any) -> Any:
        """The material of a mesh or a subset of it; an invalid one for none."""
        return UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]

    def look(self, material: Any) -> _Look:
        name = str(material.GetPath()) if material else ""
        if name not in self._looks:
            self._looks[name] = self._read(material) if material else _Look()
        return self._looks[name]

    def _read(self, material: Any) -> _Look:
        look = _Look()
        shader = material.ComputeSurfaceSource()[0]
        if not shader or shader.GetIdAttr().Get() != "UsdPreviewSurface":
            return look
        look.given = True
        color, textures = [np.array([0.18, 0.18, 0.18]), 1.0], {}
        for k, name in enumerate(_INPUTS):
            source = shader.GetInput(name)
            for attribute in source.GetValueProducingAttributes() if source else ():
                value = attribute.Get()
                if value is not None and attribute.GetName().startswith("inputs:"):
                    color[k] = np.asarray(value, np.float64)
                elif attribute.GetName().startswith("outputs:"):
                    textures[name] = attribute
        threshold = shader.GetInput("opacityThreshold")
        cutoff = float((threshold.Get() if threshold else 0) or 0)
        if "diffuseColor" in textures:
            texture = UsdShade.Shader(textures["diffuseColor"].GetPrim())
            look.picture, look.coordinates = self._picture(texture), _coordinates(texture)
            scale = texture.GetInput("scale")
            color[0] = np.asarray((scale.Get() if scale else None) or (1, 1, 1, 1), np.float64)[:3]
        if "opacity" in textures or float(color[1]) < 1:
            look.mode, look.cutoff = ("MASK", cutoff) if cutoff > 0 else ("BLEND", None)
        look.color = np.array([*np.broadcast_to(color[0], 3), float(color[1])]).clip(0, 1)
        return look

    def _picture(self, texture: Any) -> Image.Image:
        named = texture.GetInput("file")
        asset = named.Get() if named else None
        name = "" if asset is None else asset.path
        resolved = "" if asset is None else str(asset.resolvedPath)
        found = "no such file"
        try:
            if resolved and "[" in resolved:  # in an archive
                content = bytes(Ar.GetResolver().OpenAsset(Ar.ResolvedPath(resolved)).GetBuffer())
            else:
                where = Path(resolved or self.path.parent / (name or "texture"))
                content = where.read_bytes() if where.is_file() else b""
            found = "a damaged one" if content else found
            picture = Image.open(io.BytesIO(content))
            picture.load()
        except Exception as error:  # missing ones are None, damaged ones raise almost any exception
            raise Refused(f"the picture {name!r} of {texture.GetPath()}", found) from error
        return picture


def _coordinates(texture: Any) -> str:
    """The name of the texture coordinates that a texture reads."""
    shader = texture
    for _ in range(4):  # a reader, or a transform before it
        source = shader.GetInput("st") or shader.GetInput("in")
        connected = source.GetConnectedSources()[0] if source else ()
        if not connected:
            return "st"
        shader = UsdShade.Shader(connected[0].source.GetPrim())
        if name := shader.GetInput("varname"):
            values = [a.Get() for a in name.GetValueProducingAttributes()]
            return str(values[0]) if values and values[0] else "st"
    return "st"


def _array(value: Any, kind: type, width: int = 0) -> NDArray:
    """Values as an array [N] or [N, width]; empty for None."""
    array = np.asarray([] if value is None else value, kind)
    if not width:
        return array.reshape(-1)
    return array.reshape(-1, width) if array.size % width == 0 else np.zeros((0, width), kind)


def main() -> int:
    path, out, most_faces, memory, seconds = sys.argv[1:]
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        for limit, value in ((resource.RLIMIT_AS, int(memory)), (resource.RLIMIT_CPU, int(seconds))):
            if sys.platform != "darwin" or limit == resource.RLIMIT_CPU:  # macOS refuses the other
                resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
    try:
        content = convert(Path(path), int(most_faces))
    except Refused as error:
        print(json.dumps(error.args))
        return 1
    Path(out).write_bytes(content)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the library's threads may not end after damaged files
