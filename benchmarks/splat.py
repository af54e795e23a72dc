"""Speed of splatting, compared with alternatives and with a lower bound of the machine.

    python -m gaussiancross.benchmarks.splat [--small]

Ours is `core.splat.rasterize`. The peer on a CPU is vectorised torch (below), since no other CPU splatter with
gradients installs with pip; on CUDA, where ours is gsplat, the peer is gsplat called directly, which shows the
wrapper's cost. The lower bound is the time for the same exponentials, multiply-adds and bytes, whichever is longest, at
rates measured in the same run.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..core.device import default_device
from ..core.geometry.cameras import Cameras, intrinsics, look_at
from ..core.geometry.gaussians import Gaussians
from ..core.splat import default_backend, rasterize, reference
from ._machine import device_name


@dataclass(frozen=True)
class Case:
    """A problem size: ``count`` Gaussians with 3 colours and ``features`` channels, in ``views`` images."""

    count: int
    width: int
    height: int
    views: int = 1
    features: int = 32

    @property
    def name(self) -> str:
        return f"{self.count:,} Gaussians, {self.views} × {self.width}×{self.height}, {self.features + 4} channels"


CASES = [Case(20_000, 160, 120), Case(100_000, 320, 240), Case(60_000, 160, 120, views=5)]
SMALL = [Case(500, 32, 24, features=4)]


def make(case: Case, device: str) -> tuple[Gaussians, Cameras]:
    """Create Gaussians of 4 to 20 mm in a box of 2.2 × 1.5 × 1.7 m, and cameras at 2.4 m."""
    g = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g)

    gaussians = Gaussians(
        means=(rand(case.count, 3) - 0.5) * torch.tensor([2.2, 1.5, 1.7]),
        quats=torch.randn(case.count, 4, generator=g),
        scales=0.004 + 0.016 * rand(case.count, 3),
        opacities=0.1 + 0.8 * rand(case.count),
        colors=rand(case.count, 3),
        features=torch.randn(case.count, case.features, generator=g),
    )
    angles = 0.3 * torch.arange(case.views)
    eyes = 2.4 * torch.stack([angles.sin(), -angles.cos(), torch.zeros(case.views)], -1)
    views = torch.stack([look_at(e, torch.zeros(3)) for e in eyes])
    K = intrinsics(0.98, case.width, case.height).expand(case.views, 3, 3)
    return gaussians.to(device), Cameras(views, K, case.width, case.height).to(device)


# ---- the peer: each (pixel, Gaussian) pair is one row of a few long tensors


class _Blend(torch.autograd.Function):
    """Σ w value per pixel as a sparse matrix product."""

    @staticmethod
    def forward(ctx, w, values, pixel, index, row_starts):
        ctx.save_for_backward(w, values, pixel, index)
        return torch.sparse_csr_tensor(row_starts, index, w, (len(row_starts) - 1, len(values))) @ values

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        w, values, pixel, index = ctx.saved_tensors
        v_w = torch.cat(
            [(grad[p] * values[i]).sum(1) for p, i in zip(pixel.split(1 << 18), index.split(1 << 18), strict=True)]
        )
        order = torch.sort(index, stable=True).indices
        starts = _starts(index, len(values))
        transposed = torch.sparse_csr_tensor(starts, pixel[order], w[order], (len(values), len(grad)))
        return v_w, transposed @ grad, None, None, None


def _starts(ids: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(torch.bincount(ids, minlength=count).cumsum(0), (1, 0))


def _alpha(p: reference.Projection, opacities: Tensor, index: Tensor, x: Tensor, y: Tensor) -> Tensor:
    dx, dy = x + 0.5 - p.means2d[index, 0], y + 0.5 - p.means2d[index, 1]
    a, b, c = p.conics[index].unbind(-1)
    return (opacities[index] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)).clamp_max(0.999)


def torch_rasterize(gaussians: Gaussians, cameras: Cameras) -> tuple[list[Tensor], int]:
    """Render images [H·W, channels + 1] per camera (alpha last); also returns the number of pairs."""
    images, pairs = [], 0
    w, h = cameras.width, cameras.height
    for view, K in zip(cameras.viewmats, cameras.Ks, strict=True):
        p = reference.project(gaussians, view, K, w, h, 0.01, 1e10, 0.3)
        with torch.no_grad():
            ids = torch.nonzero(p.visible)[:, 0]
            ids = ids[torch.sort(p.depths[ids], stable=True).indices]
            a, b, c = p.conics[ids].unbind(-1)
            reach = 3.33 * torch.stack([c, a], -1).div((a * c - b * b)[:, None]).sqrt()
            size = torch.tensor([w, h])
            low = (p.means2d[ids] - reach).floor().clamp_min(0).minimum(size).long()
            high = (p.means2d[ids] + reach).ceil().clamp_min(0).minimum(size).long()
            columns, rows = (high - low).unbind(-1)
            count = columns * rows
            owner = torch.repeat_interleave(torch.arange(len(ids)), count)
            k = torch.arange(len(owner)) - (count.cumsum(0) - count)[owner]
            x, y = low[owner, 0] + k % columns[owner], low[owner, 1] + k // columns[owner]
            index, pixel = ids[owner], y * w + x
            keep = torch.nonzero(_alpha(p, gaussians.opacities, index, x, y) >= 1 / 255)[:, 0]
            pixel, order = torch.sort(pixel[keep], stable=True)
            index = index[keep][order]
            starts = _starts(pixel, w * h)
        alpha = _alpha(p, gaussians.opacities, index, pixel % w, pixel // w)
        # Transmittance per pixel from one running sum of logarithms, in float64 so that it can be long.
        log = torch.log1p(-alpha.double())
        before = log.cumsum(0) - log
        t = torch.exp(before - before[starts[pixel]])
        weight = alpha * t.float() * (t * (1 - alpha) > 1e-4)
        pairs += int((weight > 0).sum())
        assert gaussians.features is not None
        values = torch.cat(
            [gaussians.colors, p.depths[:, None], gaussians.features, torch.ones_like(a.new_empty(len(gaussians), 1))],
            -1,
        )
        images.append(_Blend.apply(weight, values, pixel, index, starts))
    return images, pairs


# ---- timing


def seconds(function: Callable[[], object], repeats: int, device: str) -> float:
    """Return the shortest of ``repeats`` runs (fewer once they took 10 s), after one to warm up."""
    best, spent = float("inf"), 0.0
    for i in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        function()
        _wait(device)
        taken = time.perf_counter() - start
        if i:
            best, spent = min(best, taken), spent + taken
            if spent > 10.0:
                break
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timings(draw: Callable[[Gaussians], list[Tensor]], gaussians: Gaussians, repeats: int, device: str) -> list[float]:
    """Return [forward, forward + backward] in seconds."""
    leaves = gaussians.map(lambda t: t.detach().requires_grad_())
    weights = [torch.randn_like(t) for t in draw(gaussians)]

    def both() -> None:
        torch.autograd.backward(draw(leaves), weights, inputs=list(vars(leaves).values()))

    def forward() -> None:
        with torch.no_grad():
            draw(gaussians)

    return [seconds(forward, repeats, device), seconds(both, repeats, device)]


# ---- the machine


@dataclass(frozen=True)
class Rates:
    """Rates per second of all threads: exponentials, float32 multiply-adds, bytes copied (read + written)."""

    exp: float
    muladd: float
    bytes: float


def measure_rates(small: bool) -> Rates:
    import numpy as np
    from numba import njit, prange

    from ..core.splat import simd

    tasks, rounds = 64, 200 if small else 2000

    @njit(parallel=True)
    def exponentials(x):
        for task in prange(tasks):
            row = x[task]
            for _ in range(rounds):
                for i in range(0, 512, 16):
                    simd.store(row, i, simd.exp2(simd.load(row, i)))

    @njit(parallel=True)
    def muladds(x):
        for task in prange(tasks):
            row = x[task]
            w = simd.load(row, 0)
            for _ in range(rounds):
                a, b, c, d = simd.load(row, 0), simd.load(row, 16), simd.load(row, 32), simd.load(row, 48)
                e, f, g, h = simd.load(row, 64), simd.load(row, 80), simd.load(row, 96), simd.load(row, 112)
                for _ in range(64):
                    a, b, c, d = simd.muladd(a, w, a), simd.muladd(b, w, b), simd.muladd(c, w, c), simd.muladd(d, w, d)
                    e, f, g, h = simd.muladd(e, w, e), simd.muladd(f, w, f), simd.muladd(g, w, g), simd.muladd(h, w, h)
                simd.store(row, 16, ((a + b) + (c + d)) + ((e + f) + (g + h)))

    lanes = np.zeros((tasks, 512), np.float32)
    block = torch.zeros(1 << (20 if small else 25))
    target = torch.empty_like(block)
    return Rates(
        exp=tasks * rounds * 512 / seconds(lambda: exponentials(lanes), 5, "cpu"),
        muladd=tasks * rounds * 64 * 8 * 16 / seconds(lambda: muladds(lanes), 5, "cpu"),
        bytes=2 * 4 * len(block) / seconds(lambda: target.copy_(block), 5, "cpu"),
    )


def lower_bound(case: Case, pairs: int, backward: bool, rates: Rates) -> tuple[float, str]:
    """Return the lower bound of the time in seconds, and the resource that determines it.

    Forward: one exponential and one multiply-add per channel for each pair; inputs read and images written once.
    Backward adds one exponential, two multiply-adds per channel, images read, inputs read, gradients written.
    """
    channels = case.features + 4
    table = 4 * case.count * (11 + 3 + case.features)
    images = 4 * case.views * case.width * case.height * (channels + 1)
    work = {
        "exponentials": pairs * (2 if backward else 1) / rates.exp,
        "multiply-adds": pairs * channels * (3 if backward else 1) / rates.muladd,
        "memory": ((3 * table + 2 * images) if backward else (table + images)) / rates.bytes,
    }
    name = max(work, key=lambda k: work[k])
    return work[name], name


def main() -> None:
    tyro.cli(measure)


def measure(small: bool = False, repeats: int = 7) -> None:
    """Compare forward and backward passes with a peer and with the machine's lower bound; prints a table.

    Args:
        small: run one tiny case, as a smoke test.
        repeats: runs per measurement; the shortest counts.
    """
    device = default_device().type
    backend = default_backend(device)
    warnings.filterwarnings("ignore", message="Sparse", module=__name__)  # torch on the peer's CSR matrices
    title = f"Splatting on {device_name(torch.device(device))}, {date.today()}, torch {torch.__version__}"
    peer_name = "gsplat" if device == "cuda" else "torch"
    table = Table(title=title, caption="milliseconds, shortest run; ratios are peer / ours (higher is better for us)")
    for column in ("case", "pass", f"ours ({backend})", f"peer ({peer_name})", "ratio", "lower bound", "ours / bound"):
        table.add_column(column, justify="left" if column in ("case", "pass") else "right")
    rates = measure_rates(small) if device == "cpu" else None
    for case in SMALL if small else CASES:
        gaussians, cameras = make(case, device)

        def ours(g: Gaussians, cameras: Cameras = cameras) -> list[Tensor]:
            s = rasterize(g, cameras.viewmats, cameras.Ks, cameras.width, cameras.height)
            assert s.features is not None
            return [s.color, s.depth, s.alpha, s.features]

        def peer(g: Gaussians, cameras: Cameras = cameras) -> list[Tensor]:
            return _gsplat(g, cameras) if device == "cuda" else torch_rasterize(g, cameras)[0]

        mine, theirs = timings(ours, gaussians, repeats, device), timings(peer, gaussians, min(repeats, 3), device)
        pairs = torch_rasterize(gaussians, cameras)[1] if rates else 0
        for i, name in enumerate(("forward", "forward + backward")):
            least = ["", ""]
            if rates:
                bound, what = lower_bound(case, pairs, i == 1, rates)
                least = [f"{bound * 1e3:.2f} ({what})", f"{mine[i] / bound:.1f}"]
            table.add_row(
                "" if i else case.name,
                name,
                f"{mine[i] * 1e3:.1f}",
                f"{theirs[i] * 1e3:.1f}",
                f"{theirs[i] / mine[i]:.1f}",
                *least,
            )
    console = Console(width=150)
    console.print(table)
    if rates:
        console.print(
            f"Measured on all threads: {rates.exp / 1e9:.1f} G exp/s, {2 * rates.muladd / 1e9:.0f} GFLOP/s, "
            f"{rates.bytes / 1e9:.1f} GB/s."
        )


def _gsplat(g: Gaussians, cameras: Cameras) -> list[Tensor]:
    from gsplat import rasterization

    assert g.features is not None
    image, alpha, _ = rasterization(
        g.means, g.quats, g.scales, g.opacities, torch.cat([g.colors, g.features], -1), cameras.viewmats, cameras.Ks,
        cameras.width, cameras.height, packed=False, render_mode="RGB+ED",
    )  # fmt: skip
    return [image, alpha]


if __name__ == "__main__":
    main()
