"""glTF with meshopt-compressed buffers, quantised attributes and KTX 2 textures."""

from __future__ import annotations

import json
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.app.cli import main
from gaussiancross.core.datasets.objects.meshes import read_mesh
from gaussiancross.core.datasets.objects.meshes.draco import chunks_of, glb_of
from gaussiancross.core.errors import InputError
from helpers.mesh_files import SIDES, cube, write_glb

ITEM = {5121: 1, 5123: 2, 5125: 4, 5126: 4}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
RED = {"image": np.full((4, 4, 3), (200, 30, 40)), "pbrMetallicRoughness": {}}


def cube_file(path: Path, **more) -> Path:
    vertices, faces = cube()
    normals = np.repeat(np.array(list(SIDES.values()), float), 4, 0)
    uv = np.tile([[0.0, 0], [1, 0], [1, 1], [0, 1]], (6, 1))
    return write_glb(path, [{"vertices": vertices, "faces": faces, "normals": normals, "uv": uv, **more}])


def quantised(path: Path) -> Path:
    """The file with positions in 16 bits, normalised, over −1 … 1."""
    text, blob = chunks_of(path.read_bytes())
    tree = json.loads(text)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    view = tree["bufferViews"][accessor["bufferView"]]
    values = np.frombuffer(blob[view["byteOffset"] : view["byteOffset"] + view["byteLength"]], "<f4").reshape(-1, 3)
    padded = np.zeros((len(values), 4), "<i2")
    padded[:, :3] = np.rint(values * 32767)
    tree["bufferViews"].append({"buffer": 0, "byteOffset": len(blob), "byteLength": padded.nbytes, "byteStride": 8})
    low, high = padded[:, :3].min(0).tolist(), padded[:, :3].max(0).tolist()
    accessor |= {"bufferView": len(tree["bufferViews"]) - 1, "componentType": 5122, "normalized": True}
    accessor |= {"min": low, "max": high}
    blob += padded.tobytes()
    tree["buffers"][0]["byteLength"] = len(blob)
    tree["extensionsUsed"] = tree["extensionsRequired"] = ["KHR_mesh_quantization"]
    out = path.with_name(f"quantised_{path.name}")
    out.write_bytes(glb_of(json.dumps(tree).encode(), blob))
    return out


def compressed(path: Path) -> Path:
    """The file as gltfpack writes it: every buffer view of an accessor compressed, with a fallback buffer."""
    meshopt = pytest.importorskip("meshopt")
    text, blob = chunks_of(path.read_bytes())
    tree, packed = json.loads(text), b""
    indices = {mesh["primitives"][0]["indices"] for mesh in tree["meshes"]}
    for i, accessor in enumerate(tree["accessors"]):
        view = tree["bufferViews"][accessor["bufferView"]]
        stride = view.get("byteStride", {5122: 2, **ITEM}[accessor["componentType"]] * WIDTH[accessor["type"]])
        rows = np.frombuffer(blob[view["byteOffset"] : view["byteOffset"] + view["byteLength"]], np.uint8)
        mode = "TRIANGLES" if i in indices else "ATTRIBUTES"
        values = rows.view("<u4") if i in indices else rows.reshape(-1, stride)
        data = meshopt.encode_gltf_buffer(values, mode)
        place = {"buffer": 0, "byteOffset": len(packed), "byteLength": len(data), "byteStride": stride}
        view["extensions"] = {"EXT_meshopt_compression": {**place, "count": len(values), "mode": mode}}
        view["buffer"] = 1
        packed += data + b"\0" * (-len(data) % 4)
    fallback = {"byteLength": len(blob), "extensions": {"EXT_meshopt_compression": {"fallback": True}}}
    tree["buffers"] = [{"byteLength": len(packed)}, fallback]
    tree["extensionsUsed"] = tree["extensionsRequired"] = [*tree.get("extensionsUsed", []), "EXT_meshopt_compression"]
    out = path.with_name(f"meshopt_{path.name}")
    out.write_bytes(glb_of(json.dumps(tree).encode(), packed))
    return out


def assert_same(raw, expected, step: float = 1e-6) -> None:
    corners, others = (np.sort(m.vertices[m.faces].reshape(-1, 3), axis=0) for m in (raw, expected))
    np.testing.assert_allclose(corners, others, atol=step)
    np.testing.assert_allclose(np.sort(raw.normals, axis=0), np.sort(expected.normals, axis=0), atol=1e-4)
    np.testing.assert_allclose(np.sort(raw.uv, axis=0), np.sort(expected.uv, axis=0), atol=1e-6)


def test_quantised_positions(tmp_path):
    plain = cube_file(tmp_path / "cube.glb")
    assert_same(read_mesh(quantised(plain)), read_mesh(plain), 1e-4)


