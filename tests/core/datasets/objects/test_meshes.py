"""Meshes of single objects: colour, placement, light, rays."""

from __future__ import annotations

import base64
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.app.cli import main
from gaussiancross.core.datasets.objects.meshes import LitMesh, light_mesh, mesh_object, read_mesh
from gaussiancross.core.datasets.objects.meshes.normals import corner_normals
from gaussiancross.core.datasets.objects.meshes.solid import TO_Y_UP
from gaussiancross.core.errors import InputError
from gaussiancross.core.synthetic.objects import object_cameras, render_object, surface_points
from gaussiancross.core.synthetic.objects.gaussians import object_gaussians
from helpers.mesh_files import SIDES, cube, side, write_glb, write_obj, write_picture, write_ply

PALETTE = np.array([[230, 30, 30], [30, 200, 40], [40, 60, 220], [220, 210, 40], [200, 60, 210], [90, 90, 90]])
QUAD = np.array([[0, 1, 2], [0, 2, 3]])
QUAD_PLACE = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
CORNERS = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def plain(path: Path, **kwargs) -> LitMesh:
    return light_mesh(mesh_object(read_mesh(path), path.stem, **kwargs), None)


def seen(lit: LitMesh, direction, off=(0.0, 0.0, 0.0)) -> np.ndarray:
    """[3] sRGB bytes of what is seen from a direction of the file (y up), looking at a place off the middle."""
    eye = TO_Y_UP @ np.asarray(direction, float)
    at = TO_Y_UP @ np.asarray(off, float)
    hits = lit.obj.tracer.hits((at + 3 * eye)[None], -eye[None])
    assert hits.face[0] >= 0
    return np.rint(lit.shade(hits)[0] * 255)


def check_sides(lit: LitMesh) -> None:
    for name, color in zip(SIDES, PALETTE, strict=True):
        np.testing.assert_allclose(seen(lit, SIDES[name], (0.1, 0.05, 0.02)), color, atol=1.5)


# --- colours ---------------------------------------------------------------------------------------------------


def test_ply_colours_of_vertices_and_of_faces(tmp_path):
    vertices, faces = cube()
    colors = np.repeat(PALETTE, 4, 0)
    check_sides(plain(write_ply(tmp_path / "a.ply", vertices, faces, vertex_colors=colors)))
    # eight shared corners: colours of faces must not bleed
    shared, index = np.unique(vertices, axis=0, return_inverse=True)
    faces = index.reshape(-1)[faces]
    check_sides(plain(write_ply(tmp_path / "b.ply", shared, faces, face_colors=np.repeat(PALETTE, 2, 0))))


def test_obj_colours_of_vertices_and_materials(tmp_path):
    vertices, faces = cube()
    check_sides(plain(write_obj(tmp_path / "a.obj", vertices, faces, colors=np.repeat(PALETTE, 4, 0) / 255)))
    flat = plain(write_obj(tmp_path / "b.obj", vertices, faces, mtl="Kd 0.5 0.25 1.0"))
    np.testing.assert_allclose(seen(flat, SIDES["x"]), [128, 64, 255], atol=1.5)
    nothing = plain(write_obj(tmp_path / "c.obj", vertices, faces))
    np.testing.assert_allclose(seen(nothing, SIDES["y"]), 153, atol=1.5)


