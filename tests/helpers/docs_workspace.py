"""Small files under the names that README.md and docs/ use in commands: RUN, path/to/capture, scene.ply, MESHES, …

`Workspace.add` builds a file or folder once per session, and copies it into the folder that a command runs in, so that
the command can be run exactly as it is printed.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gaussiancross.app import cli
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.io import write_gaussians, write_points
from gaussiancross.core.models import GaussianCross
from gaussiancross.core.nn.pointcept import to_pointcept
from PIL import Image

from helpers import raw_data
from helpers.box_room import write_box_room
from helpers.mesh_files import cube, write_glb, write_ply
from helpers.point_files import write_as
from helpers.scenes import room

NETWORK = """
    --model.input.voxel-size 0.05 --model.input.max-points None --model.base-channels 8
    --model.channels 8 8 8 8 8 8 8 8 --model.lattice-cells 512 --model.lattice-channels 8 --model.unet-widths 8 8
    --model.fine-voxel 0.05 --model.head.hidden 8
"""
"""Options that make a network of `pretrain tiny` which a CPU trains in seconds."""
TRAINING = """
    --data.width 24 --data.height 18 --data.views 2 --data.eval-scenes 1 --data.eval-views 2
    --steps 3 --save-every 2 --eval-every 0 --no-view
"""
SMALL_PRETRAINING = NETWORK + TRAINING
NS_SMALL = (
    NETWORK.replace("--model.", "--pipeline.model.")
    + """
    --pipeline.datamanager.width 24 --pipeline.datamanager.height 18 --pipeline.datamanager.views 2
    --pipeline.datamanager.eval-scenes 1 --pipeline.datamanager.eval-views 2 --max-num-iterations 3 --steps-per-save 2
    --vis tensorboard
"""
)
"""The same for `ns-train gaussiancross-tiny`."""
SMALL_OBJECTS = "--views 6 --size 40 --gaussians 150 --iterations 12 --val 0.5 --workers 1"


def script(name: str) -> str:
    """Path of an installed script of this environment."""
    return str(Path(sys.executable).with_name(name))


def gaussiancross(command: str, *paths: Path) -> None:
    """Run one command of ours to make a file; ``{}`` stands for the paths."""
    args = shlex.split(command.format(*map(str, paths)))
    assert cli.main(args) == 0, command


class Workspace:
    """Files by the names in the documentation.

    Args:
        store: folder in which each of them is built once.
    """

    def __init__(self, store: Path) -> None:
        self.store = store

    def needed(self, words: list[str], outputs: set[str]) -> list[str]:
        """Names of files that a command reads: its words, what follows a colon in one, and folders that one is in."""
        parts = {part for word in words for part in (word, word.partition(":")[2])}
        return [
            name
            for name in FILES
            if name not in outputs and any(part == name or part.startswith(f"{name}/") for part in parts)
        ]

    def add(self, name: str, folder: Path) -> None:
        """Copy the file or folder ``name`` to ``folder``, building it first where that was not done yet."""
        source = self.get(name)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)

    def get(self, name: str) -> Path:
        """The built file or folder."""
        path = self.store / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            FILES[name](self, path)
        return path


# --- builders: (workspace, path to write) ------------------------------------------------------------------------


def _points(workspace: Workspace, path: Path) -> None:
    rng = np.random.default_rng(0)
    coord = rng.random((3000, 3)) * [2, 2, 1.5]
    axis = rng.integers(0, 3, 3000)
    coord[np.arange(3000), axis] = 0
    color = rng.integers(0, 256, (3000, 3)).astype(np.uint8)
    write_points(path, PointScene("scene", coord.astype(np.float32), color, np.eye(3, dtype=np.float32)[axis]))


def _splats(workspace: Workspace, path: Path) -> None:
    """Gaussians with features of the bundled teacher's width, as `gaussiancross export` writes them."""
    gaussiancross("export {} {} --features --device cpu", workspace.get("RUN"), path)


def _ball(path: Path, count: int = 600) -> None:
    generator = torch.Generator().manual_seed(count)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    quats, scales = torch.tensor([1.0, 0, 0, 0]).repeat(count, 1), torch.full((count, 3), 0.1)
    write_gaussians(path, Gaussians(means, quats, scales, torch.full((count,), 0.9), (means + 1) / 2))


def _capture(workspace: Workspace, path: Path) -> None:
    write_box_room(path)


