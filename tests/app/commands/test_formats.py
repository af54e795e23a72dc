"""Files of splats and points as the commands take and write them: the cells of the table in docs/data.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.app.scenes.open import SceneSpec, open_scene
from gaussiancross.app.scenes.uploads import read_upload
from gaussiancross.core.io import SplatData, mesh_points, read_points, read_splats, write_splats
from helpers.networks import small_model
from helpers.point_files import POINT_ENDINGS, write_as
from helpers.scenes import room
from helpers.splat_files import make_gaussians

ENDINGS = ("ply", "compressed.ply", "splat", "spz", "sog", "glb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file per format of splats, and a small model."""
    folder = tmp_path_factory.mktemp("formats")
    harmonics = torch.rand(300, 3, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    data = SplatData(make_gaussians(300, 16), harmonics, np.arange(300) % 3)
    for ending in ENDINGS:
        write_splats(folder / f"scene.{ending}", data)
    small_model().save_pretrained(folder / "model")
    return folder


@pytest.mark.parametrize("ending", ENDINGS)
class TestEveryFormat:
    def test_view_opens_the_file_and_the_upload(self, folder: Path, ending: str) -> None:
        path = folder / f"scene.{ending}"
        opened = open_scene(SceneSpec(str(path))).source.load(0)
        uploaded = read_upload(f"my {path.name}", path.read_bytes())
        for state in (opened, uploaded):
            assert state.gaussians is not None and len(state.gaussians) == 300

    def test_embed(self, folder: Path, tmp_path: Path, ending: str) -> None:
        out = tmp_path / "f.npy"
        words = [str(folder / f"scene.{ending}"), "--out", str(out), "--model", str(folder / "model")]
        assert cli.main(["embed", *words, "--points", str(tmp_path / "p.ply"), "--device", "cpu"]) == 0
        assert len(np.load(out)) == len(read_points(tmp_path / "p.ply")) == 300

    def test_export_keeps_what_both_formats_keep(self, folder: Path, tmp_path: Path, ending: str) -> None:
        source = read_splats(folder / f"scene.{ending}")
        out = tmp_path / "out.glb"
        features = ["--features"] if source.gaussians.features is not None else []
        assert cli.main(["export", str(folder / f"scene.{ending}"), str(out), *features]) == 0
        back = read_splats(out)
        assert torch.equal(back.gaussians.means, source.gaussians.means)
        assert (back.sh is None) == (source.sh is None) and (back.labels is None) == (source.labels is None)
        if source.sh is not None and back.sh is not None:
            assert torch.equal(back.sh, source.sh)
        assert (back.gaussians.features is None) == (source.gaussians.features is None)

    def test_export_to_it(self, folder: Path, tmp_path: Path, ending: str) -> None:
        out = tmp_path / f"out.{ending}"
        assert cli.main(["export", str(folder / "scene.ply"), str(out)]) == 0
        assert len(read_splats(out)) == 300


@pytest.mark.parametrize("ending", ["ply", "glb"])
def test_query_searches_features_of_the_file(folder: Path, tmp_path: Path, ending: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    np.save(tmp_path / "text.npy", vectors)
    (tmp_path / "text_names.json").write_text(json.dumps(["a chair", "a lamp", "object"]))
    words = [str(folder / f"scene.{ending}"), "a chair", "--text-vectors", str(tmp_path / "text.npy")]
    small = ["--views", "1", "--width", "64", "--out", str(tmp_path / "out")]
    assert cli.main(["query", *words, *small]) == 0
    assert len(read_splats(tmp_path / "out" / "labels.ply")) == 300


@pytest.mark.parametrize("ending", ENDINGS)
def test_query_of_splats_uses_the_bundled_model_if_asked(folder: Path, ending: str) -> None:
    spec = SceneSpec(str(folder / f"scene.{ending}"), features_from="model", needs_features=True)
    assert open_scene(spec).kind == "model"


def test_query_of_a_format_without_features_says_what_to_do(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["query", str(folder / "scene.spz"), "a chair"]) == 2
    assert "scene.spz: expected features as properties" in capsys.readouterr().err


def test_features_need_a_format_that_keeps_them(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["export", str(folder / "scene.ply"), str(tmp_path / "o.sog"), "--features"]) == 2
    assert "a .ply or .glb to write" in capsys.readouterr().err


@pytest.mark.parametrize("ending", POINT_ENDINGS)
class TestEveryFormatOfPoints:
    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mesh_points, "COUNT", 1000)

    @pytest.fixture
    def path(self, tmp_path: Path, ending: str) -> Path:
        write_as(tmp_path / f"scan.{ending}", room(1000))
        return tmp_path / f"scan.{ending}"

    def test_view_opens_the_file_and_the_upload(self, path: Path) -> None:
        opened = open_scene(SceneSpec(str(path))).source.load(0)
        for state in (opened, read_upload(path.name, path.read_bytes())):
            assert state.points is not None and len(state.points) == 1000

    def test_embed_says_what_it_assumed(self, folder: Path, path: Path, tmp_path: Path, capsys) -> None:
        words = [str(path), "--out", str(tmp_path / "f.npy"), "--model", str(folder / "model"), "--device", "cpu"]
        assert cli.main(["embed", *words]) == 0
        assert np.isfinite(np.load(tmp_path / "f.npy")).all()
        said = " ".join("".join(capsys.readouterr()).split())
        assert "is taken as up" in said
        assert ("no normals" in said) == (path.suffix in (".las", ".laz", ".e57"))

    def test_query_uses_the_bundled_model(self, path: Path) -> None:
        opened = open_scene(SceneSpec(str(path), needs_features=True))
        assert opened.kind == "model" and opened.encoder is not None

    def test_export_writes_the_points(self, path: Path, tmp_path: Path) -> None:
        assert cli.main(["export", str(path), str(tmp_path / "out.ply")]) == 0
        assert len(read_points(tmp_path / "out.ply")) == 1000


def test_query_searches_points_alone(tmp_path: Path) -> None:
    write_as(tmp_path / "scan.pcd", room(1000))
    small = ["--views", "1", "--width", "64", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(["query", str(tmp_path / "scan.pcd"), "a chair", "--up", "z", *small]) in (0, 1)
    answer = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert answer["field"] == "model" and answer["count"] > 0


def test_up_turns_the_points_before_they_are_encoded(folder: Path, tmp_path: Path) -> None:
    scene = room(1000)
    np.save(tmp_path / "z.npy", np.column_stack([scene.coord, scene.color, scene.normal]))
    x, y, z = scene.coord.T
    nx, ny, nz = scene.normal.T
    np.save(tmp_path / "y.npy", np.column_stack([x, z, -y, scene.color, nx, nz, -ny]))
    features = []
    for name, up in (("z", "z"), ("y", "y")):
        words = [str(tmp_path / f"{name}.npy"), "--out", str(tmp_path / f"f{name}.npy"), "--up", up]
        assert cli.main(["embed", *words, "--model", str(folder / "model"), "--device", "cpu"]) == 0
        features.append(np.load(tmp_path / f"f{name}.npy"))
    np.testing.assert_allclose(*features, atol=1e-4)


def test_points_without_colours_are_embedded_in_grey(folder: Path, tmp_path: Path, capsys) -> None:
    np.savetxt(tmp_path / "a.xyz", room(500).coord)
    words = [str(tmp_path / "a.xyz"), "--out", str(tmp_path / "f.npy"), "--model", str(folder / "model")]
    assert cli.main(["embed", *words, "--device", "cpu"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "no colours" in said and "no normals" in said