def test_gltf_factors_are_linear_and_pictures_are_not(tmp_path):
    vertices, faces = cube()
    flat = {"pbrMetallicRoughness": {"baseColorFactor": [0.2140, 1, 0.0021, 1]}}
    lit = plain(write_glb(tmp_path / "a.glb", [{"vertices": vertices, "faces": faces, "material": flat}]))
    np.testing.assert_allclose(seen(lit, SIDES["z"]), [128, 255, 7], atol=6)  # trimesh keeps 8 bits of the factor
    part = {"vertices": vertices, "faces": faces, "colors": np.tile([0.2140, 0.5, 1, 1], (24, 1))}
    np.testing.assert_allclose(seen(plain(write_glb(tmp_path / "b.glb", [part])), SIDES["z"]), [128, 188, 255], atol=2)
    picture = np.full((4, 4, 3), [100, 50, 250])
    part = {"vertices": vertices, "faces": faces, "uv": np.tile(CORNERS, (6, 1)), "material": {"image": picture}}
    np.testing.assert_allclose(seen(plain(write_glb(tmp_path / "c.glb", [part])), SIDES["z"]), [100, 50, 250], atol=1.5)
    part["material"] = {"image": picture, "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 1, 1]}}
    np.testing.assert_allclose(seen(plain(write_glb(tmp_path / "d.glb", [part])), SIDES["z"]), [100, 0, 250], atol=1.5)


@pytest.mark.parametrize("form", ["glb", "obj"])
def test_pictures_are_the_right_way_up(tmp_path, form):
    """A quad that faces +z with a picture of four colours: red upper left, green upper right, blue lower left."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32], picture[:32, 32:], picture[32:, :32] = [250, 0, 0], [0, 250, 0], [0, 0, 250]
    quad = side("z")  # from the lower left, counter-clockwise
    if form == "glb":
        down = CORNERS * [1, -1] + [0, 1]
        part = {"vertices": quad, "faces": QUAD, "uv": down, "material": {"image": picture}}
        lit = plain(write_glb(tmp_path / "a.glb", [part]))
    else:
        write_picture(tmp_path / "look.png", picture)
        lit = plain(write_obj(tmp_path / "a.obj", quad, QUAD, CORNERS, "Kd 0 0 0\nmap_Kd look.png"))
    for x, y, color in ((-1, 1, (250, 0, 0)), (1, 1, (0, 250, 0)), (-1, -1, (0, 0, 250)), (1, -1, (0, 0, 0))):
        np.testing.assert_allclose(seen(lit, SIDES["z"], (0.3 * x, 0.3 * y, 0)), color, atol=3)


def test_fine_pictures_are_averaged_as_light(tmp_path):
    """A board of black and white finer than any pixel is half as bright, which is 188 of 255."""
    board = np.where((np.indices((1024, 1024)).sum(0) % 2)[..., None], [255, 255, 255], [0, 0, 0])
    part = {"vertices": side("z"), "faces": QUAD, "uv": CORNERS, "material": {"image": board}}
    raw = read_mesh(write_glb(tmp_path / "a.glb", [part]))
    obj = mesh_object(raw, "board", pixels=64)
    assert obj.pictures[0].shape[0] < 200
    np.testing.assert_allclose(seen(light_mesh(obj, None), SIDES["z"], (0.2, 0.1, 0)), 188, atol=12)


# --- places ----------------------------------------------------------------------------------------------------


def test_scenes_of_many_nodes(tmp_path):
    """One mesh shown twice, moved, within a node that is turned and mirrored."""
    vertices, faces = cube()
    red = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}
    green = {"pbrMetallicRoughness": {"baseColorFactor": [0, 1, 0, 1]}}
    parts = [
        {"vertices": vertices, "faces": faces, "material": red},
        {"vertices": 0.5 * vertices, "faces": faces, "material": green},
    ]
    mirrored = np.diag([-1.0, 1, 1, 1])
    nodes = [
        {"children": [1, 2], "matrix": mirrored.T.ravel().tolist()},
        {"mesh": 0, "translation": [4, 0, 0]},
        {"mesh": 1, "translation": [0, 3, 0]},
        {"mesh": 0},
    ]
    raw = read_mesh(write_glb(tmp_path / "a.glb", parts, nodes))
    assert len(raw.faces) == 36
    np.testing.assert_allclose(raw.vertices.min(0), [-5, -1, -1], atol=1e-6)
    np.testing.assert_allclose(raw.vertices.max(0), [1, 3.5, 1], atol=1e-6)
    lit = light_mesh(mesh_object(raw, "a"), None)
    np.testing.assert_allclose(lit.obj.unit * lit.obj.radius, np.linalg.norm([3, 2.25, 1]), atol=1e-3)
    above = (np.array([0.0, 3, 0]) - lit.obj.center) / lit.obj.unit
    np.testing.assert_allclose(seen(lit, SIDES["y"], above), [0, 255, 0], atol=1)
    aside = (np.array([-4.0, 0.1, 0.1]) - lit.obj.center) / lit.obj.unit
    np.testing.assert_allclose(seen(lit, SIDES["z"], aside), [255, 0, 0], atol=1)


@pytest.mark.parametrize(("up", "top"), [("y", "y"), ("z", "z"), ("-y", "-y"), ("-z", "-z")])
def test_up(tmp_path, up, top):
    vertices, faces = cube()
    path = write_ply(tmp_path / "a.ply", vertices, faces, vertex_colors=np.repeat(PALETTE, 4, 0))
    lit = plain(path, up=up)
    hits = lit.obj.tracer.hits(np.array([[0.02, 0.05, 3.0]]), np.array([[0.0, 0, -1]]))
    np.testing.assert_allclose(lit.shade(hits)[0] * 255, PALETTE[list(SIDES).index(top)], atol=1.5)


# --- surfaces --------------------------------------------------------------------------------------------------


def test_normals_are_sharp_at_edges_and_smooth_elsewhere():
    vertices, faces = cube()
    shared, index = np.unique(vertices, axis=0, return_inverse=True)
    faces = index.reshape(-1)[faces]
    own = np.repeat(np.array(list(SIDES.values())), 6, 0)
    np.testing.assert_allclose(corner_normals(shared, faces), own, atol=1e-6)
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=2)
    np.testing.assert_allclose(corner_normals(ball.vertices, ball.faces), ball.vertices[ball.faces.ravel()], atol=0.05)


def test_inside_out_files_are_turned_over(tmp_path):
    vertices, faces = cube()
    lit = plain(write_ply(tmp_path / "a.ply", vertices, faces[:, ::-1]))
    obj = lit.obj
    corners = obj.vertices[obj.faces]
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert bool(((n * corners.mean(1)).sum(1) > 0).all())
    assert bool(((obj.normals * obj.vertices).sum(1) > 0).all())
    assert len(surface_points(lit, 500).coord) == 500


def test_sheets_without_thickness_have_two_sides(tmp_path):
    """The two are triangulated differently, so that no vertex tells."""
    colors = np.repeat([[250, 0, 0], [0, 0, 250]], 4, 0)
    back = np.array([[5, 4, 7], [5, 7, 6]])
    vertices = np.concatenate([side("z"), side("z")]) * [1, 1, 0]
    path = write_ply(tmp_path / "a.ply", vertices, np.concatenate([QUAD, back]), vertex_colors=colors)
    lit = plain(path)
    for off in np.random.default_rng(0).uniform(-0.6, 0.6, (40, 3)) * [1, 1, 0]:
        np.testing.assert_allclose(seen(lit, SIDES["z"], off), [250, 0, 0], atol=1.5)
        np.testing.assert_allclose(seen(lit, SIDES["-z"], off), [0, 0, 250], atol=1.5)


def test_rays_pass_through_cut_outs(tmp_path):
    leaf = np.zeros((32, 32, 4), np.uint8)
    leaf[:, 16:] = [0, 200, 0, 255]
    front = {"vertices": side("z"), "faces": QUAD, "uv": CORNERS}
    behind = {"vertices": side("z") * [1, 1, 0.5], "faces": QUAD}
    behind["material"] = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}
    masked = {**front, "material": {"image": leaf, "alphaMode": "MASK"}}
    lit = plain(write_glb(tmp_path / "a.glb", [masked, behind]))
    np.testing.assert_allclose(seen(lit, SIDES["z"], (-0.4, 0.1, 0)), [255, 0, 0], atol=2)
    np.testing.assert_allclose(seen(lit, SIDES["z"], (0.4, 0.1, 0)), [0, 200, 0], atol=2)
    opaque = {**front, "material": {"image": leaf}}
    lit = plain(write_glb(tmp_path / "b.glb", [opaque, behind]))
    np.testing.assert_allclose(seen(lit, SIDES["z"], (-0.4, 0.1, 0)), [0, 0, 0], atol=2)


def test_light_makes_sides_differ_and_the_same_pictures_every_time(tmp_path):
    vertices, faces = cube()
    path = write_ply(tmp_path / "a.ply", vertices, faces, vertex_colors=np.full((24, 3), 200))
    lit = light_mesh(mesh_object(read_mesh(path), "a"))
    shades = {name: seen(lit, direction, (0.1, 0.1, 0.1)).mean() for name, direction in SIDES.items()}
    assert shades["y"] > shades["z"] > shades["-z"] > 60 and shades["y"] < 256
    cameras = object_cameras(lit.obj, 4, 40, 40)
    color, alpha = render_object(lit, cameras, backgrounds=[(0, 0, 0)] * 4)
    again, _ = render_object(lit, cameras, backgrounds=[(0, 0, 0)] * 4)
    assert np.array_equal(color, again) and 0.2 < float(alpha.mean()) < 0.8
    gaussians = object_gaussians(lit, 100)
    assert float(gaussians.means.abs().max()) < 0.65


# --- refusals --------------------------------------------------------------------------------------------------


def test_unusable_meshes_are_refused(tmp_path):
    vertices, faces = cube()
    with pytest.raises(InputError, match="no such file"):
        read_mesh(tmp_path / "none.glb")
    with pytest.raises(InputError, match=r"a mesh as \.glb"):
        read_mesh(write_picture(tmp_path / "a.png", np.zeros((2, 2, 3))))
    for name in ("a.glb", "a.obj", "a.ply"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(InputError, match=r"readable|with faces"):
            read_mesh(tmp_path / name)
    with pytest.raises(InputError, match="with faces, found none"):
        read_mesh(write_ply(tmp_path / "p.ply", vertices, np.zeros((0, 3), int)))
    with pytest.raises(InputError, match="with faces, found none"):
        read_mesh(write_glb(tmp_path / "p.glb", [{"vertices": vertices, "faces": np.zeros((0, 3), int)}]))
    bad = vertices.copy()
    bad[3] = np.nan
    for path in (
        write_ply(tmp_path / "n.ply", bad, faces),
        write_glb(tmp_path / "n.glb", [{"vertices": bad, "faces": faces}]),
    ):
        with pytest.raises(InputError, match="1 of 24 with NaN or inf"):
            read_mesh(path)
    with pytest.raises(InputError, match="at one position"):
        read_mesh(write_ply(tmp_path / "o.ply", 0 * vertices, faces))


def test_missing_and_damaged_pictures_are_named(tmp_path):
    vertices, faces = cube()
    uv = np.tile(CORNERS, (6, 1))
    obj = write_obj(tmp_path / "a.obj", vertices, faces, uv, "map_Kd wood.png")
    with pytest.raises(InputError, match=r"the picture wood\.png beside it, found no such file"):
        read_mesh(obj)
    (tmp_path / "wood.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"the picture wood\.png, found a damaged one"):
        read_mesh(obj)
    write_picture(tmp_path / "wood.png", np.full((2, 2, 3), 77))
    np.testing.assert_allclose(seen(plain(obj), SIDES["z"]), 77, atol=1.5)
    obj.with_suffix(".mtl").unlink()
    with pytest.raises(InputError, match=r"the file a\.mtl beside it"):
        read_mesh(obj)
    part = {"vertices": vertices, "faces": faces, "uv": uv, "material": {"image": "cloth.jpg"}}
    with pytest.raises(InputError, match=r"the picture cloth\.jpg beside it"):
        read_mesh(write_glb(tmp_path / "b.glb", [part]))


# --- Draco -----------------------------------------------------------------------------------------------------


def draco_part(**more) -> dict:
    """A cube whose corners have normals, texture coordinates and colours."""
    vertices, faces = cube()
    normals = np.repeat(np.array(list(SIDES.values()), float), 4, 0)
    colors = np.column_stack([np.repeat(PALETTE, 4, 0), np.full(24, 255)]).astype(np.uint8)
    return {
        "vertices": vertices,
        "faces": faces,
        "normals": normals,
        "uv": np.tile(CORNERS, (6, 1)),
        "colors": colors,
    } | more


def corners(raw) -> np.ndarray:
    """[3 F, 12] position, normal, texture coordinate and colour of every corner, rows in an order of their own."""
    table = np.column_stack([raw.vertices, raw.normals, raw.uv, raw.color])[raw.faces].reshape(-1, 12)
    return table[np.lexsort(np.round(table, 2).T)]


MOVED = [{"children": [1], "translation": [5, 0, -2]}, {"mesh": 0, "scale": [2, 1, 0.5]}, {"mesh": 1}]
CHECKERS = {"image": np.arange(48).reshape(4, 4, 3) * 5, "pbrMetallicRoughness": {"baseColorFactor": [1, 0.5, 1, 1]}}


@pytest.mark.parametrize("material", [None, CHECKERS])
def test_draco_glb_reads_as_its_uncompressed_twin(tmp_path, material):
    part = draco_part() if material is None else draco_part(material=material)
    other = {"vertices": QUAD_PLACE, "faces": QUAD}  # an uncompressed mesh in the same file
    raw, twin = (
        read_mesh(write_glb(tmp_path / f"{draco}.glb", [{**part, "draco": draco}, other], MOVED))
        for draco in (True, False)
    )
    assert len(raw.faces) == len(twin.faces) == 14
    step = 2 * 2 / (1 << 14)  # one step of 14 bits over a cube of edge 2, times the node's scale of 2
    got, expected = corners(raw), corners(twin)
    np.testing.assert_allclose(got[:, :3], expected[:, :3], atol=step)
    np.testing.assert_allclose(got[:, 3:6], expected[:, 3:6], atol=0.02)
    np.testing.assert_allclose(got[:, 6:8], expected[:, 6:8], atol=1e-3)
    np.testing.assert_allclose(got[:, 8:], expected[:, 8:], atol=1e-6)
    assert len(raw.pictures) == len(twin.pictures) == (material is not None)
    assert (expected[:, 6:8] != 0).any() == (material is not None)


def test_draco_gltf_with_its_buffer_beside_it(tmp_path):
    content = write_glb(tmp_path / "a.glb", [draco_part(draco=True)]).read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    tree, blob = json.loads(content[20 : 20 + size]), content[28 + size :]
    expected = corners(read_mesh(tmp_path / "a.glb"))
    for name, uri in (("b", "b c.bin"), ("d", "data:;base64," + base64.b64encode(blob).decode())):
        tree["buffers"][0]["uri"] = uri.replace(" ", "%20")
        (tmp_path / f"{name}.gltf").write_text(json.dumps(tree))
        if name == "b":
            with pytest.raises(InputError, match=r"the file b c\.bin beside it, found no such file"):
                read_mesh(tmp_path / "b.gltf")
            (tmp_path / uri).write_bytes(blob)
        np.testing.assert_array_equal(corners(read_mesh(tmp_path / f"{name}.gltf")), expected)


def test_draco_damaged_or_without_its_package(tmp_path, monkeypatch, capsys):
    path = write_glb(tmp_path / "a.glb", [draco_part(draco=True)])
    (tmp_path / "other").mkdir()
    plain_file = write_glb(tmp_path / "other" / "plain.glb", [draco_part()])
    both = write_glb(tmp_path / "other" / "both.glb", [draco_part(draco="too")])
    content = path.read_bytes()
    at = content.index(b"DRACO")
    (tmp_path / "b.glb").write_bytes(content[:at] + b"\0" * 200 + content[at + 200 :])
    with pytest.raises(InputError, match=r"b\.glb: expected readable Draco-compressed geometry, found damaged data"):
        read_mesh(tmp_path / "b.glb")
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    assert main(["clipgs", "classify", str(path), "--labels", "box,ball"]) == 2
    said = capsys.readouterr().err
    assert 'pip install "gaussiancross[objects]"' in said and said.count("\n") == 1 and "Traceback" not in said
    assert main(["view", "--objects", str(path), "--port", "0"]) == 2
    for without_need in (plain_file, both):
        assert len(read_mesh(without_need).faces) == 12