def _run(workspace: Workspace, path: Path, seed: int = 0) -> None:
    data = f"--data.teacher builtin --seed {seed}"
    command = f"pretrain tiny --data {{}} --run-dir {{}} --device cpu {data} {SMALL_PRETRAINING}"
    gaussiancross(command, workspace.get("path/to/capture"), path)


def _other_run(workspace: Workspace, path: Path) -> None:
    _run(workspace, path, seed=1)


def _runs(workspace: Workspace, path: Path) -> None:
    shutil.copytree(workspace.get("RUN"), path / "rooms")


def _ns_run(workspace: Workspace, path: Path) -> None:
    """What `ns-train` leaves, moved to a plain name."""
    words = shlex.split(f"gaussiancross-tiny --data {workspace.get('path/to/capture')} {NS_SMALL}")
    where = ["--output-dir", str(path.parent / "ns"), "--experiment-name", "e", "--timestamp", "now"]
    subprocess.run([sys.executable, script("ns-train"), *words, *where], check=True, timeout=300)
    shutil.copytree(path.parent / "ns" / "e" / "gaussiancross-tiny" / "now", path)


def _meshes(workspace: Workspace, path: Path) -> None:
    path.mkdir()
    vertices, faces = cube()
    colors = np.repeat([[200, 40, 40]], len(vertices), 0)
    write_ply(path / "red_box.ply", vertices * [1, 0.5, 0.7], faces, vertex_colors=colors)
    yellow = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0.8, 0.1, 1]}}
    write_glb(path / "tall_lamp.glb", [{"vertices": vertices * [0.2, 1, 0.2], "faces": faces, "material": yellow}])


def _objects(workspace: Workspace, path: Path) -> None:
    gaussiancross(f"prepare objects {{}} --out {{}} --device cpu {SMALL_OBJECTS}", workspace.get("MESHES"), path)
    gaussiancross("clipgs triplets {} --tower builtin", path)


def _gallery(workspace: Workspace, path: Path) -> None:
    gaussiancross("clipgs embed {} --out {} --device cpu", workspace.get("MESHES"), path)


def _chair(workspace: Workspace, path: Path) -> None:
    shutil.copyfile(workspace.get("MESHES") / "tall_lamp.glb", path)


def _photo(workspace: Workspace, path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def _scannet_raw(workspace: Workspace, path: Path) -> None:
    for name in ("scene0000_00", "scene0001_00", "scene0011_00"):
        raw_data.write_scannet_scene(path, name)
    raw_data.write_label_table(path / "scannetv2-labels.combined.tsv")


def _s3dis_raw(workspace: Workspace, path: Path) -> None:
    for area, name in (("Area_1", "office_1"), ("Area_5", "office_1")):
        raw_data.write_s3dis_room(path, area, name)


def _scannet(workspace: Workspace, path: Path) -> None:
    gaussiancross("prepare scannet {} --out {} --workers 1", workspace.get("SCANNET_RAW"), path)


def _features(workspace: Workspace, path: Path) -> None:
    gaussiancross("features {} --teacher builtin --out {}", workspace.get("path/to/capture"), path)


def _pointcept(workspace: Workspace, path: Path) -> None:
    model = GaussianCross.from_pretrained(workspace.get("RUN"))
    torch.save(to_pointcept(model.backbone), path)


def _shapesplats(workspace: Workspace, path: Path) -> None:
    for number, name in enumerate(("chair", "lamp")):
        folder = path / name / "test" / "0"
        folder.mkdir(parents=True)
        _ball(folder / "point_cloud.ply", 600 + number)


def _pcd(workspace: Workspace, path: Path) -> None:
    write_as(path, room())


FILES: dict[str, Callable[[Workspace, Path], None]] = {
    "scene.ply": _points,
    "splats.ply": _splats,
    "scan.pcd": _pcd,
    "path/to/capture": _capture,
    "RUN": _run,
    "OTHER_RUN": _other_run,
    "NS_RUN": _ns_run,
    "runs": _runs,
    "MESHES": _meshes,
    "OBJECTS": _objects,
    "gallery.npz": _gallery,
    "chair.glb": _chair,
    "photo.jpg": _photo,
    "SCANNET_RAW": _scannet_raw,
    "S3DIS_RAW": _s3dis_raw,
    "SCANNET": _scannet,
    "FEATURES": _features,
    "model_last.pth": _pointcept,
    "SHAPESPLATS": _shapesplats,
}
"""Name in the documentation -> what builds it."""
