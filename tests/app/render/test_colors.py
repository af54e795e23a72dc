"""Colour maps, legends and contact sheets."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from gaussiancross.app.render.colors import (
    MARK,
    ColorMap,
    class_colors,
    colormap,
    css_colors,
    depth_colors,
    feature_colors,
    over_background,
    to_image,
)
from gaussiancross.app.render.draw import Cell, add_legend, fit, sheet
from gaussiancross.core.features.pca import PcaBasis


# --- layers ---------------------------------------------------------------------------------------------------
class TestLayers:
    def test_colormap_ends_and_clamps(self):
        colors = colormap(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]))
        assert torch.equal(colors[0], colors[1]) and torch.equal(colors[3], colors[4])
        assert colors[1, 2] > colors[1, 0] and colors[3, 0] > colors[3, 2]  # low is blue, high is yellow

    @pytest.mark.parametrize("name", [n for n in get_args(ColorMap) if n != "Turbo"])
    def test_uniform_maps_grow_lighter_at_an_even_pace(self, name):
        light = colormap(torch.linspace(0, 1, 33), name) ** 2.2 @ torch.tensor([0.2126, 0.7152, 0.0722])
        steps = (light ** (1 / 3)).diff()  # CIE lightness, but for its scale
        assert (steps > 0).all()
        assert steps[8:].max() < 3 * steps[8:].min()
        assert css_colors(name).startswith("#") and css_colors(name).count(",") in (1, 16)

    def test_nan_is_marked_and_counted(self):
        features = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))
        basis = PcaBasis.fit(features)
        features[3, 1] = torch.nan
        features[7, 0] = torch.inf
        colors, bad = feature_colors(features, basis)
        assert bad == 2
        assert torch.equal(colors[[3, 7]], torch.tensor(MARK).expand(2, 3))
        assert torch.isfinite(colors).all()

    def test_to_image_marks_nan(self):
        image = to_image(torch.tensor([[[0.0, 0.5, 1.0], [torch.nan, 0, 0]]]))
        assert image.dtype == np.uint8 and image.tolist() == [[[0, 128, 255], [255, 0, 255]]]

    def test_depth_colors(self):
        depth = torch.tensor([[0.0, 1.0, 3.0]])
        colors = depth_colors(depth, 1.0, 3.0)
        assert torch.equal(colors[0, 0], over_background(torch.zeros(3), torch.zeros(1)))  # not measured
        assert torch.allclose(colors[0, 1:], colormap(torch.tensor([0.0, 1.0])))

    def test_classes_differ_and_ignore_is_grey(self):
        colors = class_colors(torch.arange(-1, 40))
        distance = torch.cdist(colors, colors) + torch.eye(41)
        assert distance.min() > 0.03
        assert colors[0].max() - colors[0].min() < 0.05

    def test_legend_changes_only_its_corner(self):
        image = np.zeros((300, 400, 3), np.uint8)
        out = add_legend(image, 0.5, 4.5)
        assert (out != 0).any() and not (out[:150] != 0).any() and not image.any()

    def test_sheet_and_fit(self):
        red = np.full((30, 40, 3), (255, 0, 0), np.uint8)
        image = sheet([[Cell(red, "x"), Cell(None, "none")]], ["a", "b"], ["row"], 300, 4 / 3)
        assert image.shape[1] == 300 and (image == (255, 0, 0)).all(-1).sum() > 5000
        assert fit(image, 500, 400).shape == (400, 500, 3)
