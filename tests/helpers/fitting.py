"""Pictures of a ball made of known Gaussians, for tests that fit Gaussians to pictures."""

from __future__ import annotations

import numpy as np
import torch
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.splat import rasterize
from gaussiancross.trainers.gaussian_fitting.object import surface_gaussians

SIZE, VIEWS = 48, 12


def ball(n=400, seed=0):
    """Points, colours and normals of a ball with coloured caps."""
    normal = np.random.default_rng(seed).normal(size=(n, 3))
    normal = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)
    color = np.where(normal[:, 2:] > 0.3, [230, 40, 30], np.where(normal[:, :1] > 0, [30, 200, 60], [40, 60, 220]))
    return normal * 0.7 + np.array([0.3, 0, 1], np.float32), color.astype(np.uint8), normal


def ball_pictures():
    """Cameras, colours and alphas of the ball's own splats over black, and these splats."""
    rng = np.random.default_rng(1)
    target = torch.tensor([0.3, 0.0, 1.0])
    eyes = torch.from_numpy(rng.normal(size=(VIEWS, 3))).float()
    eyes = target + 3 * torch.nn.functional.normalize(eyes, dim=1)
    viewmats = torch.stack([look_at(eye, target) for eye in eyes]).float()
    cameras = Cameras(viewmats, intrinsics(0.6, SIZE, SIZE)[None].repeat(VIEWS, 1, 1).float(), SIZE, SIZE)
    truth = surface_gaussians(*ball())
    splats = rasterize(truth, cameras.viewmats, cameras.Ks, SIZE, SIZE)
    color = (splats.color.clamp(0, 1) * 255).round().byte().numpy()
    return cameras, color, splats.alpha[..., 0].numpy(), truth
