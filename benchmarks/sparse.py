"""Speed of sparse convolutions compared with spconv, and of SpUNet of several sizes.

Times are the best of several runs. spconv and the upper bound of speed (a large matrix product) are measured in the
same run, on the same voxels and threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date

import torch
from torch import Tensor

from ..core.device import default_device
from ..core.errors import InputError
from ..core.nn.spunet import SpUNet
from ..core.sparse import SparseTensor, SubMConv3d, maps
from ._machine import device_name

CONFIGS: dict[str, dict] = {
    "paper 32-256, layers 2-3-4-6": {},
    "base 16, to 64, 1 layer each": {
        "base_channels": 16,
        "channels": (16, 32, 64, 64, 64, 64, 32, 32),
        "layers": (1,) * 8,
    },
    "base 16, to 32, 1 layer each": {
        "base_channels": 16,
        "channels": (16, 32, 32, 32, 32, 32, 32, 32),
        "layers": (1,) * 8,
    },
    "base 32, to 128, 1 layer each": {
        "base_channels": 32,
        "channels": (32, 64, 128, 128, 128, 64, 64, 64),
        "layers": (1,) * 8,
    },
}
"""Timed networks: description → options."""


def room(count: int, seed: int = 0) -> Tensor:
    """Create about ``count`` sorted voxels (0, x, y, z) of a room: wavy floor of two layers, two walls, boxes."""
    generator = torch.Generator().manual_seed(seed)
    side = max(8, round((count / 3.2) ** 0.5))
    axis = torch.arange(side)
    a, b = (v.reshape(-1) for v in torch.meshgrid(axis, axis, indexing="ij"))
    height = (6 + 3 * torch.sin(a / 11) + 2 * torch.cos(b / 9)).long()
    low = b < side // 2  # walls are half as high as the floor is wide
    parts = [
        torch.stack([a, b, height], 1),
        torch.stack([a, b, height + 1], 1),
        torch.stack([a, torch.zeros_like(a), b + 4], 1)[low],
        torch.stack([torch.zeros_like(a), a, b + 4], 1)[low],
    ]
    for _ in range(4):
        corner, size = torch.randint(0, side * 3 // 4, (2,), generator=generator), max(2, side // 8)
        top = (a < size) & (b < size)
        parts.append(torch.stack([corner[0] + a[top], corner[1] + b[top], torch.full_like(a[top], 10 + size)], 1))
    voxels = torch.unique(torch.cat(parts), dim=0)
    return torch.cat([torch.zeros(len(voxels), 1, dtype=torch.long), voxels], 1)


def best(run: Callable[[], object], device: str, seconds: float) -> float:
    """Return the milliseconds of the fastest run within about ``seconds``, at least two runs after one to warm up."""

    def once() -> float:
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    times = [once(), once()]
    while sum(times) < seconds:
        times.append(once())
    return min(times) * 1e3


def convolution(device: str, voxels: int, seconds: float, channels: int = 32) -> None:
    """Time one submanifold 3³ convolution: ours, spconv, and the floating-point bound."""
    indices = room(voxels).to(device)
    a, b, c = (int(v) + 1 for v in indices[:, 1:].amax(0))
    shape = (a, b, c)
    x = torch.randn(len(indices), channels, device=device, requires_grad=True)
    g = torch.randn_like(x)
    conv = SubMConv3d(channels, channels).to(device)
    pairs = int(maps.submanifold(indices.int().cpu().numpy(), shape, 3).count.sum())
    square = torch.randn(1024, 1024, device=device)
    roof = 2 * 1024**3 / best(lambda: square @ square, device, seconds) / 1e6
    least = 2 * pairs * channels**2 / roof / 1e6
    print(f"\nsubmanifold 3³, {len(indices)} voxels with {pairs / len(indices):.1f} neighbours, {channels}→{channels}")
    print(f"matrix product {roof:.0f} GFLOP/s; at that rate the forward pass takes {least:.2f} ms")
    figures: dict[str, tuple[float, ...]] = {}
    for backend in ("torch", "spconv"):
        try:
            tensor = SparseTensor.create(x, indices, shape, 1, backend)
        except InputError as error:
            print(error)
            continue
        if backend == "spconv" and device == "cpu":
            _enable_spconv_on_cpu()

        def forward(tensor: SparseTensor = tensor) -> Tensor:
            return conv(tensor).features

        def fresh(backend: str = backend) -> None:
            conv(SparseTensor.create(x, indices, shape, 1, backend))  # pyright: ignore[reportArgumentType]

        def both(tensor: SparseTensor = tensor) -> None:
            conv(tensor).features.backward(g)

        with torch.no_grad():
            figures[backend] = best(forward, device, seconds), best(fresh, device, seconds)
        figures[backend] += (best(both, device, seconds),)
    for i, name in enumerate(("forward", "forward, first in a scene", "forward + backward")):
        line = f"{name:26s}" + "".join(f"{backend} {f[i]:7.2f} ms   " for backend, f in figures.items())
        if len(figures) == 2:
            line += f"spconv / torch {figures['spconv'][i] / figures['torch'][i]:.1f}×"
        print(line)


def networks(device: str, voxels: int, seconds: float, names: list[str]) -> None:
    """Time SpUNet from voxels to features, kernel maps included."""
    indices = room(voxels).to(device)
    coord, feat = indices[:, 1:], torch.randn(len(indices), 6, device=device)
    offset = torch.tensor([len(indices)], device=device)
    print(f"\nSpUNet on {len(indices)} voxels, kernel maps included")
    for name in names:
        net = SpUNet(**CONFIGS[name]).to(device)

        def both(net: SpUNet = net) -> None:
            net(coord, feat, offset).square().mean().backward()

        with torch.no_grad():
            forward = best(lambda net=net: net.eval()(coord, feat, offset), device, seconds)
        net.train()
        size = sum(p.numel() for p in net.parameters()) / 1e6
        total = best(both, device, seconds)
        print(f"{name:30s} {size:5.1f} M   forward {forward:7.1f} ms   forward + backward {total:7.1f} ms")


def _enable_spconv_on_cpu() -> None:
    """Patch spconv's CPU path, which asks for the current CUDA stream even on machines without CUDA."""
    import spconv.pytorch.ops as ops

    ops.get_current_stream = lambda: 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default=default_device().type, choices=["cpu", "cuda"])
    parser.add_argument("--small", action="store_true", help="smoke test with few voxels, no meaningful figures")
    args = parser.parse_args()
    print(f"sparse benchmark, {date.today()}, {device_name(torch.device(args.device))}, torch {torch.__version__}")
    seconds = 0.0 if args.small else 2.0
    convolution(args.device, 2_000 if args.small else 50_000, seconds)
    names = list(CONFIGS)
    networks(args.device, 1_000 if args.small else 20_000, seconds, names[1:])
    if not args.small:
        networks(args.device, 50_000, seconds, names[:1])


if __name__ == "__main__":
    main()
