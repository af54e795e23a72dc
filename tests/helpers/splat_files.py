"""Random Gaussians and points to write, and lengths at which to truncate files."""

from __future__ import annotations

import numpy as np
import torch
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry.gaussians import Gaussians


def make_gaussians(n: int = 7, features: int = 3) -> Gaussians:
    g = torch.Generator().manual_seed(0)
    return Gaussians(
        means=torch.randn(n, 3, generator=g),
        quats=torch.nn.functional.normalize(torch.randn(n, 4, generator=g), dim=-1),
        scales=torch.rand(n, 3, generator=g) * 0.1 + 0.01,
        opacities=torch.rand(n, generator=g) * 0.9 + 0.05,
        colors=torch.rand(n, 3, generator=g),
        features=torch.randn(n, features, generator=g) if features else None,
    )


def make_points(n: int = 50) -> PointScene:
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((n, 3)).astype(np.float32)
    return PointScene(
        "cloud",
        rng.random((n, 3), dtype=np.float32),
        rng.integers(0, 256, (n, 3), dtype=np.uint8),
        normal / np.linalg.norm(normal, axis=1, keepdims=True),
        rng.integers(-1, 5, n),
        rng.integers(-1, 9, n),
    )


def some_cuts(size: int) -> list[int]:
    """Byte positions to truncate at: all of a short file, else the ends and some between."""
    if size < 1200:
        return list(range(size))
    return sorted({*range(0, 300, 7), *range(300, size, size // 60), *range(size - 25, size)})


def splat_columns(n: int) -> dict[str, np.ndarray]:
    """What `write_gaussians` writes for `make_gaussians(n)`, as columns to tamper with."""
    g = make_gaussians(n, 0)
    flat = {
        **{k: g.means[:, i] for i, k in enumerate(("x", "y", "z"))},
        **{k: torch.zeros(n) for k in ("nx", "ny", "nz")},
        **{f"f_dc_{i}": (g.colors[:, i] - 0.5) / 0.28209479177387814 for i in range(3)},
        "opacity": torch.logit(g.opacities),
        **{f"scale_{i}": g.scales[:, i].log() for i in range(3)},
        **{f"rot_{i}": g.quats[:, i] for i in range(4)},
    }
    return {k: v.numpy().copy() for k, v in flat.items()}
