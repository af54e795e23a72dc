"""Captures in every layout as the commands take them."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.app import cli
from gaussiancross.app.scenes.open import SceneSpec, open_scene
from gaussiancross.core.datasets import Capture
from gaussiancross.core.io import read_splats
from helpers import rewritten
from helpers.capture import write_export
from helpers.docs_workspace import SMALL_PRETRAINING
from helpers.networks import small_model
from helpers.rewritten import Source

LAYOUTS = ("export", "nerfstudio", "colmap", "tum", "seven_scenes", "polycam", "open3d")


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The box room in every layout, COLMAP's with trained splats, and a small model."""
    folder = tmp_path_factory.mktemp("layouts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        source: Source = rewritten.some_frames(write_export(folder / "box", suffix="jpg", count=6), 6)
        for name in LAYOUTS:
            getattr(rewritten, f"as_{name}")(source, folder / name)
        rewritten.add_splats(folder / "colmap", Capture(source.folder, holdout=0, up_axis="z").scene(0), 0.02)
        small_model().save_pretrained(folder / "model")
        yield folder


@pytest.mark.parametrize("layout", LAYOUTS)
class TestEveryLayout:
    def test_view_and_query_open_it(self, captures: Path, layout: str) -> None:
        spec = SceneSpec(str(captures / layout), teacher="none")
        state = open_scene(spec).source.load(0)
        assert state.points is not None and len(state.points) > 1000 and state.frames is not None
        assert open_scene(SceneSpec(str(captures / layout), needs_features=True)).kind == "model"

    def test_embed(self, captures: Path, tmp_path: Path, layout: str) -> None:
        words = [str(captures / layout), "--out", str(tmp_path / "f.npy"), "--model", str(captures / "model")]
        assert cli.main(["embed", *words, "--device", "cpu"]) == 0
        assert np.isfinite(np.load(tmp_path / "f.npy")).all()


PRETRAINED = [pytest.param(n, marks=[] if n == "colmap" else [pytest.mark.slow]) for n in LAYOUTS]


@pytest.mark.parametrize("layout", PRETRAINED)
def test_pretrain_and_export_of_its_gaussians(captures: Path, tmp_path: Path, layout: str) -> None:
    words = ["tiny", "--data", str(captures / layout), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]
    assert cli.main(["pretrain", *words, *shlex.split(SMALL_PRETRAINING)]) == 0
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out.glb"), "--device", "cpu"]) == 0
    up = read_splats(tmp_path / "out.glb").gaussians.means
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out.ply"), "--device", "cpu"]) == 0
    means = read_splats(tmp_path / "out.ply").gaussians.means
    x, y, z = means.T
    assert np.allclose(up, np.stack([x, z, -y], 1), atol=1e-4)  # glTF has y up, runs have z up
