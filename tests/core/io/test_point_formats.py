"""Points as PCD, LAS, LAZ, E57, text and arrays, and meshes: values, foreign forms, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import mesh_points
from gaussiancross.core.io.pcd import decode_lzf
from helpers.point_files import POINT_ENDINGS, lzf, write_as, write_pcd
from helpers.scenes import room
from helpers.splat_files import some_cuts

MESHES = ("obj", "glb")


@pytest.mark.parametrize("ending", [e for e in POINT_ENDINGS if e not in MESHES])
def test_points_colours_and_normals_are_those_written(tmp_path: Path, ending: str) -> None:
    scene, path = room(400), tmp_path / f"a.{ending}"
    write_as(path, scene)
    back = PointScene.load(path)
    assert np.abs(back.coord - scene.coord).max() < 1e-4
    assert (back.color == scene.color).all()
    if ending in ("las", "laz", "e57"):  # without normals: estimated
        assert back.normal.any()
    else:
        assert np.abs(back.normal - scene.normal).max() < 1e-5


@pytest.mark.parametrize("ending", MESHES)
def test_meshes_are_sampled_with_their_colours(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_points, "COUNT", 2000)
    scene = room(200)
    scene.color[:] = [200, 100, 50]
    write_as(tmp_path / f"a.{ending}", scene)
    back = PointScene.load(tmp_path / f"a.{ending}")
    assert len(back) == 2000 and np.allclose(np.linalg.norm(back.normal, axis=1), 1, atol=1e-4)
    distance = np.linalg.norm(back.coord[:, None] - scene.coord[None], axis=2).min(1)
    assert distance.max() < 0.003
    # glTF stores linear vertex colours, which the writer took for sRGB.
    assert np.abs(back.color[:, 0].astype(int) - 200).max() <= (2 if ending == "obj" else 40)


@pytest.mark.parametrize("form", ["ascii", "binary", "binary_compressed"])
def test_every_form_of_pcd(tmp_path: Path, form: str) -> None:
    scene = room(300)
    write_pcd(tmp_path / "a.pcd", scene, form)
    back = PointScene.load(tmp_path / "a.pcd")
    assert np.allclose(back.coord, scene.coord) and (back.color == scene.color).all()
    content = (tmp_path / "a.pcd").read_bytes()
    for cut in some_cuts(len(content))[::3]:
        if form == "ascii" and len(content) - cut < 30:
            continue  # a shorter last number is a number, too
        (tmp_path / "cut.pcd").write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"cut\.pcd"):
            PointScene.load(tmp_path / "cut.pcd")


def test_lzf_equals_a_plain_decoder() -> None:
    def plain(block: bytes) -> bytes:
        out, i = bytearray(), 0
        while i < len(block):
            control = block[i]
            if control < 32:
                out += block[i + 1 : i + 2 + control]
                i += 2 + control
                continue
            length, i = control >> 5, i + 1
            if length == 7:
                length, i = 7 + block[i], i + 1
            start = len(out) - ((control & 31) << 8) - block[i] - 1
            i += 1
            for k in range(length + 2):
                out.append(out[start + k])
        return bytes(out)

    rng = np.random.default_rng(0)
    for _ in range(20):
        content = np.repeat(rng.integers(0, 4, 60), rng.integers(1, 200, 60)).astype(np.uint8).tobytes()
        block = lzf(content)
        out = np.zeros(len(content), np.uint8)
        assert decode_lzf(np.frombuffer(block, np.uint8), out) == len(content)
        assert out.tobytes() == plain(block) == content
    assert decode_lzf(np.array([0, 1, 32, 9], np.uint8), np.zeros(9, np.uint8)) == -1  # a copy from before the start


def test_large_coordinates_become_relative_and_nan_is_dropped(tmp_path: Path) -> None:
    scene = room(200)
    rows = np.column_stack([np.add(scene.coord, [500_000.0, 5_400_000.0, 0.0]), scene.color])
    rows[7, 2] = np.nan
    np.save(tmp_path / "a.npy", rows)
    with pytest.warns(UserWarning) as caught:
        back = PointScene.load(tmp_path / "a.npy")
    said = " ".join(str(w.message) for w in caught)
    assert "relative to (500001, 5400001, 0)" in said and "dropped 1 of 200 points" in said
    kept = np.delete(scene.coord, 7, 0)
    assert np.abs((back.coord - back.coord[0]) - (kept - kept[0])).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pcd", b"VERSION 0.7\nFIELDS x y\nSIZE 4 4\nTYPE F F\nPOINTS 1\nDATA binary\n12345678", "no z"),
        ("a.pcd", b"FIELDS x y z\nSIZE 4 4\nTYPE F F F\nPOINTS 1\nDATA ascii\n1 2 3\n", "that agree"),
        ("a.pcd", b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nPOINTS 900000000000\nDATA binary\n", "10800000000000 bytes"),
        ("a.las", b"LASF nothing", "a LAS or LAZ file"),
        ("a.laz", b"", "a LAS or LAZ file"),
        ("a.e57", b"ASTM-E57 nothing", "an E57 file"),
        ("a.obj", b"v 1 2 3\n", "a mesh with faces"),
        ("a.xyz", b"1 2\n3 4\n", "columns x y z"),
    ],
)
def test_unusable_files_are_refused_in_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if name.endswith(("las", "laz", "e57")):
        pytest.importorskip("pye57" if name.endswith("e57") else "laspy")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        PointScene.load(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))


def test_a_truncated_las_is_refused(tmp_path: Path) -> None:
    write_as(tmp_path / "a.las", room(100))
    content = (tmp_path / "a.las").read_bytes()
    (tmp_path / "a.las").write_bytes(content[:-40])
    with pytest.raises(InputError, match="for 100 points"):
        PointScene.load(tmp_path / "a.las")
