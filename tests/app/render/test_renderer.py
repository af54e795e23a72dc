"""The renderer: sizes of its images, blends, missing features, framing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.render import sheets
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.scenes.geometry import bounds, depth_range
from gaussiancross.app.scenes.source import PointsSource, SceneState, SplatsSource
from helpers.inspector import Boxes, as_gaussians, box_frames, box_room, free_camera


# --- renderer -------------------------------------------------------------------------------------------------
class TestRenderer:
    @pytest.fixture()
    def renderer(self) -> Renderer:
        scene = box_room(24)
        features = torch.cat([torch.from_numpy(scene.coord), torch.from_numpy(scene.normal)], 1)
        source = SplatsSource(as_gaussians(scene, features), frames=box_frames(), device="cpu")
        renderer = Renderer(source)
        renderer.load(0)
        return renderer

    @pytest.mark.parametrize("layer", ["RGB", "Depth", "Features", "Alpha"])
    def test_layers_have_the_size_asked_for_and_are_not_constant(self, renderer, layer):
        canvas = renderer.canvas(0, layer, free_camera(160, 120), with_depth=True)
        assert canvas.image.shape == (120, 160, 3) and canvas.image.dtype == np.uint8
        assert canvas.depth.shape == (120, 160) and np.isfinite(canvas.depth).all()
        flat = canvas.image[:60].reshape(-1, 3)  # above the legend
        spread = int(flat.max(0).max()) - int(flat.min(0).min())
        assert spread < 10 if layer == "Alpha" else spread > 50  # the room is closed: opaque everywhere

    def test_blend_goes_from_colours_to_features(self, renderer):
        rgb, half, full = (renderer.canvas(0, "RGB", free_camera(), blend=b).image.astype(int) for b in (0, 0.5, 1))
        features = renderer.canvas(0, "Features", free_camera()).image.astype(int)
        assert np.array_equal(full, features) and not np.array_equal(rgb, full)
        assert np.abs(2 * half - rgb - full).max() <= 4  # blending is linear

    def test_nan_features_are_shown_and_counted(self):
        scene = box_room(8)
        features = torch.from_numpy(scene.coord).clone()
        features[:9] = torch.nan
        renderer = Renderer(SplatsSource(as_gaussians(scene, features), device="cpu"))
        renderer.load(0)
        canvas = renderer.canvas(0, "Features", free_camera())
        assert "9 Gaussians" in canvas.note

    def test_views_sheet(self, renderer):
        two = renderer.views(0, 1, 400)
        three = renderer.views(0, 1, 400, errors=True)
        assert two.shape[1] == 400 and three.shape[0] > two.shape[0]
        assert renderer.views_canvas(0, 1, 640, 480).image.shape == (480, 640, 3)

    def test_quality_does_not_follow_the_size_of_the_sheet(self, renderer, monkeypatch):
        notes = []
        monkeypatch.setattr(sheets, "sheet", lambda cells, *_: notes.append([c.note for row in cells for c in row]))
        for width in (200, 640):
            sheets.views_sheet(renderer, 0, 0, width, False, None)
        assert notes[0] == notes[1] and any("dB" in note for note in notes[0])

    def test_points(self, renderer):
        coord, colors, note = renderer.points(0, "Colour", 500)
        assert coord.shape == colors.shape == (500, 3) and note == ""
        assert "no normals" in renderer.points(0, "Normals", 500)[2]
        scenes = Renderer(PointsSource(Boxes()))
        state = scenes.load(0)
        for mode in ("Colour", "Normals", "Labels"):
            coord, colors, note = scenes.points(0, mode, 10**6)
            assert len(coord) == len(state.points) and colors.std() > 1 and note == ""
        assert "no features" in scenes.points(0, "Features", 100)[2]

    def test_framing_ignores_a_stray_point(self):
        scene = box_room()
        far = replace(scene, coord=np.concatenate([scene.coord[:-1], [[1e4, 1e4, 1e4]]]).astype(np.float32))
        low, high = bounds(SceneState("far", points=far))
        assert (high < 5).all() and (low > -1).all()
        assert depth_range(SceneState("far", points=far))[1] < 10
