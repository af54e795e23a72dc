"""Lifting of the target views' teacher features onto the points of a batch, in few operators and without waiting.

`lifting.observe` defines what a view sees; here the views of all scenes are handled together, and points that a view
does not see have weight 0 instead of being left out, because finding them would wait for the device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.batch import PointBatch, Views
from ..geometry.cameras import Cameras
from .lifting import LiftConfig, Lifted, same_surface


@torch.no_grad()
def lift_scenes(points: PointBatch, views: list[Views], config: LiftConfig | None = None) -> Iterator[Lifted]:
    """Lift the teacher features of each scene's target views onto its points, scene by scene; see `lifting.lift`.

    Args:
        points: B scenes in the views' worlds.
        views: per scene, with teacher features.
    """
    config = config or LiftConfig()
    if len({(v.depth.shape, v.teacher.shape if v.teacher is not None else None) for v in views}) > 1:
        for part, one in zip(points.split(len(views)), views, strict=True):
            yield from lift_scenes(part, [one], config)
        return
    with torch.autocast(points.coord.device.type, enabled=False):
        token, weight, count = _weights(points, views, config)
    for span, one in zip(points.spans(), views, strict=True):
        assert one.teacher is not None
        tokens = torch.nan_to_num(one.teacher.float(), 0.0, 0.0, 0.0)  # [M, h, w, D]
        table = F.normalize(tokens, dim=-1).flatten(0, 2)  # [M · h · w, D]
        features = F.embedding_bag(token[span], table, mode="sum", per_sample_weights=weight[span])  # [n, D]
        yield Lifted(features, count[span])


def _weights(points: PointBatch, views: list[Views], config: LiftConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Which tokens every point sees.

    Returns:
        tokens [V, 4 · M] of its scene's M views, their weights [V, 4 · M], whose sum is 1 for points that are seen, and
        the number of views [V] int32 that see it.
    """
    scene = points.scene()  # [V]
    cameras = [v.cameras for v in views]
    height, width = views[0].depth.shape[1:]
    h, w = views[0].teacher.shape[1:3]  # type: ignore[union-attr]
    depth = torch.stack([v.depth for v in views])  # [B, M, H, W]
    many = depth.shape[1]
    # Project every point into the views of its scene.
    uv, z = _project(points.coord, scene, cameras)  # [V, M, 2], [V, M]
    u, v = uv.unbind(-1)
    inside = (z > 0.01) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    column, row = (u.nan_to_num().clamp(0, width - 1).long(), v.nan_to_num().clamp(0, height - 1).long())
    view = torch.arange(many, device=scene.device) + scene[:, None] * many  # [V, M] in all views of the batch
    measured = depth.flatten()[(view * height + row) * width + column]  # [V, M]
    near = (measured - z).abs() <= config.tolerance + config.relative * z
    visible = inside & near & (measured > 0)  # [V, M]
    # The four tokens around each pixel.
    x0, wx = _cell(u * (w / width) - 0.5, w)  # [V, M] each
    y0, wy = _cell(v * (h / height) - 0.5, h)
    x1, y1 = (x0 + 1).clamp_max(w - 1), (y0 + 1).clamp_max(h - 1)
    token = torch.stack([y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1], -1)  # [V, M, 4] in its view
    bilinear = torch.stack([(1 - wy) * (1 - wx), (1 - wy) * wx, wy * (1 - wx), wy * wx], -1)
    rows = ((torch.arange(h, device=scene.device) + 0.5) * height / h).long()
    columns = ((torch.arange(w, device=scene.device) + 0.5) * width / w).long()
    surface = depth[:, :, rows[:, None], columns].flatten()  # [B · M · h · w]
    z = torch.where(visible, z, 1.0)[..., None]  # [V, M, 1]
    weight = bilinear * same_surface(surface[view[..., None] * (h * w) + token], z)  # [V, M, 4]
    count = visible.sum(1, dtype=torch.int32)  # [V]
    share = visible / (weight.sum(-1) * count.clamp_min(1)[:, None])  # [V, M]
    weight = torch.where(visible[..., None], weight * share[..., None], 0.0)
    token = token + (torch.arange(many, device=scene.device) * (h * w))[:, None]  # in all views of the scene
    return token.flatten(1), weight.flatten(1), count


def _project(coord: Tensor, scene: Tensor, cameras: list[Cameras]) -> tuple[Tensor, Tensor]:
    """`Cameras.project` of points [V, 3] into the M cameras of their own scene: [V, M, 2] and [V, M]."""
    view = torch.stack([c.viewmats[:, :3] for c in cameras]).index_select(0, scene)  # [V, M, 3, 4]
    K = torch.stack([c.Ks for c in cameras]).index_select(0, scene)  # [V, M, 3, 3]
    cam = (view[..., :3] @ coord[:, None, :, None])[..., 0] + view[..., 3]  # [V, M, 3]
    z = cam[..., 2]
    uv = (K[..., :2, :] @ cam[..., None])[..., 0] / z.clamp_min(1e-8)[..., None]
    return uv, z


def _cell(at: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Index of the token before a position in units of tokens, and the weight of the next token."""
    at = at.nan_to_num().clamp(0, count - 1)
    before = at.long()
    return before, at - before
