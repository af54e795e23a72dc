"""Dense torch rasteriser: every pixel against every Gaussian. Slow, obvious, any dtype, autograd does the backward.

The fast backends are tested against it. It follows gsplat 1.5 (Apache-2.0, ``_torch_impl.py`` and
``RasterizeToPixels3DGSFwd.cu``) rule by rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry.gaussians import Gaussians, quat_to_rotmat

ALPHA_MIN, ALPHA_MAX, T_STOP = 1.0 / 255.0, 0.999, 1e-4


@dataclass(frozen=True)
class Projection:
    """N Gaussians in one camera.

    Attributes:
        means2d: [N, 2] pixels.
        conics: [N, 3] a, b, c of σ = ½(a dx² + c dy²) + b dx dy.
        depths: [N] camera z, metres.
        visible: [N] bool, between near and far.
    """

    means2d: Tensor
    conics: Tensor
    depths: Tensor
    visible: Tensor


def project(
    gaussians: Gaussians, viewmat: Tensor, K: Tensor, width: int, height: int, near: float, far: float, eps2d: float
) -> Projection:
    """EWA projection. The Jacobian (not the mean) is clamped to the image plus 15 % of its size on every side."""
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    points = gaussians.means @ rotation.T + translation
    depths = points[:, 2]
    visible = (depths >= near) & (depths <= far)
    x, y, z = torch.where(visible[:, None], points, torch.ones_like(points)).unbind(-1)

    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    slope_x = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    slope_y = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], -1).unflatten(-1, (2, 3))

    axes = jacobian @ rotation @ (quat_to_rotmat(gaussians.quats) * gaussians.scales[:, None])  # [N, 2, 3]
    covariance = axes @ axes.mT + eps2d * torch.eye(2, dtype=z.dtype, device=z.device)
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    det = (xx * yy - xy * xy).clamp_min(1e-10)
    return Projection(
        means2d=torch.stack([fx * x / z + cx, fy * y / z + cy], -1),
        conics=torch.stack([yy / det, -xy / det, xx / det], -1),
        depths=depths,
        visible=visible,
    )


def weights(projection: Projection, opacities: Tensor, width: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Blending weights of the visible Gaussians, front to back.

    Returns:
        order [M] indices of the visible Gaussians by increasing depth (ties by index), weights [H·W, M] and the
        transmittance [H·W] left behind the last one.
    """
    order = torch.nonzero(projection.visible)[:, 0]
    order = order[torch.sort(projection.depths.detach()[order], stable=True).indices]
    dtype, device = opacities.dtype, opacities.device
    v, u = torch.meshgrid(
        torch.arange(height, dtype=dtype, device=device) + 0.5,
        torch.arange(width, dtype=dtype, device=device) + 0.5,
        indexing="ij",
    )
    pixels = torch.stack([u, v], -1).reshape(-1, 1, 2)
    dx, dy = (projection.means2d[order] - pixels).unbind(-1)
    a, b, c = projection.conics[order].unbind(-1)
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (opacities[order] * torch.exp(-sigma.clamp_min(0.0))).clamp_max(ALPHA_MAX)
    alpha = torch.where((sigma >= 0) & (alpha >= ALPHA_MIN), alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1.0 - alpha, dim=1)
    drawn = (after > T_STOP).to(dtype)  # once a pixel has stopped it stays stopped: `after` never grows
    alpha = alpha * drawn
    after = torch.cumprod(1.0 - alpha, dim=1)
    before = torch.cat([after.new_ones(len(after), 1), after], dim=1)
    return order, alpha * before[:, :-1], before[:, -1]


def composite(
    gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, width: int, height: int, near: float, far: float, eps2d: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Σ w colour [C, H, W, 3], Σ w z [C, H, W, 1], alpha [C, H, W, 1] and Σ w feature [C, H, W, F]."""
    images = []
    features = gaussians.means.new_empty(len(gaussians), 0) if gaussians.features is None else gaussians.features
    for viewmat, K in zip(viewmats, Ks, strict=True):
        projection = project(gaussians, viewmat, K, width, height, near, far, eps2d)
        order, w, rest = weights(projection, gaussians.opacities, width, height)
        values = torch.cat([gaussians.colors, projection.depths[:, None], features], -1)[order]
        images.append(torch.cat([w @ values, 1.0 - rest[:, None]], -1).reshape(height, width, -1))
    image = torch.stack(images)
    return image[..., :3], image[..., 3:4], image[..., -1:], image[..., 4:-1]


def pick(
    gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, width: int, height: int, near: float, far: float, eps2d: float
) -> tuple[Tensor, Tensor]:
    """Index [C, H, W] of the Gaussian with the largest weight (the front one of equals, -1 none) and its z."""
    indices, depths = [], []
    for viewmat, K in zip(viewmats, Ks, strict=True):
        projection = project(gaussians, viewmat, K, width, height, near, far, eps2d)
        order, w, _ = weights(projection, gaussians.opacities, width, height)
        if len(order) == 0:
            indices.append(torch.full((height, width), -1, device=w.device))
            depths.append(w.new_zeros(height, width))
            continue
        best, column = w.max(dim=1)
        index = torch.where(best > 0, order[column], -1)
        indices.append(index.reshape(height, width))
        depths.append(torch.where(best > 0, projection.depths[index], 0.0).reshape(height, width))
    return torch.stack(indices), torch.stack(depths)
