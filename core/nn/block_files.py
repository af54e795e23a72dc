"""Features of large scenes computed block by block into a file; an interrupted computation goes on where it was.

<out>.parts/plan.json          digest of points, network and options
<out>.parts/statistics.npz     statistics of the normalisations, where the network needs them
<out>.parts/block-0000.npy     [K, C] features of the voxels of a block, once it is done
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.batch import SceneInput
from ..errors import InputError
from ..io.arrays import read_array, read_npz
from ..io.atomic import atomic_file
from ..io.json_files import read_json
from ..report import SILENT, Report
from .blocks import BlockPlan, Statistics, encode_block, fixed_statistics, measure_statistics
from .spunet import SpUNet

POINTS_AT_ONCE = 100_000
"""Points whose features are written at once."""


def parts_folder(out: Path) -> Path:
    """The folder of the blocks of a file that is not yet complete."""
    return out.with_name(f"{out.name}.parts")


def write_features(
    backbone: SpUNet,
    scene: SceneInput,
    plan: BlockPlan,
    budget: int,
    out: Path,
    hypercolumn: bool = False,
    report: Report = SILENT,
) -> int:
    """Write the features [N, C] of the points of a scene as a ``.npy`` file, float32; return C.

    Args:
        scene: all points, without randomness.
        plan: division of its voxels (`plan_blocks`).
        budget: voxels that statistics are measured on.

    Raises:
        InputError: the folder cannot be written, or its disk is full.
    """
    folder = parts_folder(out)
    try:
        _prepare(folder, _digest(backbone, scene, plan, hypercolumn), report)
        rows = _compute(backbone, scene, plan, budget, folder, hypercolumn, report)
        width = _join(scene, rows, folder, out, report)
    except OSError as error:
        raise InputError(out, "a file to write to", str(error), "check the folder and the space left") from error
    shutil.rmtree(folder, ignore_errors=True)
    return width


def _prepare(folder: Path, digest: str, report: Report) -> None:
    """Keep the finished blocks of a folder if they are of the same computation; else make it empty."""
    plan = folder / "plan.json"
    if plan.is_file():
        done = len(list(folder.glob("block-*.npy")))
        try:
            same = read_json(plan).get("digest") == digest
        except (ValueError, AttributeError):
            same = False
        if same:
            report.notice(f"{folder.name}: going on after {done} finished {'block' if done == 1 else 'blocks'}")
            return
        report.notice(f"{folder.name}: blocks of other points, another model or other options; beginning anew")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with atomic_file(plan) as partial:
        partial.write_text(json.dumps({"digest": digest}))


def _digest(backbone: SpUNet, scene: SceneInput, plan: BlockPlan, hypercolumn: bool) -> str:
    digest = hashlib.sha256(json.dumps([backbone.to_config(), plan.overlap, hypercolumn]).encode())
    for block in plan.blocks:
        digest.update(np.stack([block.low, block.high]).tobytes())
    for tensor in (scene.points.grid_coord, scene.points.feat, scene.inverse, *backbone.state_dict().values()):
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()


def _compute(
    backbone: SpUNet,
    scene: SceneInput,
    plan: BlockPlan,
    budget: int,
    folder: Path,
    hypercolumn: bool,
    report: Report,
) -> list[NDArray[np.int64]]:
    """Compute the blocks that are missing; return the voxels of each."""
    points, grid = scene.points, scene.points.grid_coord.numpy()
    every = [np.flatnonzero(block.holds(grid)) for block in plan.blocks]
    missing = [i for i, rows in enumerate(every) if not _is_complete(_block(folder, i), len(rows))]
    if missing:
        with fixed_statistics(backbone, _statistics(backbone, scene, budget, folder)):
            for step in report.steps("blocks", range(len(every))):
                if step not in missing:
                    continue
                _, values = encode_block(backbone, points, plan, step, hypercolumn)
                with atomic_file(_block(folder, step)) as partial, partial.open("wb") as file:
                    np.save(file, values.numpy())
    return every


def _statistics(backbone: SpUNet, scene: SceneInput, budget: int, folder: Path) -> Statistics:
    """The statistics that the finished blocks were computed with, else new ones."""
    path = folder / "statistics.npz"
    if path.is_file():
        return {name: (torch.from_numpy(v[0]), torch.from_numpy(v[1])) for name, v in read_npz(path).items()}
    found = measure_statistics(backbone, scene.points, budget)
    if found:
        with atomic_file(path) as partial, partial.open("wb") as file:
            arrays = {name: torch.stack(pair).cpu().numpy() for name, pair in found.items()}
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    return found


def _join(scene: SceneInput, rows: list[NDArray[np.int64]], folder: Path, out: Path, report: Report) -> int:
    """Write the features of the points in their order."""
    files = [_block(folder, i) for i in range(len(rows))]
    block_of, place = (np.empty(len(scene.points.coord), np.int64) for _ in range(2))
    for i, voxels in enumerate(rows):
        block_of[voxels], place[voxels] = i, np.arange(len(voxels))
    inverse = scene.inverse.numpy()
    width = np.load(files[0], mmap_mode="r", allow_pickle=False).shape[1]
    with atomic_file(out) as partial, partial.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(inverse), width)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in report.steps("writing points", range(0, len(inverse), POINTS_AT_ONCE)):
            voxels = inverse[start : start + POINTS_AT_ONCE]
            values = np.empty((len(voxels), width), "<f4")
            for i in np.unique(block_of[voxels]):
                here = block_of[voxels] == i
                stored = np.load(files[i], mmap_mode="r", allow_pickle=False)  # closed again: mapped pages count
                values[here] = stored[place[voxels[here]]]
            file.write(values.data)
    return width


def _block(folder: Path, index: int) -> Path:
    return folder / f"block-{index:04d}.npy"


def _is_complete(path: Path, count: int) -> bool:
    """Whether a block's file has a row for each of ``count`` voxels; a damaged one is computed again."""
    try:
        return path.is_file() and len(read_array(path)) == count
    except InputError:
        return False
