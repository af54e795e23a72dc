"""Small USD files, as exporters write them: a package with a picture, or one layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .mesh_files import cube, write_picture


def write_usd(path: Path, pixels: object = None, up: str = "Z", metres: float = 0.01, **more) -> Path:
    """The cube of `mesh_files` as six quadrilaterals at twice its size, moved by (10, 0, 0), units of ``metres``.

    Args:
        pixels: [H, W, 3] bytes of a texture on all sides.
        more: "color": linear RGB of a material, or "subset": of the first two sides alone; "display" [6, 3]: colours
            of the sides; "missing": the texture's file is not written; "extra": also a hidden mesh and a sphere.
    """
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdUtils, Vt

    layer = path.with_suffix(".usdc") if path.suffix == ".usdz" else path
    stage = Usd.Stage.CreateNew(str(layer))
    UsdGeom.SetStageUpAxis(stage, up)
    UsdGeom.SetStageMetersPerUnit(stage, metres)
    vertices, _ = cube()
    mesh = UsdGeom.Mesh.Define(stage, "/thing/cube")
    UsdGeom.Xformable(stage.DefinePrim("/thing", "Xform")).AddTranslateOp().Set(Gf.Vec3d(10, 0, 0))
    UsdGeom.Xformable(mesh).AddScaleOp().Set(Gf.Vec3f(2, 2, 2))
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(vertices.astype(np.float32)))
    mesh.CreateFaceVertexCountsAttr([4] * 6)
    mesh.CreateFaceVertexIndicesAttr(list(range(24)))
    mesh.CreateSubdivisionSchemeAttr("none")
    api = UsdGeom.PrimvarsAPI(mesh)
    uv = np.tile(np.float32([[0, 0], [1, 0], [1, 1], [0, 1]]), (6, 1))
    api.CreatePrimvar("map1", Sdf.ValueTypeNames.TexCoord2fArray, "faceVarying").Set(Vt.Vec2fArray.FromNumpy(uv))
    if "display" in more:
        primvar = api.CreatePrimvar("displayColor", Sdf.ValueTypeNames.Color3fArray, "uniform")
        primvar.Set(Vt.Vec3fArray.FromNumpy(np.asarray(more["display"], np.float32)))
    if pixels is not None or {"color", "subset"} & more.keys():
        material = UsdShade.Material.Define(stage, "/looks/paint")
        shader = UsdShade.Shader.Define(stage, "/looks/paint/surface")
        shader.CreateIdAttr("UsdPreviewSurface")
        material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
        color = shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
        if pixels is None:
            color.Set(Gf.Vec3f(*(more.get("color") or more["subset"])))
        else:
            picture = path.with_name("paint.png")
            if not more.get("missing"):
                write_picture(picture, pixels)
            reader = UsdShade.Shader.Define(stage, "/looks/paint/coordinates")
            reader.CreateIdAttr("UsdPrimvarReader_float2")
            reader.CreateInput("varname", Sdf.ValueTypeNames.Token).Set("map1")
            texture = UsdShade.Shader.Define(stage, "/looks/paint/texture")
            texture.CreateIdAttr("UsdUVTexture")
            texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(Sdf.AssetPath(picture.name))
            texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
            color.ConnectToSource(texture.ConnectableAPI(), "rgb")
        prim = mesh.GetPrim()
        if "subset" in more:
            faces = Vt.IntArray([0, 1])
            prim = UsdGeom.Subset.CreateGeomSubset(mesh, "two", "face", faces, "materialBind").GetPrim()
        UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)
    if more.get("extra"):
        hidden = UsdGeom.Mesh.Define(stage, "/hidden")
        hidden.CreatePointsAttr([(0, 0, 0), (900, 0, 0), (0, 900, 0)])
        hidden.CreateFaceVertexCountsAttr([3])
        hidden.CreateFaceVertexIndicesAttr([0, 1, 2])
        hidden.CreateVisibilityAttr("invisible")
        UsdGeom.Sphere.Define(stage, "/ball")
    stage.Save()
    if path.suffix == ".usdz":
        assert UsdUtils.CreateNewUsdzPackage(str(layer), str(path))
        layer.unlink()
        path.with_name("paint.png").unlink(missing_ok=True)
    return path


def write_usd_triangles(path: Path, corners: np.ndarray, colors: np.ndarray) -> None:
    """A package of triangles, three of the vertices [3F, 3] each, with colours of the vertices (sRGB bytes)."""
    usd, geometry, types = (pytest.importorskip(f"pxr.{name}") for name in ("Usd", "UsdGeom", "Vt"))
    layer = path.with_suffix(".usdc")
    stage = usd.Stage.CreateNew(str(layer))
    geometry.SetStageUpAxis(stage, "Z")
    geometry.SetStageMetersPerUnit(stage, 1.0)
    mesh = geometry.Mesh.Define(stage, "/mesh")
    mesh.CreatePointsAttr(types.Vec3fArray.FromNumpy(np.ascontiguousarray(corners, np.float32)))
    mesh.CreateFaceVertexCountsAttr([3] * (len(corners) // 3))
    mesh.CreateFaceVertexIndicesAttr(list(range(len(corners))))
    mesh.CreateDisplayColorPrimvar("vertex").Set(types.Vec3fArray.FromNumpy((colors / 255).astype(np.float32) ** 2.2))
    stage.Save()
    pytest.importorskip("pxr.UsdUtils").CreateNewUsdzPackage(str(layer), str(path))
    layer.unlink()
