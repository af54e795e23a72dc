"""Sheets of pictures for evaluations: rendered beside measured views."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.data.batch import Views
from ...core.features.pca import PcaBasis
from ...core.metrics import depth_error, psnr, token_cosine
from ...core.models import Prediction
from .colors import Image, colormap, depth_colors, feature_colors, over_background, resize, to_image
from .draw import Cell, sheet

ERROR_RANGE = 0.5
"""Mean absolute colour error at the end of the colour map."""


@dataclass(frozen=True)
class ViewMetrics:
    """Measures of M rendered views, [M] each: PSNR in dB, median relative depth error, teacher cosine (or None)."""

    psnr: Tensor
    depth_error: Tensor
    cosine: Tensor | None

    @staticmethod
    def of(views: Views, prediction: Prediction) -> ViewMetrics:
        cosine = None
        if prediction.tokens is not None and views.teacher is not None:
            cosine = token_cosine(prediction.tokens, views.teacher)
        depth = prediction.splats.depth[..., 0]
        return ViewMetrics(psnr(prediction.splats.color, views.color), depth_error(depth, views.depth), cosine)


@torch.no_grad()
def view_sheet(views: Views, prediction: Prediction, names: list[str] | None = None, width: int = 1800) -> Image:
    """One row per view: target and rendered colour, their difference, measured and rendered depth and, where there is
    a teacher, its features and the rendered ones in one colour basis.

    Args:
        names: row titles; numbers by default.
        width: width of the sheet, pixels.
    """
    splats, measures = prediction.splats, ViewMetrics.of(views, prediction)
    near, far = _quantile_range(views.depth if bool((views.depth > 0).any()) else splats.depth)
    columns = ["target", "rendered", "error", "depth", "rendered"]
    basis = None
    if prediction.tokens is not None and views.teacher is not None:
        columns += ["teacher", "rendered"]
        basis = PcaBasis.fit(_unit(views.teacher).flatten(0, 2))
    rows = []
    for i in range(len(views.cameras)):
        alpha, depth = splats.alpha[i], splats.depth[i, ..., 0]
        error = (splats.color[i] - views.color[i]).abs().mean(-1)
        row = [
            Cell(to_image(views.color[i])),
            Cell(to_image(over_background(splats.color[i], alpha)), f"{measures.psnr[i]:.1f} dB"),
            Cell(to_image(colormap(error / ERROR_RANGE)), f"{error.mean():.3f}"),
            Cell(to_image(depth_colors(views.depth[i], near, far)), f"{near:.1f} to {far:.1f} m"),
            Cell(to_image(depth_colors(depth, near, far, alpha[..., 0] > 0.1)), f"{measures.depth_error[i]:.1%} off"),
        ]
        if basis is not None and prediction.tokens is not None and views.teacher is not None:
            assert measures.cosine is not None
            row += [
                Cell(_features(views.teacher[i], basis, views)),
                Cell(_features(prediction.tokens[i], basis, views), f"cosine {measures.cosine[i]:.2f}"),
            ]
        rows.append(row)
    titles = names or [str(i) for i in range(len(rows))]
    return sheet(rows, columns, titles, width, views.cameras.width / views.cameras.height)


def _quantile_range(depth: Tensor) -> tuple[float, float]:
    """1 % and 99 % quantiles (m) of the measured depths (> 0); (0, 1) without any."""
    valid = depth[depth > 0].flatten()
    if len(valid) == 0:
        return 0.0, 1.0
    valid = valid[:: max(1, len(valid) // 100_000)]
    low, high = torch.quantile(valid, valid.new_tensor([0.01, 0.99])).tolist()
    return low, max(high, low + 1e-3)


def _features(tokens: Tensor, basis: PcaBasis, views: Views) -> Image:
    colors, _ = feature_colors(_unit(tokens), basis)
    return to_image(resize(colors, views.cameras.width, views.cameras.height))


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features.float(), dim=-1)
