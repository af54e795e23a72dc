"""Rooms at the size of the benchmark, and the tokens of teachers for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.benchmarks.rooms_bench import data as bench_data
from gaussiancross.benchmarks.rooms_bench.data import RoomCacheConfig, SmallRooms, SmallTeacher, lifted_source
from gaussiancross.core.data.batch import make_points
from gaussiancross.core.errors import InputError
from helpers.bench_rooms import Boxes, Halves


def test_points_views_and_tokens_are_those_of_the_rooms(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_data, "make_teacher", lambda spec: Halves())
    source = Boxes("train", 2)
    small = SmallRooms(source, RoomCacheConfig(200, 24, 18), tmp_path)
    scene, whole = small.scene(1).validated(), source.scene(1)
    points = {tuple(p): c for p, c in zip(whole.coord.tolist(), whole.segment, strict=True)}
    assert len(scene) == 200 and all(points[tuple(p)] == c for p, c in zip(scene.coord, scene.segment, strict=True))
    held_out = SmallRooms(Boxes("val", 1), RoomCacheConfig(200, 24, 18), tmp_path)
    assert len(held_out.scene(0)) == 600 and held_out.folder != small.folder
    color, depth, cameras = small.frames(1).stack([2], 24, 18)
    color_, depth_, cameras_ = source.frames(1).stack([2], 24, 18)
    assert torch.allclose(color, color_, atol=1 / 255) and torch.equal(depth, depth_)
    assert torch.equal(cameras.Ks, cameras_.Ks) and torch.equal(cameras.viewmats, cameras_.viewmats)
    with pytest.raises(InputError, match="24 × 18"):
        small.frames(1).read(0, 48, 36)
    teacher = SmallTeacher("halves", small, held_out)
    tokens = teacher.features("train_1", small.frames(1), [0, 2])
    assert tokens.shape == (2, 30, 40, 2) and teacher.info.dim == 2
    assert torch.allclose(tokens[0, :, :20], torch.tensor([3.0, 0.0]))
    assert torch.allclose(tokens[1, :, 20:], torch.tensor([0.0, 5.0]))
    # A second opening reads the files; a damaged one is made anew.
    again = SmallRooms(Boxes("train", 2), RoomCacheConfig(200, 24, 18), tmp_path)
    assert np.array_equal(again.scene(1).coord, scene.coord)
    (small.folder / "train_1.safetensors").write_bytes(b"short")
    assert np.array_equal(SmallRooms(source, RoomCacheConfig(200, 24, 18), tmp_path).scene(1).coord, scene.coord)


def test_fewer_views_keep_their_tokens(tmp_path, monkeypatch):
    class Number(Halves):
        """Every token of a frame holds the mean of its colours."""

        def maps(self, images):
            return images.mean((1, 2))[:, None, None, :2].expand(-1, 3, 4, 2)

    monkeypatch.setattr(bench_data, "make_teacher", lambda spec: Number())
    source = Boxes("train", 1)
    small = SmallRooms(source, RoomCacheConfig(200, 24, 18, frames=2), tmp_path)
    assert len(small.frames(0)) == 2 and len(source.frames(0)) == 3
    tokens = SmallTeacher("number", small).features("train_0", small.frames(0), [0, 1])
    colors = source.frames(0).stack([0, 2], 40, 30)[0].mean((1, 2))[:, :2]  # the first and the last frame
    assert torch.allclose(tokens[:, 0, 0], colors, atol=0.01)
    lifted = lifted_source("number", 0.4, small)(small, 0, make_points(small.scene(0), 0.4)[0])
    assert lifted.shape[1] == 2 and bool((lifted.norm(dim=1) > 0.5).any())


def test_a_teacher_has_to_look_at_images(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_data, "make_teacher", lambda spec: None)
    with pytest.raises(InputError, match="computes features"):
        SmallTeacher("none", SmallRooms(Boxes("train", 1), RoomCacheConfig(200, 24, 18), tmp_path))
