"""Scenes from single files, prepared for a network: z up, with normals, as a data set of one scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.data.scene import PointScene, PosedFrames
from ...core.datasets.scenes.capture import UP_ROTATIONS, Up
from ...core.geometry.normals import estimate_normals
from ...core.io.formats import GREY, find_format
from ...core.report import SILENT, Report
from .geometry import up_of


class OneScene:
    """A `SceneDataset` of one scene without frames; ``report`` receives the progress of computing on it."""

    class_names: tuple[str, ...] = ()

    def __init__(self, scene: PointScene, report: Report = SILENT) -> None:
        self.names, self.report = (scene.name,), report
        self._scene = scene

    def __len__(self) -> int:
        return 1

    def scene(self, index: int) -> PointScene:
        return self._scene

    def frames(self, index: int) -> PosedFrames | None:
        return None


def prepared(scene: PointScene, path: Path, up: Up = "auto", report: Report = SILENT) -> PointScene:
    """The points of a file with z up and with normals; what was assumed is said in notices.

    Args:
        scene: the points in the axes of the file, metres.
        path: the file; paths that are no file of points or splats keep their axes, because data sets have z up.
        up: the axis that points up in the file. "auto" takes the format's, else the one that the points suggest.
        report: receives the notices.
    """
    form = find_format(path)
    axis = "z" if up == "auto" else up
    if form is not None and up == "auto":
        axis = form.up or up_of(scene.coord).removeprefix("+")
        origin = "as the format says" if form.up else "as its points suggest"
        report.notice(f"{scene.name}: {axis} is taken as up, {origin}; --up names another axis")
    if axis != "z":
        turn = np.array(UP_ROTATIONS[axis], np.float32)
        scene = replace(scene, coord=scene.coord @ turn.T, normal=scene.normal @ turn.T)
    if (scene.color == GREY).all():
        report.notice(f"{scene.name}: no colours; all points are shown to the network in grey, which costs accuracy")
    if not scene.normal.any():
        report.notice(f"{scene.name}: no normals; those of {len(scene):,} points are estimated from their neighbours")
        scene = replace(scene, normal=estimate_normals(scene.coord))
    return scene
