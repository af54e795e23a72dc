"""Image of a scene beside its true and its predicted instances, from an oblique view."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...core.data.scene import PointScene
from ...core.geometry.cameras import intrinsics, look_at
from ...core.geometry.gaussians import Gaussians
from ...core.splat import rasterize
from .instances import InstancePrediction, instances_of, labels_of

MAX_POINTS = 150_000
"""Maximum number of points that are drawn."""

SLANT = np.radians(50)
"""Elevation of the camera above the horizontal, radians."""

_BACK = (0.965, 0.967, 0.972)
_FADED = 0.18
"""Contrast of points without an instance, as a share of the original."""


def picture(prediction: InstancePrediction, ignored: tuple[int, ...] = (), size: int = 640) -> NDArray[np.uint8]:
    """Draw points, true and predicted instances in three panels: [H, W, 3].

    Back faces are hidden, so that walls and ceiling do not cover the room. A prediction has the colour of the true
    instance that it overlaps most, if the IoU is at least 0.25, else a colour of its own.

    Args:
        ignored: classes without instances.
        size: side of a panel, pixels.
    """
    scene, label = prediction.scene, prediction.proposals.label.cpu()
    segment, truth = labels_of(scene), instances_of(scene).clone()
    truth[(segment < 0) | torch.isin(segment, torch.tensor(ignored, dtype=torch.int64))] = -1
    ids, truth = _consecutive(truth)
    partner = match_proposals(truth, label, ids, len(prediction.proposals))
    color = torch.from_numpy(scene.color).float() / 255
    faded = 1 - _FADED * (1.3 - color.mean(1, keepdim=True)) * torch.ones(3)
    wheel = palette(max(1, ids + len(prediction.proposals)))  # scenes without any instance are drawn, too
    shown = torch.where((truth < 0)[:, None], faded, wheel[truth.clamp_min(0)])
    own = torch.where(partner < 0, ids + torch.arange(len(partner)), partner)
    guessed = torch.where((label < 0)[:, None], faded, wheel[own[label.clamp_min(0)]] if len(own) else faded)
    panels = _render(scene, torch.cat([color, shown, guessed], 1), size)
    found = int((partner >= 0).sum())
    titles = (scene.name, f"{ids} true instances", f"{len(partner)} predicted, {found} of them over a true one")
    return np.concatenate([_titled(p, t) for p, t in zip(panels, titles, strict=True)], 1)


def match_proposals(truth: Tensor, label: Tensor, instances: int, proposals: int, least: float = 0.25) -> Tensor:
    """Return [P] the true instance that each proposal overlaps most, −1 where no IoU reaches ``least``.

    Args:
        truth: [N] instance of each point, below ``instances``, −1 for none.
        label: [N] proposal of each point, below ``proposals``, −1 for none.
    """
    if not instances or not proposals:
        return torch.full((proposals,), -1)
    both = (truth >= 0) & (label >= 0)
    common = torch.bincount(label[both] * instances + truth[both], minlength=proposals * instances)
    common = common.view(proposals, instances).double()
    true_size, size = (
        torch.bincount(v[v >= 0], minlength=n).double() for v, n in ((truth, instances), (label, proposals))
    )
    iou, best = (common / (true_size + size[:, None] - common)).max(1)
    return torch.where(iou >= least, best, -1)


def palette(count: int) -> Tensor:
    """Return colours [count, 3] in [0, 1] that differ from their neighbours: hues advance by the golden ratio."""
    steps = [
        ((0.58 + i * 0.61803399) % 1, (0.45, 0.58, 0.36)[i % 3], (0.75, 0.9, 0.6)[i // 3 % 3]) for i in range(count)
    ]
    return torch.tensor([colorsys.hls_to_rgb(*step) for step in steps]).view(count, 3)


def _consecutive(instance: Tensor) -> tuple[int, Tensor]:
    """Return the number of instances, and their ids [N] renumbered from 0; −1 stays."""
    ids, index = torch.unique(instance, return_inverse=True)
    nothing = int((ids < 0).sum())
    return len(ids) - nothing, index - nothing if nothing <= 1 else index


def _render(scene: PointScene, colors: Tensor, size: int) -> list[NDArray[np.uint8]]:
    """Render the points in P colourings, ``colors`` [N, 3 · P], as P square images."""
    pick = np.random.default_rng(0).permutation(len(scene))[:MAX_POINTS]
    coord, normal = scene.coord[pick].astype(np.float64), scene.normal[pick]
    low, high = np.percentile(coord, [0.5, 99.5], axis=0)
    middle, radius = (low + high) / 2, 0.5 * float(np.linalg.norm((high - low)[:2]))
    fov = np.radians(30)
    away = 1.12 * max(radius, 0.1) / np.tan(fov / 2)
    # The camera stands beyond the longer side, so that the room lies across the picture.
    side = np.array([0.35, -1.0]) if high[0] - low[0] >= high[1] - low[1] else np.array([-1.0, 0.35])
    side = side / np.linalg.norm(side) * np.cos(SLANT)
    eye = middle + away * np.array([*side, np.sin(SLANT)])
    front = ((eye - coord) * normal).sum(1) >= 0  # where the normal is unknown, too
    coord, colors = coord[front], colors[torch.from_numpy(pick[front])]
    # Discs that cover the surface: seen points share it, about 1.5 times each other's width apart.
    area = max(2.5 * float(np.prod((high - low)[:2])), 1e-4)
    spread = float(np.clip(0.75 * np.sqrt(area / max(1, len(coord))), 0.004, 0.05))
    dots = Gaussians(
        means=torch.from_numpy(coord).float(),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(len(coord), 1),
        scales=torch.full((len(coord), 3), spread),
        opacities=torch.full((len(coord),), 0.99),
        colors=colors[:, :3],
        features=colors[:, 3:],
    )
    viewmat = look_at(torch.from_numpy(eye).float(), torch.from_numpy(middle).float())
    splats = rasterize(dots, viewmat[None], intrinsics(float(fov), size, size)[None], size, size)
    assert splats.features is not None
    back = (1 - splats.alpha[0]) * torch.tensor(_BACK).repeat(colors.shape[1] // 3)
    image = torch.cat([splats.color[0], splats.features[0]], -1) + back
    return [(p.clamp(0, 1) * 255 + 0.5).byte().numpy() for p in image.split(3, -1)]


def _titled(image: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    text = max(10, len(image) // 32)
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).text((text, text), title, font=ImageFont.load_default(text), fill=(40, 42, 48))
    return np.asarray(canvas)
