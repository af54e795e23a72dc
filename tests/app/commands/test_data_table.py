"""Every cell of the table "What works with what" in docs/data.md, run as a user types it.

A cell says ``yes``, ``model`` (with ``--features-from model``), ``features, model`` (also with features in the file),
or ``—``: refused in one sentence that names the file or option, and says what was expected and what was found.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.app.commands import view
from gaussiancross.app.scenes.source import SceneSource
from gaussiancross.core.datasets import Capture
from gaussiancross.core.io import SplatData, mesh_points, write_splats
from helpers import rewritten, rewritten_sets
from helpers.capture import write_export
from helpers.docs_workspace import SMALL_PRETRAINING
from helpers.networks import small_model
from helpers.point_files import write_as
from helpers.scenes import room
from helpers.splat_files import make_gaussians

DOCUMENT = Path(__file__).parents[3] / "docs" / "data.md"
COLUMNS = ("view", "embed", "query", "pre-train", "export", "export to it")
DASH = "—"
POINTS = 400
MESHES = ("obj", "off", "stl", "glb", "gltf", "usdz")

Writer = Callable[[Path], Path]


def read_table() -> dict[str, dict[str, str]]:
    """Row → column → cell."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("## What works with what")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert tuple(lines[0][1:]) == COLUMNS
    return {line[0]: dict(zip(COLUMNS, line[1:], strict=True)) for line in lines[2:]}


def splats(ending: str) -> Writer:
    def write(folder: Path) -> Path:
        harmonics = torch.rand(POINTS, 3, 3, generator=torch.Generator().manual_seed(0)) - 0.5
        write_splats(folder / f"splats.{ending}", SplatData(make_gaussians(POINTS, 16), harmonics))
        return folder / f"splats.{ending}"

    return write


def points(*endings: str) -> tuple[Writer, ...]:
    def writer(ending: str) -> Writer:
        def write(folder: Path) -> Path:
            write_as(folder / f"scan.{ending}", room(POINTS))
            return folder / f"scan.{ending}"

        return write

    return tuple(writer(ending) for ending in endings)


def layout(name: str) -> Writer:
    def write(folder: Path) -> Path:
        source = rewritten.some_frames(write_export(folder / "box", suffix="jpg", count=6), 6)
        return getattr(rewritten if hasattr(rewritten, f"as_{name}") else rewritten_sets, f"as_{name}")(
            source, folder / name
        )

    return write


def colmap(trained: bool) -> Writer:
    def write(folder: Path) -> Path:
        source = rewritten.some_frames(write_export(folder / "box", suffix="jpg", count=6), 6)
        dense = Capture(source.folder, holdout=0, up_axis="z").scene(0)
        out = rewritten.as_colmap(source, folder / "colmap", points=dense[::20])
        if trained:
            rewritten.add_splats(out, dense, 0.02)
        return out

    return write


ROWS: dict[str, tuple[Writer, ...]] = {
    "splats: INRIA `.ply`": (splats("ply"),),
    "splats: SuperSplat `.compressed.ply`": (splats("compressed.ply"),),
    "splats: `.splat`": (splats("splat"),),
    "splats: SPZ `.spz`": (splats("spz"),),
    "splats: SOG `.sog`": (splats("sog"),),
    "splats: glTF `.glb`": (splats("glb"),),
    "points: `.ply`": points("ply"),
    "points: `.xyz .txt .csv .npy .npz .pcd`": points("xyz", "txt", "csv", "npy", "npz", "pcd"),
    "laser scans: `.las .laz .e57`": points("las", "laz", "e57"),
    "meshes: `.obj .off .stl .glb .gltf .usdz`": points(*MESHES),
    "capture: ScanNet export": (layout("export"),),
    "capture: nerfstudio": (layout("nerfstudio"),),
    "capture: COLMAP with trained splats": (colmap(True),),
    "capture: COLMAP with sparse points alone": (colmap(False),),
    "capture: TUM RGB-D": (layout("tum"),),
    "capture: 7-Scenes": (layout("seven_scenes"),),
    "capture: Polycam": (layout("polycam"),),
    "capture: Open3D (Azure Kinect, RealSense)": (layout("open3d"),),
    "capture: Stray Scanner": (layout("stray"),),
    "capture: ScanNet++, iPhone": (layout("scannetpp"),),
    "capture: ARKitScenes": (layout("arkitscenes"),),
    "capture: Matterport3D": (layout("matterport"),),
    "capture: Replica": (layout("replica"),),
}
"""Row of the table → what writes its files."""

