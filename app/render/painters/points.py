"""Painters of the input points as discs."""

from __future__ import annotations

from dataclasses import replace

from ....core.splat import rasterize
from ...scenes.house import house_of
from ..clouds import dots
from ..options import LayerImage
from .base import PaintRequest, blank, splatted_colors

MAX_POINTS = 400_000
"""Points drawn at most on the server, where points share the canvas with another layer."""


def paint_points(request: PaintRequest) -> LayerImage:
    """The input points, or the Gaussians' centres in a scene without points."""
    return _paint_points(request, masked=False)


def paint_masked(request: PaintRequest) -> LayerImage:
    """The input points, those hidden by a mask of the training in grey."""
    return _paint_points(request, masked=True)


def _paint_points(request: PaintRequest, masked: bool) -> LayerImage:
    state, options = request.state, request.options
    points = request.data.points(request.index, options.point_color, MAX_POINTS, masked, options.style)
    if points is None:
        return LayerImage(blank(request.cameras), note="no points")
    coord, colors, note = points
    house = None if options.cut is None else house_of(state, options.cut)
    if house is not None:
        shown = ~house.hidden(request.cameras.centers[0].numpy())[house.parts(coord)]
        coord, colors = coord[shown], colors[shown]
    device = "cpu" if state.gaussians is None else state.gaussians.means.device
    discs = dots(coord, colors, options.point_size).to(device)
    cameras = request.cameras.to(device)  # points are in the world, not in the frame of the Gaussians
    splats = rasterize(discs, cameras.viewmats, cameras.Ks, cameras.width, cameras.height)
    return replace(splatted_colors(splats), note=note)
