"""Fit 3D Gaussians to pictures with the differentiable rasteriser, on the CPU.

Four cameras look at a coloured sphere; random Gaussians are optimised until they render to the same pictures.
`rasterize` runs numba kernels on the CPU and gsplat on CUDA.

    python examples/02_splat_gaussians_cpu.py --steps 200
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from gaussiancross import Gaussians, rasterize
from gaussiancross.core.geometry.cameras import intrinsics, look_at
from gaussiancross.core.io import write_color
from torch.nn.functional import normalize


def sphere(count: int, color: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Unconstrained parameters of ``count`` Gaussians on a unit sphere."""
    direction = normalize(torch.randn(count, 3), dim=1)
    return {
        "means": direction * (1 if color is None else 0.6),
        "quats": torch.randn(count, 4),
        "scales": torch.full((count, 3), -2.2),  # logarithm of metres
        "opacities": torch.full((count,), 1.0),  # logit
        "colors": 2 * direction if color is None else color.expand(count, 3).clone(),  # logit
    }


def activate(p: dict[str, torch.Tensor]) -> Gaussians:
    return Gaussians(p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), p["colors"].sigmoid())


def main(steps: int = 200, count: int = 600, size: int = 96, out: Path = Path("splats.png")) -> None:
    """Optimise COUNT Gaussians for STEPS steps. The picture shows targets above, results below."""
    torch.manual_seed(0)
    eyes = torch.tensor([[3.0, 0, 1], [0, 3, 1], [-3, 0, 1], [0, -3, 1]])  # [4, 3] metres
    viewmats = torch.stack([look_at(eye, torch.zeros(3)) for eye in eyes])  # [4, 4, 4] world to camera
    Ks = intrinsics(0.9, size, size).expand(4, 3, 3)  # 0.9 radians
    target = rasterize(activate(sphere(2000)), viewmats, Ks, size, size).color  # [4, H, W, 3]

    parameters = {k: v.requires_grad_() for k, v in sphere(count, torch.zeros(3)).items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=2e-2)
    for step in range(steps):
        color = rasterize(activate(parameters), viewmats, Ks, size, size).color
        optimizer.zero_grad()
        loss = (color - target).abs().mean()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:4d}  mean absolute error {loss.item():.4f}")
    rows = torch.cat([torch.cat(list(images), 1) for images in (target, color.detach())])  # [2 H, 4 W, 3]
    write_color(out, (rows.clamp(0, 1) * 255).byte().numpy())


if __name__ == "__main__":
    tyro.cli(main)
