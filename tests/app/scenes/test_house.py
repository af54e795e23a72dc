"""The shell of a room: what is left out for a camera outside, and the view that shows all of a scene."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.export.camera_path import overview_pose
from gaussiancross.app.query.picking import in_rectangle, pick
from gaussiancross.app.render.options import RenderOptions
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.scenes.geometry import bounds
from gaussiancross.app.scenes.house import drawn, house_of
from gaussiancross.app.scenes.source import SceneState
from gaussiancross.core.data.scene import PointScene
from helpers.inspector import Furnished, box_room

INSIDE, CORNER = np.array([2.0, 1.5, 1.2]), np.array([-3.0, -3.0, 6.0])
CEILING, FLOOR = 5, 4
"""Segments of `box_room`."""


def points_of(coord: np.ndarray) -> SceneState:
    grey = np.full(coord.shape, 128, np.uint8)
    return SceneState("points", points=PointScene("points", coord.astype(np.float32), grey, np.zeros_like(coord)))


def turned(degrees: float) -> SceneState:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return points_of(box_room(30).coord @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]))


class TestHouse:
    def test_a_camera_outside_loses_the_ceiling_and_the_walls_before_it(self):
        state = Furnished().state
        house = house_of(state, "+z")
        assert house is not None and not house.hidden(INSIDE).any()
        parts = house.parts(state.points.coord)
        hidden = house.hidden(CORNER)[parts]
        segment = state.points.segment
        shares = [float(hidden[segment == k].mean()) for k in range(6)]  # west, east, south, north, floor, ceiling
        assert min(shares[0], shares[2], shares[CEILING]) > 0.9
        assert max(shares[1], shares[3], shares[FLOOR]) < 0.2

    def test_a_turned_room_is_cut_along_its_own_walls(self):
        house = house_of(turned(30), "+z")
        assert house is not None
        np.testing.assert_allclose(np.sort(house.high - house.low), [2.5, 3, 4], atol=0.15)

    @pytest.mark.parametrize("up", ["+z", "-z", "+y", "-y", "+x", "-x"])
    def test_up_may_be_any_axis(self, up):
        from gaussiancross.app.scenes.geometry import z_up_to

        turn = np.stack([z_up_to(axis, up) for axis in np.eye(3)])
        house = house_of(points_of(box_room(30).coord @ turn), up)
        assert house is not None and house.hidden(np.array([2.0, 1.5, 9.0]) @ turn).tolist() == [False, True] + 4 * [
            False
        ]

    def test_an_object_is_not_cut(self):
        rng = np.random.default_rng(0)
        ball = rng.normal(size=(4000, 3))
        table = rng.random((4000, 3)) * [1.5, 1.0, 0.02] + [0, 0, 0.7]
        for coord in (ball / np.linalg.norm(ball, axis=1, keepdims=True), table):
            assert house_of(points_of(coord), "+z") is None

    def test_frames_around_a_thing_look_at_it_from_outside(self):
        state = Furnished().state
        views = state.frames.cameras.viewmats.clone()
        views[:, :3, 3] += 20
        frames = replace(state.frames, cameras=replace(state.frames.cameras, viewmats=views))
        assert house_of(replace(state, frames=frames), "+z") is None


class TestOverview:
    @pytest.mark.parametrize("aspect", [0.5, 1.3, 3.0])
    def test_all_of_the_room_is_in_the_picture_and_fills_it(self, aspect):
        state = Furnished().state
        pose, _ = overview_pose(state, "+z", aspect)
        low, high = bounds(state)
        corners = torch.tensor([[(low, high)[c >> k & 1][k] for k in range(3)] for c in range(8)]).float()
        uv, z = pose.cameras(round(400 * aspect), 400).project(corners)
        size = torch.tensor([400 * aspect, 400.0])
        assert (z > 0).all() and (uv > 0).all() and (uv < size).all()
        assert float(((uv[0].max(0).values - uv[0].min(0).values) / size).max()) > 0.8
        assert pose.position[2] > high[2]

    def test_the_picture_from_outside_shows_the_inside(self):
        source = Furnished()
        renderer = Renderer(source)
        state = renderer.load(0)
        cameras = overview_pose(state, "+z", 1.3)[0].cameras(130, 100)
        floor = torch.from_numpy(state.points.color[state.points.segment == FLOOR][0])

        def share_of_floor(options: RenderOptions) -> float:
            image = torch.from_numpy(renderer.draw(0, options, cameras).image).int()
            return float(((image - floor).abs().amax(-1) < 25).float().mean())

        assert share_of_floor(RenderOptions(cut="+z")) > 0.1 > share_of_floor(RenderOptions())

    def test_clicks_and_boxes_go_through_what_is_not_drawn(self):
        state = Furnished().state
        cameras = overview_pose(state, "+z", 1.3)[0].cameras(130, 100)
        keep = drawn(state, None, "+z", cameras)
        for one in (state, replace(state, gaussians=None)):  # Gaussians, then points
            near, far = (pick(one, cameras, 65, 55, keep=k) for k in (None, keep))
            assert near is not None and far is not None
            assert np.linalg.norm(far.position - INSIDE) < np.linalg.norm(near.position - INSIDE) or (
                far.position[2] < 1 < near.position[2]
            )
            inside = in_rectangle(one, cameras, (20.0, 20.0), (110.0, 80.0), keep)
            assert len(inside) and keep.numpy()[inside].all()

    def test_depth_from_outside_is_not_of_one_colour(self):
        renderer = Renderer(Furnished())
        state = renderer.load(0)
        cameras = overview_pose(state, "+z", 1.3)[0].cameras(130, 100)
        canvas = renderer.draw(0, RenderOptions(layer="Depth", cut="+z", text=False), cameras)
        colors = np.unique(canvas.image.reshape(-1, 3), axis=0)
        assert len(colors) > 40 and canvas.marks.legends[0][1].title == "depth"
