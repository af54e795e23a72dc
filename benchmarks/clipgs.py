"""Speed of CLIP-GS: farthest points and neighbours of 10,000 Gaussians, encoding of one object by the tiny model.

Times are the best of several runs; in brackets the processor time per thread, more reliable on a shared machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from ..core.data.objects import object_attributes
from ..core.device import has_bfloat16
from ..core.geometry.gaussians import Gaussians
from ..core.models.clipgs import TINY, ClipGS
from ..core.nn.gs_tokenizer import make_patches
from ..core.nn.point_ops import UNI3D_SKIP, farthest_point_sample, gather, knn
from ._machine import environment

COUNT, GROUPS, SIZE = 10_000, 512, 64


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--repeats", type=int, default=11, help="runs of each measurement")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name, value in environment(torch.device("cpu")).items():
        print(f"{name:<12} {value}")
    print()
    g = torch.Generator().manual_seed(0)
    shell = torch.nn.functional.normalize(torch.randn(COUNT, 3, generator=g), dim=1) * torch.tensor([1.0, 0.5, 0.7])
    thing = Gaussians(
        means=shell,
        quats=torch.randn(COUNT, 4, generator=g),
        scales=torch.rand(COUNT, 3, generator=g) * 0.02 + 1e-3,
        opacities=torch.rand(COUNT, generator=g),
        colors=torch.rand(COUNT, 3, generator=g),
    )
    attributes = object_attributes(thing, COUNT)[None]
    points = attributes[..., :3]
    picked = farthest_point_sample(points, GROUPS, UNI3D_SKIP)
    centers = gather(points, picked)

    def show(name: str, work: Callable[[], object]) -> None:
        print(f"{name:<58}{_time(work, args.repeats, args.threads)}")

    show(f"farthest points, {COUNT:,} → {GROUPS}", lambda: farthest_point_sample(points, GROUPS, UNI3D_SKIP))
    show(f"{SIZE} neighbours of each", lambda: knn(centers, points, SIZE))
    show("patches (both, and the gathering)", lambda: make_patches(attributes, GROUPS, SIZE))
    fast = has_bfloat16(torch.device("cpu"))
    for tokenizer in ("gs", "points"):
        model = ClipGS(replace(TINY, tokenizer=tokenizer)).eval()
        label = {"gs": "one object, tiny", "points": "… position and colour only (Uni3D-Ti)"}[tokenizer]
        show(f"{label}, float32", lambda m=model: m.encode([thing], "float32"))
        if fast:
            show(f"{label}, bfloat16", lambda m=model: m.encode([thing], "bfloat16"))
    if not fast:
        print("(no bfloat16 in hardware here)")
    return 0


def _time(work: Callable[[], object], repeats: int, threads: int) -> str:
    work()  # compiles
    wall, cpu = [], []
    for _ in range(repeats):
        t, p = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - t)
        cpu.append(time.process_time() - p)
    return f"{1e3 * min(wall):8.1f} ms  ({1e3 * min(cpu) / threads:.1f} ms)"


if __name__ == "__main__":
    raise SystemExit(main())
