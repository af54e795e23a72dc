"""The CUDA splatter: gsplat with the conventions of `rasterize`.

gsplat projects covariances as R Σ Rᵀ with whatever 3×3 block the view matrix holds, so scales and reflections in the
extrinsics work as they do on the CPU. Its radii changed shape between 1.4 and 1.5; they are not used here. 1.4 cuts
Gaussians at 3 σ, 1.5 at the radius where alpha falls under 1/255: with 1.4 a pixel can lose an alpha of up to 0.011 per
Gaussian.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry.gaussians import Gaussians


def composite(
    gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, width: int, height: int, near: float, far: float, eps2d: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `reference.composite`, float32, on a CUDA device.

    gsplat draws at most 32 channels per pass and accepts few channel counts without padding; with 3 colours, 32
    features and the depth it makes two passes, of 32 and 4.
    """
    from gsplat import rasterization

    values = gaussians.colors
    if gaussians.features is not None:
        values = torch.cat([values, gaussians.features], -1)
    image, alpha, _ = rasterization(
        means=gaussians.means.contiguous(),
        quats=gaussians.quats.contiguous(),
        scales=gaussians.scales.contiguous(),
        opacities=gaussians.opacities.contiguous(),
        colors=values.contiguous(),
        viewmats=viewmats.float().contiguous(),
        Ks=Ks.float().contiguous(),
        width=width,
        height=height,
        near_plane=near,
        far_plane=far,
        eps2d=eps2d,
        packed=False,
        render_mode="RGB+D",
    )
    return image[..., :3], image[..., -1:], alpha, image[..., 3:-1]
