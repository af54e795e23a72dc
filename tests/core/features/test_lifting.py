"""Lifting teacher features onto points: the fast path against the loop, visibility, means, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.data.batch import InputConfig, make_input
from gaussiancross.core.data.scene import Frame, PointScene, PosedFrames
from gaussiancross.core.errors import InputError
from gaussiancross.core.features.lifting import (
    LiftConfig,
    lift,
    lift_voxels,
    observe,
    observe_reference,
    spaced_frames,
)
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.teachers import TeacherInfo

W, H = 40, 30
EYES = ((0.0, -3.0, 0.5), (1.5, -2.5, 1.0), (-2.0, -2.0, 0.2))


def cameras() -> Cameras:
    views = torch.stack([look_at(torch.tensor(e), torch.tensor([0.0, 0.0, 0.3])) for e in EYES])
    return Cameras(views, intrinsics(1.0, W, H).expand(len(EYES), 3, 3), W, H)


class Wall:
    """A fake teacher: the sign of the world's x where a pixel's ray meets the plane y = 0, as two directions."""

    info = TeacherInfo("wall", 2, "none", None, True)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> torch.Tensor:
        x = frames.cameras[index].resized(W, H).unproject(plane_depth(frames.cameras[index]))[..., 0]
        return torch.stack([(x < 0).float(), (x >= 0).float()], -1) * 7


def plane_depth(cameras: Cameras) -> torch.Tensor:
    """[C, H, W] z of the plane y = 0."""
    one = cameras.unproject(torch.ones(len(cameras), H, W))
    centers = cameras.centers[:, None, None]
    step = one - centers
    return -centers[..., 1] / step[..., 1]


@pytest.fixture(scope="module")
def frames() -> PosedFrames:
    depth = plane_depth(cameras()).numpy()

    def read(i: int, width: int, height: int) -> Frame:
        assert (width, height) == (W, H)
        return Frame(np.zeros((H, W, 3), np.float32), depth[i])

    return PosedFrames(("a", "b", "c"), cameras(), read)


def points(y: float = 0.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    xz = torch.rand(400, 2, generator=g) * 4 - 2
    return torch.stack([xz[:, 0], torch.full((400,), y), xz[:, 1]], 1)


def test_the_fast_path_is_the_loop():
    g = torch.Generator().manual_seed(1)
    camera = cameras()[0]
    cloud = torch.randn(600, 3, generator=g) * 1.5
    depth = camera.project(cloud)[1].mean() + torch.randn(H, W, generator=g)
    depth[:4] = 0
    tokens = torch.randn(7, 9, 5, generator=g)
    tokens[2, 3], tokens[4, 5, 1] = 0, torch.inf
    config = LiftConfig(tolerance=0.3)
    index, features = observe(cloud, camera, depth, torch.where(tokens.isfinite(), tokens, 0), config)
    spoilt = tokens.clone()
    spoilt[4, 5, 1] = 0
    expected, rows = observe_reference(cloud, camera, depth, spoilt, config)
    assert index.tolist() == expected and 20 < len(expected) < 500
    torch.testing.assert_close(features.double(), torch.stack(rows), atol=1e-4, rtol=0)
    assert observe(cloud, camera, depth, tokens, config)[1].isfinite().all()


def test_points_get_the_mean_of_the_frames_that_see_them(frames):
    cloud = points()
    lifted = lift(cloud.numpy(), frames, Wall(), "wall")
    away = (cloud[:, 0].abs() > 0.25) & (lifted.views > 0)
    assert away.sum() > 100 and lifted.views.max() == 3
    side = (cloud[away, 0] >= 0).long()
    torch.testing.assert_close(lifted.features[away], torch.nn.functional.one_hot(side, 2).float(), atol=1e-5, rtol=0)
    assert not lifted.features[lifted.views == 0].any()
    assert lifted.seen == pytest.approx(float((lifted.views > 0).float().mean()))


def test_hidden_points_get_no_feature(frames):
    assert lift(points(0.5), frames, Wall(), "wall").seen == 0  # behind the plane
    assert lift(points(-0.5), frames, Wall(), "wall").seen == 0  # floating before it
    assert lift(points(0.02), frames, Wall(), "wall").seen > 0.5  # within the tolerance


def test_frames_are_chosen_evenly_and_progress_is_reported(frames):
    assert spaced_frames(10, 3) == [0, 4, 9] and spaced_frames(2, 5) == [0, 1] and spaced_frames(5, None)[-1] == 4
    told = []
    few = lift(points(), frames, Wall(), "wall", LiftConfig(frames=2), lambda *p: told.append(p))
    assert told == [(1, 2), (2, 2)] and few.views.max() <= 2


def test_frames_without_depth_are_refused(frames):
    def blind(i: int, width: int, height: int) -> Frame:
        return Frame(np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32))

    with pytest.raises(InputError, match="no depth"):
        lift(points(), replace(frames, read=blind), Wall(), "wall")
    with pytest.raises(InputError, match="posed frames"):
        lift(points(), frames.subset([]), Wall(), "wall")


def test_damaged_frames_are_left_out(frames):
    def read(i, width, height):
        if i == 1:
            raise InputError("1.png", "an image", "half of one")
        return frames.read(i, width, height)

    damaged = replace(frames, read=read)
    with pytest.warns(UserWarning, match="wall: 1 of 3 frames are damaged and not lifted; the first: 1.png"):
        lifted = lift(points(), damaged, Wall(), "wall")
    assert torch.equal(lifted.features, lift(points(), frames, Wall(), "wall", frame_index=[0, 2]).features)
    with pytest.raises(InputError, match="half of one"):
        lift(points(), damaged, Wall(), "wall", frame_index=[1])


def test_voxels_carry_the_mean_of_their_points_that_some_frame_sees(frames):
    coord = torch.cat([points(), points(y=0.5)]).numpy()  # what lies behind the plane is not seen
    scene = PointScene("wall", coord, np.zeros((len(coord), 3), np.uint8), np.zeros_like(coord))
    given = make_input(scene, InputConfig(voxel_size=0.6, mask_ratio=0.3), np.random.default_rng(0))
    batch = lift_voxels(scene, given, frames, Wall(), [0, 2])
    each = lift(coord[given.index.numpy()], frames, Wall(), "wall", frame_index=[0, 2])
    assert batch.lifted is not None and 0 < int((batch.lifted.norm(dim=1) == 0).sum()) < len(batch.lifted)
    for voxel in range(len(batch.coord)):
        seen = (given.inverse == voxel) & (each.views > 0)
        sightings = each.views[seen].float()
        mean = (each.features[seen] * sightings[:, None]).sum(0) / sightings.sum().clamp_min(1)
        expected = mean * sightings.mean() / (sightings.mean() + 1) if seen.any() else torch.zeros(2)
        torch.testing.assert_close(batch.lifted[voxel], expected)
