"""Targets and renders of a dataset camera as a table of pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ...core.metrics import depth_error, psnr
from ...core.splat import rasterize
from ..scenes.source import SceneState
from .colors import (
    DEFAULT_MAP,
    DEPTH_ERROR,
    MIN_ALPHA,
    RGB_ERROR,
    ColorMap,
    Image,
    colormap,
    depth_colors,
    feature_colors,
    over_background,
    resize,
    to_image,
)
from .draw import Cell, sheet
from .layer_data import LayerData


def views_sheet(
    data: LayerData,
    index: int,
    frame: int,
    width: int,
    errors: bool,
    text: int | None,
    colors: ColorMap = DEFAULT_MAP,
) -> Image:
    """Target and render of one dataset camera as RGB, depth and features, and with ``errors`` their differences.

    Args:
        width: width of the sheet, pixels.
        text: text size, pixels.
        colors: colour map of depths and errors.
    """
    state = data.state(index)
    if state is None or state.frames is None or len(state.frames) == 0:
        return sheet([[Cell(None, "no posed frames")]], [""], [""], width, 2.5, text)
    full = state.frames.cameras
    cell = max(32, (width // 3) // 8 * 8)
    size = (cell, max(24, round(cell * full.height / full.width)))
    color, depth, cameras = data.targets.read(state, index, frame, size)
    near, far = data.depth_range(index)
    target = data.source.teacher_features(index, frame)
    painted, _ = data.embedding_colors(index, state)
    basis = data.colors.fitted("embedding")
    top = [
        Cell(to_image(color)),
        Cell(to_image(depth_colors(depth, near, far, name=colors)), f"{near:.1f} to {far:.1f} m"),
        Cell(None, "no teacher")
        if target is None or basis is None
        else Cell(to_image(resize(feature_colors(target.to(basis.mean.device), basis)[0], *size))),
    ]
    rows, names = [top], ["target"]
    if state.gaussians is not None:
        seen_by = state.cameras(cameras)
        gaussians = replace(state.gaussians, features=painted)
        splats = rasterize(gaussians, seen_by.viewmats, seen_by.Ks, seen_by.width, seen_by.height)
        rgb, alpha = splats.color[0].cpu(), splats.alpha[0].cpu()
        z = splats.depth[0, ..., 0].cpu()
        seen = alpha[..., 0] > MIN_ALPHA
        quality, wrong = frame_quality(data, index, state, frame)
        rendered = None
        if splats.features is not None:
            rendered = over_background(splats.features[0], splats.alpha[0]).cpu()
        rows.append(
            [
                Cell(to_image(over_background(rgb, alpha)), f"{quality:.1f} dB"),
                Cell(
                    to_image(depth_colors(z, near, far, seen, colors)),
                    "" if np.isnan(wrong) else f"depth error {100 * wrong:.1f} %",
                ),
                Cell(None, "no features") if rendered is None else Cell(to_image(rendered)),
            ]
        )
        names.append("rendered")
        if errors:
            both = seen & (depth > 0)
            cosine = data.targets.cosine_error(state, index, frame)
            rows.append(
                [
                    Cell(to_image(colormap((rgb - color).abs().mean(-1) / RGB_ERROR, colors)), f"0 to {RGB_ERROR}"),
                    Cell(
                        to_image(depth_colors((z - depth).abs(), 0.0, DEPTH_ERROR, both, colors)),
                        f"0 to {DEPTH_ERROR} m",
                    ),
                    Cell(None, "no teacher")
                    if cosine is None
                    else Cell(
                        to_image(resize(colormap(cosine, colors), *size)), f"cosine {1 - float(cosine.mean()):.2f}"
                    ),
                ]
            )
            names.append("error")
    return sheet(rows, ["RGB", "Depth", "Features"], names, width, size[0] / size[1], text)


def frame_quality(data: LayerData, index: int, state: SceneState, frame: int) -> tuple[float, float]:
    """PSNR (dB) and median relative depth error of one dataset camera, at the size of the recorded picture (at most
    `views.WIDEST`), whatever the size of the sheet. Found once per state and frame. Needs Gaussians and frames."""

    def measure() -> tuple[float, float]:
        assert state.gaussians is not None
        color, depth, cameras = data.targets.read(state, index, frame)
        seen_by = state.cameras(cameras)
        splats = rasterize(state.gaussians, seen_by.viewmats, seen_by.Ks, seen_by.width, seen_by.height)
        z = splats.depth[0, ..., 0].cpu()
        measured = torch.where(splats.alpha[0, ..., 0].cpu() > MIN_ALPHA, depth, 0.0)
        return float(psnr(splats.color[0].cpu()[None], color[None])[0]), float(depth_error(z[None], measured[None])[0])

    return state.memo(("quality", frame), measure)
