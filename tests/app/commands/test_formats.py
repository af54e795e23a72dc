"""Files of splats as the commands take and write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.app.scenes.open import SceneSpec, open_scene
from gaussiancross.app.scenes.uploads import read_upload
from gaussiancross.core.io import SplatData, read_points, read_splats, write_splats
from helpers.networks import small_model
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


def test_query_of_a_format_without_features_says_what_to_do(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["query", str(folder / "scene.spz"), "a chair"]) == 2
    assert "scene.spz: expected features as properties" in capsys.readouterr().err


def test_features_need_a_format_that_keeps_them(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["export", str(folder / "scene.ply"), str(tmp_path / "o.sog"), "--features"]) == 2
    assert "a .ply or .glb to write" in capsys.readouterr().err
