"""`gaussiancross prepare objects`: files of every kind → renders, captions, Gaussians, triplets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.app.commands.prepare import main
from gaussiancross.app.render.contact_sheet import SheetFile, file_sheet
from gaussiancross.core.datasets.objects.files import find_object_files
from gaussiancross.core.datasets.objects.triplets import Triplets
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.io.ply import read_gaussians, write_gaussians
from gaussiancross.core.io.renders import read_renders, write_renders
from gaussiancross.core.splat import rasterize
from helpers.mesh_files import cube, write_glb, write_obj, write_picture, write_ply
from helpers.paths import SHARED_DATA
from PIL import Image

VIEWS, SIZE, COUNT = 6, 40, 150
OPTIONS = ("--views", VIEWS, "--size", SIZE, "--gaussians", COUNT, "--iterations", 12, "--device", "cpu")
FURNITURE = SHARED_DATA / "objects" / "furniture"


def prepare(raw: Path, out: Path, *more: object) -> int:
    return main([str(a) for a in ("objects", raw, "--out", out, *OPTIONS, "--workers", 1, *more)])


def ball(count: int = 400) -> Gaussians:
    """Somebody's captured object: red above (y), blue below, far from the origin."""
    g = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=g), dim=1)
    colors = torch.where(means[:, 1:2] > 0, torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1]))
    quats, scales = torch.tensor([1.0, 0, 0, 0]).repeat(count, 1), torch.full((count, 3), 0.15)
    return Gaussians(3 * means + torch.tensor([20.0, 0, 5]), quats, 3 * scales, torch.full((count,), 0.9), colors)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Four objects, and three that cannot be used."""
    root = tmp_path_factory.mktemp("raw")
    vertices, faces = cube()
    top = np.repeat([[200, 40, 40], [200, 40, 40], [40, 200, 40], [200, 40, 40], [40, 40, 200], [200, 40, 40]], 4, 0)
    write_ply(root / "redBox2.ply", vertices * [1, 0.5, 0.7], faces, vertex_colors=top)
    (root / "lamps").mkdir()
    yellow = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0.8, 0.1, 1]}}
    write_glb(
        root / "lamps" / "tall_lamp.glb", [{"vertices": vertices * [0.2, 1, 0.2], "faces": faces, "material": yellow}]
    )
    write_picture(root / "wood.png", np.full((4, 4, 3), [150, 100, 50]))
    uv = np.tile([[0.0, 0], [1, 0], [1, 1], [0, 1]], (6, 1))
    write_obj(root / "crate.obj", vertices, faces, uv, "map_Kd wood.png")
    (root / "lamps" / "val" / "17").mkdir(parents=True)
    write_gaussians(root / "lamps" / "val" / "17" / "point_cloud.ply", ball())
    write_ply(root / "points.ply", vertices, np.zeros((0, 3), int))
    write_obj(root / "bare.obj", vertices, faces, uv, "map_Kd lost.png")
    write_gaussians(root / "few.ply", ball(4))
    return root


@pytest.fixture(scope="module")
def out(raw, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "objects"
    assert prepare(raw, out) == 0
    return out


# --- what is found ---------------------------------------------------------------------------------------------


def test_names_captions_classes_and_splits(raw, tmp_path):
    found = {o.id: o for o in find_object_files(raw)}
    assert set(found) == {
        "redBox2",
        "lamps__tall_lamp",
        "crate",
        "lamps__val__17__point_cloud",
        "points",
        "bare",
        "few",
    }
    assert (found["redBox2"].caption, found["redBox2"].class_name) == ("red box", "red box")
    assert (found["lamps__tall_lamp"].caption, found["lamps__tall_lamp"].class_name) == ("tall lamp", "lamps")
    captured = found["lamps__val__17__point_cloud"]
    assert (captured.split, captured.class_name, captured.is_splat) == ("val", "lamps", True)
    assert captured.caption == "lamps"
    assert not found["points"].is_splat and {o.split for o in found.values() if o is not captured} == {"train"}
    said = {
        "crate": ["a crate", "another"],
        "lamps/tall_lamp.glb": {"caption": "a lamp", "class": "lamp", "split": "test"},
    }
    (tmp_path / "said.json").write_text(json.dumps(said))
    found = {o.id: o for o in find_object_files(raw, tmp_path / "said.json", val=0.5)}
    lamp = found["lamps__tall_lamp"]
    assert (lamp.caption, lamp.class_name, lamp.split) == ("a lamp", "lamp", "test")
    assert found["crate"].caption == "a crate"
    assert {o.split for o in found.values()} == {"train", "val", "test"}
    assert [o.id for o in find_object_files(raw, only=("crate.obj", "few"))] == ["crate", "few"]


def test_names_that_clash_keep_their_endings(tmp_path):
    vertices, faces = cube()
    write_ply(tmp_path / "a.ply", vertices, faces)
    write_obj(tmp_path / "a.obj", vertices, faces)
    assert [o.id for o in find_object_files(tmp_path)] == ["a.obj", "a.ply"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a damaged one"),
        ("[]", "a JSON object of names"),
        ('{"crate": 3}', "another for 'crate'"),
        ('{"crate": {"color": "red"}}', "another for 'crate'"),
        ('{"nothing": "a thing"}', "found 'nothing'"),
    ],
)
def test_caption_files_that_cannot_be_used(raw, tmp_path, content, message):
    (tmp_path / "said.json").write_text(content)
    with pytest.raises(InputError, match=message):
        find_object_files(raw, tmp_path / "said.json")


def test_nothing_to_find(tmp_path, raw):
    with pytest.raises(InputError, match="no such folder"):
        find_object_files(tmp_path / "none")
    with pytest.raises(InputError, match="none in it"):
        find_object_files(tmp_path)
    with pytest.raises(InputError, match=r"objects in .*, found chair"):
        find_object_files(raw, only=("chair",))
    with pytest.raises(InputError, match="a folder outside"):
        prepare(raw, raw / "out")


# --- what is made ----------------------------------------------------------------------------------------------


def test_every_object_has_a_folder_and_bad_ones_are_listed(out):
    bad = json.loads((out / "bad.json").read_text())
    assert set(bad) == {"points", "bare", "few"}
    assert "with faces, found none" in bad["points"] and "lost.png beside it" in bad["bare"]
    assert "at least 64 Gaussians, found 4" in bad["few"]
    index = json.loads((out / "objects.json").read_text())["objects"]
    assert {o["id"] for o in index} == {"redBox2", "lamps__tall_lamp", "crate", "lamps__val__17__point_cloud"}
    for entry in index:
        folder = (out / entry["file"]).parent
        about = json.loads((folder / "object.json").read_text())
        gaussians = read_gaussians(out / entry["file"])
        assert len(gaussians) == about["gaussians"]
        assert read_renders(folder).shape == (VIEWS, SIZE, SIZE, 3)
        assert len(entry["psnr"]) == (0 if about["kind"] == "gaussians" else 1)
    assert not (out / ".partial").exists()
    with Image.open(out / "contact.png") as sheet:
        assert sheet.width > 4 * 2 * 128


def test_gaussians_are_upright_in_the_unit_ball_and_look_like_the_renders(out):
    folder = out / "objects" / "redBox2"
    g = read_gaussians(folder / "point_cloud.ply")
    assert 50 < len(g) <= COUNT and 0.9 < float(g.means.norm(dim=1).max()) < 1.15
    extent = np.ptp(g.means.numpy(), axis=0)
    np.testing.assert_allclose(extent / extent[0], [1, 0.5, 0.7], atol=0.08)
    above, before = (g.colors[g.means[:, k] > 0.95 * g.means[:, k].max()].mean(0) for k in (1, 2))
    assert above.argmax() == 1 and before.argmax() == 2  # green above, blue in front (+z), as in the file
    index = json.loads((folder / "transforms.json").read_text())
    flip = torch.tensor([1.0, -1, -1, 1])
    poses = torch.stack([torch.tensor(f["transform_matrix"]) * flip for f in index["frames"]])
    K = torch.tensor([[index["fl_x"], 0, index["cx"]], [0, index["fl_y"], index["cy"]], [0, 0, 1]])
    seen = rasterize(g, torch.linalg.inv(poses), K.repeat(VIEWS, 1, 1), SIZE, SIZE, background=torch.ones(3)).color
    error = (seen - torch.from_numpy(read_renders(folder)) / 255).square().mean()
    assert float(-10 * torch.log10(error)) > 17
    about = json.loads((folder / "object.json").read_text())
    assert about["held_out"] == [0] and about["faces"] == 12 and about["kind"] == "mesh"
    assert about["center"] == [0, 0, 0] and about["unit"] == pytest.approx(np.linalg.norm([1, 0.5, 0.7]))


def test_gaussians_come_in_as_they_are(raw, out):
    folder = out / "objects" / "lamps__val__17__point_cloud"
    given = raw / "lamps" / "val" / "17" / "point_cloud.ply"
    assert (folder / "point_cloud.ply").read_bytes() == given.read_bytes()
    pictures = read_renders(folder).astype(int)
    upper, lower = pictures[:, SIZE // 4 : SIZE // 3, SIZE // 2], pictures[:, 2 * SIZE // 3 : 3 * SIZE // 4, SIZE // 2]
    level = [1, 2]  # cameras near the horizon
    assert (upper[level, :, 0] > upper[level, :, 2]).all() and (lower[level, :, 2] > lower[level, :, 0]).all()


def test_the_same_command_goes_on(raw, out, capsys):
    folder = out / "objects" / "crate"
    times = {p: p.stat().st_mtime_ns for p in out.rglob("point_cloud.ply")}
    assert prepare(raw, out) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("point_cloud.ply")} == times
    os.truncate(folder / "images" / "003.png", 40)
    (out / "objects" / "redBox2" / "object.json").write_text("{")
    (out / "objects" / "lamps__tall_lamp" / "images" / "005.png").unlink()
    capsys.readouterr()
    assert prepare(raw, out) == 0
    said = capsys.readouterr().out
    assert said.count("again: ") == 3
    now = {p: p.stat().st_mtime_ns for p in out.rglob("point_cloud.ply")}
    assert sum(now[p] != times[p] for p in times) == 3
    assert prepare(raw, out, "--plain", "--only", "crate") == 0
    assert "again: crate: made with other options" in capsys.readouterr().out


def test_triplets(raw, out, capsys):
    said = {
        "crate": "brown box",
        "redBox2": "red box",
        "lamps__tall_lamp": "a lamp",
        "lamps__val__17__point_cloud": "gnu",
    }
    (raw.parent / "said.json").write_text(json.dumps({k: {"caption": v, "class": v} for k, v in said.items()}))
    assert prepare(raw, out, "--captions", raw.parent / "said.json", "--tower", "builtin") == 0
    text = capsys.readouterr().out
    assert "left out: lamps__val__17__point_cloud, 'gnu': Unknown phrase 'gnu'" in text.replace("\n", " ")
    assert "zero-shot over its class names" in text
    triplets = Triplets(out)
    assert (len(triplets), triplets.views, triplets.tower) == (3, VIEWS, "builtin")
    assert len(triplets.gaussians(0)) > 50 and sorted(triplets.classes) == ["a lamp", "brown box", "red box"]
    assert cli.main(["clipgs", "triplets", str(out)]) == 0
    assert "(0 embedded now)" in capsys.readouterr().out
    assert cli.main(["clipgs", "triplets", str(raw)]) == 2
    assert "prepared objects" in capsys.readouterr().err


def test_nothing_usable_is_an_error(raw, tmp_path):
    with pytest.raises(InputError, match="objects that can be used, found none of 2"):
        prepare(raw, tmp_path / "o", "--only", "points", "few")


# --- files -----------------------------------------------------------------------------------------------------


def test_renders_come_back(tmp_path):
    rng = np.random.default_rng(0)
    alpha = rng.choice([0.0, 0.5, 1.0], (2, 8, 6)).astype(np.float32)
    color = np.rint(rng.uniform(0, 255, (2, 8, 6, 3)) * alpha[..., None]).astype(np.uint8)
    eye = torch.eye(4).repeat(2, 1, 1)
    cameras = Cameras(eye, torch.tensor([[9.0, 0, 3], [0, 9, 4], [0, 0, 1]]).repeat(2, 1, 1), 6, 8)
    write_renders(tmp_path, cameras, color, alpha)
    np.testing.assert_allclose(read_renders(tmp_path, 0.0).astype(int), color, atol=1)
    white = color + 255 * (1 - alpha[..., None])
    np.testing.assert_allclose(read_renders(tmp_path).astype(int), white, atol=2)
    (tmp_path / "images" / "001.png").unlink()
    with pytest.raises(InputError, match=r"001\.png.*no such file"):
        read_renders(tmp_path)
    (tmp_path / "transforms.json").write_text("{}")
    with pytest.raises(InputError, match="a damaged file"):
        read_renders(tmp_path)
    with pytest.raises(InputError, match="cameras of images, found no such file"):
        read_renders(tmp_path / "none")


def test_sheets_shorten_long_names(tmp_path):
    Image.new("RGB", (60, 30)).save(tmp_path / "a.png")
    sheet = file_sheet([SheetFile(tmp_path / "a.png", "a" * 400, "30.1 dB")] * 5, height=30, columns=3)
    assert sheet.size == (3 * 70 + 10, 2 * 60 + 10)


# --- the furniture ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not FURNITURE.is_dir(), reason="needs the furniture of shared/data")
def test_furniture(tmp_path):
    only = ("chairCushion", "pottedPlant")
    args = (
        "objects",
        FURNITURE,
        "--out",
        tmp_path,
        "--only",
        *only,
        "--preset",
        "fast",
        "--device",
        "cpu",
        "--workers",
        1,
    )
    assert main([str(a) for a in args]) == 0
    for name in only:
        about = json.loads((tmp_path / "objects" / name / "object.json").read_text())
        assert np.median(about["psnr"]) > 26 and about["gaussians"] <= 10_000


def test_draco_compressed_meshes_are_prepared(tmp_path):
    vertices, faces = cube()
    (tmp_path / "raw").mkdir()
    write_glb(tmp_path / "raw" / "box.glb", [{"vertices": vertices, "faces": faces, "draco": True}])
    assert prepare(tmp_path / "raw", tmp_path / "out") == 0
    assert [o["id"] for o in json.loads((tmp_path / "out" / "objects.json").read_text())["objects"]] == ["box"]