QUICK = {
    ("splats: SPZ `.spz`", "query"),
    ("capture: TUM RGB-D", "view"),
    ("capture: TUM RGB-D", "export"),
    ("capture: TUM RGB-D", "pre-train"),
}
"""Cells that are tested always, of those that compute features or train."""


def is_slow(row: str, column: str, cell: str) -> bool:
    heavy = column in ("query", "pre-train") or (row.startswith("capture") and column in ("view", "export"))
    return cell != DASH and heavy and (row, column) not in QUICK


def cases() -> list:
    """Cells of the table, once per file of the row; no ``.glb`` is written as a mesh."""
    out = []
    for row, cells in read_table().items():
        for column, cell in cells.items():
            for number in range(len(ROWS.get(row, ()))):
                if row.startswith("meshes") and column == "export to it" and number == MESHES.index("glb"):
                    continue
                marks = [pytest.mark.slow] if is_slow(row, column, cell) else []
                out.append(pytest.param(row, column, cell, number, marks=marks, id=f"{row}-{column}-{number}"))
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory):
    """Function that writes the file of a row once, in a folder with a small model."""
    folder = tmp_path_factory.mktemp("table")
    small_model().save_pretrained(folder / "model")
    made: dict[tuple[str, int], Path] = {}

    def get(row: str, number: int) -> Path:
        if (row, number) not in made:
            own = folder / f"row{len(made)}"
            own.mkdir()
            made[row, number] = ROWS[row][number](own)
        return made[row, number]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        patch.setattr(mesh_points, "COUNT", POINTS)
        patch.setattr(view, "Inspector", Looked)
        patch.setattr(view, "time", Interrupting)
        yield get


class Interrupting:
    """The module `time`, for `gaussiancross view`: Ctrl-C comes while it waits."""

    @staticmethod
    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt


class Looked:
    """The viewer's stand-in: loads the first scene and has no server."""

    points = 0

    def __init__(self, source: SceneSource, *_, **__) -> None:
        state = source.load(0)
        Looked.points = len(state.gaussians) if state.points is None and state.gaussians else len(state.points or ())

    def close(self) -> None:
        pass


def test_the_table_has_the_rows_that_are_tested() -> None:
    assert list(read_table()) == list(ROWS)


@pytest.mark.parametrize(("row", "column", "cell", "number"), cases())
def test_cell(files, tmp_path: Path, capsys, row: str, column: str, cell: str, number: int) -> None:
    file = files(row, number)
    if column == "export to it":
        words = [
            "export",
            str(files("points: `.ply`" if "points" in row else "splats: SPZ `.spz`", 0)),
            str(tmp_path / file.name),
        ]
        if file.is_dir():
            words[2] = str(tmp_path / "folder")
    else:
        words = COMMANDS[column](str(file), tmp_path)
    if cell == DASH:
        assert cli.main(words) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert re.search(r"expected .*, found ", said) and "Traceback" not in said, said
        return
    if column == "query" and "model" in cell:
        if "features" in cell:
            assert cli.main([*words, *text_vectors(tmp_path)]) == 0
        words += ["--features-from", "model"]
    if column == "view":
        assert cli.main(words) == 130 and Looked.points > 0  # it was ended by Ctrl-C
        return
    assert cli.main(words) in ((0, 1) if column == "query" else (0,)), capsys.readouterr()
    assert any(tmp_path.iterdir())


def text_vectors(folder: Path) -> list[str]:
    vectors = np.random.default_rng(0).standard_normal((2, 16)).astype(np.float32)
    np.save(folder / "text.npy", vectors)
    (folder / "text_names.json").write_text(json.dumps(["a chair", "object"]))
    return ["--text-vectors", str(folder / "text.npy")]


COMMANDS: dict[str, Callable[[str, Path], list[str]]] = {
    "view": lambda file, out: ["view", file],
    "embed": lambda file, out: [
        *("embed", file, "--out", str(out / "f.npy"), "--device", "cpu"),
        *("--model", str(Path(file).parents[1] / "model")),
    ],
    "query": lambda file, out: [
        *("query", file, "a chair", "--views", "1", "--width", "64", "--out", str(out / "q"), "--device", "cpu"),
    ],
    "pre-train": lambda file, out: [
        *("pretrain", "tiny", "--data", file, "--run-dir", str(out / "run"), "--device", "cpu"),
        *shlex.split(SMALL_PRETRAINING),
    ],
    "export": lambda file, out: ["export", file, str(out / "out.png"), "--width", "64"],
}