def test_meshopt_reads_as_its_uncompressed_twin(tmp_path):
    plain = cube_file(tmp_path / "cube.glb")
    assert_same(read_mesh(compressed(plain)), read_mesh(plain))
    assert_same(read_mesh(compressed(quantised(plain))), read_mesh(plain), 1e-4)


def test_texture_transform(tmp_path):
    """Offset, scale and rotation of a texture, in the order of the specification: the example of its text."""
    path = cube_file(tmp_path / "cube.glb", material=RED)
    text, blob = chunks_of(path.read_bytes())
    tree = json.loads(text)
    moved = {"offset": [0, 1], "rotation": np.pi / 2, "scale": [0.5, 0.5]}  # turned by 90°, then halved
    texture = tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    texture["extensions"] = {"KHR_texture_transform": moved}
    tree["extensionsUsed"] = ["KHR_texture_transform"]
    (tmp_path / "moved.glb").write_bytes(glb_of(json.dumps(tree).encode(), blob))
    before, after = (read_mesh(tmp_path / name).uv for name in ("cube.glb", "moved.glb"))
    u, v = before[:, 0], 1 - before[:, 1]  # of glTF, from the upper left corner
    np.testing.assert_allclose(after, np.stack([0.5 * v, 1 - (1 - 0.5 * u)], 1), atol=1e-6)


def test_meshopt_without_the_package_names_it(tmp_path, monkeypatch, capsys):
    text, blob = chunks_of(cube_file(tmp_path / "cube.glb").read_bytes())
    tree = json.loads(text)
    place = {"buffer": 0, "byteLength": 8, "byteStride": 12, "count": 24, "mode": "ATTRIBUTES"}
    tree["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": place}
    tree["extensionsUsed"] = ["EXT_meshopt_compression"]
    (tmp_path / "packed.glb").write_bytes(glb_of(json.dumps(tree).encode(), blob))
    monkeypatch.setitem(sys.modules, "meshopt", None)
    assert main(["embed", str(tmp_path / "packed.glb"), "--out", str(tmp_path / "f.npy")]) == 2
    said = capsys.readouterr().err
    assert "packed.glb: expected the package meshopt, to read meshopt-compressed buffers" in said
    assert "pip install meshopt" in said


def test_ktx2_textures(tmp_path, monkeypatch):
    """The picture that the transcoder gives (a stand-in here) is the mesh's texture; else the package is named."""
    text, blob = chunks_of(cube_file(tmp_path / "cube.glb", material=RED).read_bytes())
    tree, stored = json.loads(text), b"\xabKTX 20\xbb\r\n\x1a\n content"
    tree["bufferViews"].append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(stored)})
    tree["images"] = [{"bufferView": len(tree["bufferViews"]) - 1, "mimeType": "image/ktx2"}]
    tree["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    tree["extensionsUsed"] = tree["extensionsRequired"] = ["KHR_texture_basisu"]
    tree["buffers"][0]["byteLength"] = len(blob) + len(stored)
    (tmp_path / "basis.glb").write_bytes(glb_of(json.dumps(tree).encode(), blob + stored))
    monkeypatch.setitem(sys.modules, "opengl_basisu", None)
    with pytest.raises(InputError, match="the package opengl-basisu, to read KTX 2 textures"):
        read_mesh(tmp_path / "basis.glb")

    def transcode(target):
        pixels = np.tile(np.uint8([10, 200, 30, 255]), (8, 1))
        return types.SimpleNamespace(width=4, height=2, data=pixels.tobytes())

    def opened(content):
        assert content == stored
        return types.SimpleNamespace(transcode=transcode)

    monkeypatch.setitem(sys.modules, "opengl_basisu", types.SimpleNamespace(open=opened))
    (picture,) = read_mesh(tmp_path / "basis.glb").pictures
    assert picture.shape == (2, 4, 4) and (picture == [10, 200, 30, 255]).all()


@pytest.mark.parametrize("change", [{"count": 10**9}, {"count": -3}, {"byteStride": 2}, {"type": "VEC9"}])
def test_damaged_quantised_files_are_refused(tmp_path, change):
    text, blob = chunks_of(quantised(cube_file(tmp_path / "cube.glb")).read_bytes())
    tree = json.loads(text)
    target = tree["bufferViews"][-1] if "byteStride" in change else tree["accessors"][0]
    target |= change
    (tmp_path / "bad.glb").write_bytes(glb_of(json.dumps(tree).encode(), blob))
    with pytest.raises(InputError, match=r"bad\.glb"):
        read_mesh(tmp_path / "bad.glb")


def test_truncated_files_are_refused(tmp_path):
    content = quantised(cube_file(tmp_path / "cube.glb")).read_bytes()
    for end in range(20, len(content), 97):
        size = struct.pack("<I", end)
        (tmp_path / "cut.glb").write_bytes(content[:8] + size + content[12:end])
        with pytest.raises(InputError, match=r"cut\.glb"):
            read_mesh(tmp_path / "cut.glb")
