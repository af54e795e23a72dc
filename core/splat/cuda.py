"""The CUDA splatter: gsplat with the conventions of `rasterize`.

gsplat projects covariances as R Σ Rᵀ with whatever 3×3 block the view matrix holds, so scales and reflections in the
extrinsics work as they do on the CPU. Its radii changed shape between 1.4 and 1.5; they are not used here. 1.4 cuts
Gaussians at 3 σ, 1.5 at the radius where alpha falls under 1/255: with 1.4 a pixel can lose an alpha of up to 0.011 per
Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..geometry.gaussians import Gaussians

DENSE_BYTES = 2 << 30
"""Largest dense layout [B, C, N, channels] of several scenes in one call, bytes; larger batches are drawn scene by
scene in gsplat's packed layout, which holds visible Gaussians only."""


def composite(
    gaussians: Gaussians,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near: float,
    far: float,
    eps2d: float,
    *,
    packed: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `reference.composite`, float32, on a CUDA device.

    gsplat draws at most 32 channels per pass and accepts few channel counts without padding; with 3 colours, 32
    features and the depth it makes two passes, of 32 and 4. Leading axes before N and C are scenes.

    Args:
        packed: intermediate results of visible Gaussians only; not with leading axes (see `composite_scenes`).
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
        packed=packed,
        render_mode="RGB+D",
    )
    return image[..., :3], image[..., -1:], alpha, image[..., 3:-1]


def composite_scenes(
    scenes: Sequence[Gaussians], viewmats: Tensor, Ks: Tensor, width: int, height: int, *limits: float
) -> tuple[Tensor, ...]:
    """`composite` of B scenes into their own cameras: images [B, C, H, W, …].

    One call with a leading axis from gsplat 1.5.3 on; scenes are padded to one length by transparent Gaussians. Its
    packed layout is not used then: the backward pass sums the gradients of a warp's Gaussians by their index in the
    scene, so where a warp crosses from one scene to the next it may add one scene's gradient to the other's.

    Args:
        viewmats: [B, C, 4, 4]. Ks: [B, C, 3, 3].
    """
    longest = max(32, *map(len, scenes))  # 32: no warp holds two Gaussians of one index
    channels = 0 if scenes[0].features is None else scenes[0].features.shape[1]
    dense = dense_bytes(viewmats.shape[0] * viewmats.shape[1], longest, channels)
    if not _takes_leading_axes() or dense > DENSE_BYTES:
        each = zip(scenes, viewmats, Ks, strict=True)
        drawn = [composite(g, v, K, width, height, *limits, packed=True) for g, v, K in each]
        return tuple(torch.stack(images) for images in zip(*drawn, strict=True))
    return composite(_padded(scenes, longest), viewmats, Ks, width, height, *limits)


def dense_bytes(images: int, gaussians: int, features: int) -> int:
    """Bytes that gsplat's dense layout keeps until the backward pass: colour, depth, features, and 9 numbers beside."""
    return 4 * (4 + features + 9) * gaussians * images


def _takes_leading_axes() -> bool:
    version = str(getattr(import_module("gsplat"), "__version__", "0"))
    return tuple(int(part) for part in version.split("+")[0].split(".")[:3] if part.isdigit()) >= (1, 5, 3)


class _Scenes(Gaussians):
    """Gaussians [B, N, …] of B scenes."""

    def __post_init__(self) -> None:
        """`Gaussians` has no leading axis."""


def _padded(scenes: Sequence[Gaussians], length: int) -> Gaussians:
    """Stack scenes as [B, N, …] with transparent unit Gaussians at their ends."""

    def column(name: str) -> Tensor:
        fill = 0.0 if name == "opacities" else 1.0
        rows = pad_sequence([getattr(g, name) for g in scenes], batch_first=True, padding_value=fill)  # [B, longest, …]
        missing = length - rows.shape[1]
        if missing <= 0:
            return rows
        return torch.cat([rows, rows.new_full((len(scenes), missing, *rows.shape[2:]), fill)], 1)

    features = None if scenes[0].features is None else column("features")
    columns = [column(name) for name in ("means", "quats", "scales", "opacities", "colors")]
    return _Scenes(columns[0], columns[1], columns[2], columns[3], columns[4], features)
