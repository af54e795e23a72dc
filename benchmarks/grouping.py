"""Time of PointGroup's grouping of voxels into proposals, before and after voxels are shifted to their centres."""

from __future__ import annotations

import argparse
from datetime import date

import numpy as np
import torch
from torch import Tensor

from ..core.device import default_device
from ..core.models.pointgroup import propose
from ..core.nn.grouping import group_points
from ._machine import device_name
from .metrics import best

VOXEL = 0.02
RADIUS = 1.5 * VOXEL
CLASSES = 20


def boxes(voxels: int, count: int, pull: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sample the surfaces of ``count`` boxes in a hall: positions [V, 3] in metres and classes [V] from 2 on.

    Args:
        pull: shift of each voxel towards its box's centroid, as a share of the distance, plus ``pull`` · 4 cm of noise.
    """
    rng = np.random.default_rng(seed)
    coord, number = [], np.arange(voxels) * count // voxels
    for k in range(count):
        n = int((number == k).sum())
        at, axis = rng.uniform(0, 1, (n, 3)), rng.integers(0, 3, n)
        at[np.arange(n), axis] = rng.integers(0, 2, n)
        at = at * rng.uniform(0.3, 1.2, 3) + rng.uniform([0, 0, 0], [8, 8, 2])
        at = np.floor(at / VOXEL) * VOXEL + rng.uniform(0, VOXEL, (n, 3))
        coord.append(at + pull * (at.mean(0) - at) + rng.normal(0, 0.04 * pull, (n, 3)))
    return torch.from_numpy(np.concatenate(coord)).float(), torch.from_numpy(2 + number % (CLASSES - 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--small", action="store_true", help="smoke test with few voxels, no meaningful figures")
    args = parser.parse_args()
    n, count, repeats = (2_000, 5, 1) if args.small else (200_000, 100, 5)
    devices = sorted({"cpu", default_device().type})
    print(f"grouping benchmark, {date.today()}, torch {torch.__version__}, {n:,} voxels of {count} objects")
    for device in devices:
        print(device_name(torch.device(device)))
        for pull in (0.0, 0.9, 1.0):
            coord, labels = (t.to(device) for t in boxes(n, count, pull))
            for backend in ("numba", "torch") if device == "cpu" else ("torch",):
                wall, processor = best(lambda c=coord, s=labels, b=backend: group_points(c, s, RADIUS, b), repeats)
                name = f"moved by {pull:.0%} of the way, {backend}"
                print(f"  {name:44s} {wall:8.1f} ms   ({processor:.1f} ms of processor time)")
        probability = torch.nn.functional.one_hot(labels, CLASSES).float()
        wall, processor = best(lambda c=coord, p=probability: propose(p, c, (0, 1), RADIUS), repeats)
        print(f"  {'from probabilities to proposals':44s} {wall:8.1f} ms   ({processor:.1f} ms of processor time)")


if __name__ == "__main__":
    main()
