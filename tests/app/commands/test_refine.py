"""`gaussiancross refine`: Gaussians of a scene optimised against its frames."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.core.io import read_gaussians, write_points
from gaussiancross.core.io.images import read_color
from helpers.capture import write_export
from helpers.scenes import room


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("captures") / "box", 36)


def test_a_capture_becomes_sharper_and_keeps_its_features(capture, tmp_path, capsys):
    to = tmp_path / "box.ply"
    args = ["refine", str(capture), str(to), "--steps", "100", "--gaussians", "3000", "--features", "--device", "cpu"]
    assert cli.main(args) == 0
    printed = capsys.readouterr().out
    before, after = (float(v) for v in re.findall(r"([\d.]+) dB", printed))
    assert after > before + 1
    assert "3,000 Gaussians; 30 frames of 64 × 48, and 6 held out" in printed  # those that the capture itself holds out
    gaussians = read_gaussians(to)
    assert gaussians.features is not None and gaussians.features.shape == (len(gaussians), 64)
    assert read_color(tmp_path / "box.ply.png").ndim == 3
    inside = (gaussians.means > -0.3).all(1) & (gaussians.means < torch.tensor([4.3, 3.3, 2.8])).all(1)
    assert float(inside.float().mean()) > 0.95  # in the capture's world


@pytest.mark.parametrize(
    ("what", "to", "message"),
    [
        ("{points}", "a.ply", "posed frames to compare with"),
        ("{capture}", "a.png", "a file name with one of"),
        ("{capture}", "none/a.ply", "a folder to write to"),
    ],
)
def test_what_cannot_be_refined_is_said(what, to, message, capture, tmp_path, capsys):
    write_points(tmp_path / "points.ply", room())
    what = what.format(points=tmp_path / "points.ply", capture=capture)
    assert cli.main(["refine", what, str(tmp_path / to), "--steps", "1", "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / to).exists()
