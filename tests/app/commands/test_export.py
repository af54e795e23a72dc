"""`gaussiancross export` of files whose world is not z up."""

from __future__ import annotations

import numpy as np
import torch
from gaussiancross.app import cli
from gaussiancross.app.export.files import Z_TO_Y
from gaussiancross.core.geometry.gaussians import transform_gaussians
from gaussiancross.core.io import write_gaussians
from gaussiancross.core.io.images import read_color
from helpers.inspector import as_gaussians, box_room


def test_pictures_of_a_file_with_y_up_stand_upright(tmp_path):
    room = as_gaussians(box_room(24))
    pictures = []
    for name, gaussians in (("z", room), ("y", transform_gaussians(room, Z_TO_Y, 1.0, torch.zeros(3)))):
        write_gaussians(tmp_path / f"{name}.ply", gaussians)
        args = ["export", str(tmp_path / f"{name}.ply"), str(tmp_path / f"{name}.png"), "--width", "96"]
        assert cli.main([*args, "--device", "cpu"]) == 0
        pictures.append(read_color(tmp_path / f"{name}.png").astype(np.float32))
    assert np.abs(pictures[0] - pictures[1]).mean() < 3
