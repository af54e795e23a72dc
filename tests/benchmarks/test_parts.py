"""The timer of a step's parts, and the benchmarks' synthetic data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.usefixtures("own_cache")


class TestPartTimer:
    @pytest.mark.parametrize("point_weight", [0.0, 3.0])
    def test_parts_add_up_to_the_step_and_leave_no_trace(self, config, tmp_path, point_weight):
        import time

        from gaussiancross.benchmarks._parts import PartTimer
        from gaussiancross.trainers.pretraining.trainer import Pretrainer

        model = replace(config.model, anchors="two_level", point_weight=point_weight)
        config = replace(config, model=model)
        trainer = Pretrainer(config, tmp_path, device="cpu")
        batch = trainer.data.batch(0)
        trainer.train_step(batch)
        clip = torch.nn.utils.clip_grad_norm_
        with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer, timer.step():
            started = time.perf_counter()
            trainer.train_step(batch)
            wall = time.perf_counter() - started
        parts = timer.median()
        assert sum(parts.values()) >= wall * 1e3  # nothing of the step is left out
        for part in ("backbone", "dense U-Net", "heads", "splat", "losses"):
            assert parts[part, "forward"] > 0 and parts[part, "backward"] > 0
        assert parts["optimiser", "forward"] > 0
        assert torch.nn.utils.clip_grad_norm_ is clip
        assert "render" not in vars(trainer.model) and "stages" not in vars(trainer.model.backbone)
        assert not trainer.model.backbone._forward_hooks
        trainer.train_step(batch)
        assert len(timer.steps) == 1

    def test_time_goes_to_the_part_that_takes_it(self, config, tmp_path):
        import time

        from gaussiancross.benchmarks._parts import PartTimer
        from gaussiancross.trainers.pretraining.trainer import Pretrainer

        class Slow(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                time.sleep(0.3)
                return x * 1

            @staticmethod
            def backward(ctx, g):
                time.sleep(0.6)
                return g

        trainer = Pretrainer(config, tmp_path, device="cpu")
        batch = trainer.data.batch(0)
        trainer.train_step(batch)
        net = trainer.model.lattice_net
        forward = net.forward
        net.forward = lambda x: Slow.apply(forward(x))
        with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer, timer.step():
            trainer.train_step(batch)
        parts = timer.median()
        assert parts["dense U-Net", "forward"] >= 299 and parts["dense U-Net", "backward"] >= 599

    @pytest.mark.gpu
    def test_times_a_step_on_cuda(self, config, tmp_path):
        from gaussiancross.benchmarks._parts import PartTimer
        from gaussiancross.trainers.pretraining.trainer import Pretrainer

        trainer = Pretrainer(config, tmp_path, device="cuda")
        batch = trainer.data.batch(0)
        losses = [trainer.train_step(batch)["loss/total"] for _ in range(5)]
        with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer, timer.step():
            trainer.train_step(batch)
        parts = timer.median()
        assert np.isfinite(losses).all() and losses[-1] < losses[0] and trainer.nan_steps == 0
        assert all(ms >= 0 for ms in parts.values())
        for part in ("backbone", "dense U-Net", "heads", "splat", "losses"):
            assert parts[part, "forward"] > 0 and parts[part, "backward"] > 0


class TestStandIns:
    def test_frames_of_a_box_room_see_its_points(self):
        from gaussiancross.benchmarks._data import ROOM, BoxRooms

        rooms = BoxRooms(2, points=500, frames=4)
        scene = rooms.scene(1).validated()
        assert (np.abs(scene.coord - ROOM / 2) <= ROOM / 2 + 1e-5).all()
        assert np.allclose(np.linalg.norm(scene.normal, axis=1), 1)
        color, depth, cameras = rooms.frames(1).stack([0, 3], 32, 24)
        points = cameras.unproject(depth).reshape(-1, 3).numpy()
        on_wall = np.minimum(np.abs(points), np.abs(points - ROOM)).min(1)
        assert on_wall.max() < 1e-4 and float(color.min()) > 0 and float(color.max()) < 1

    def test_constant_prediction_of_a_teacher(self):
        from types import SimpleNamespace

        from gaussiancross.trainers.pretraining.evaluation import constant_cosine, constant_feature

        common = torch.tensor([1.0, 0.0])
        batch = SimpleNamespace(views=[SimpleNamespace(teacher=common.expand(2, 3, 4, 2))])
        held_out = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 0.0]]).reshape(1, 2, 2, 2)
        constant = constant_feature(SimpleNamespace(batch=lambda step: batch, teacher="any"))
        assert constant_cosine(constant, held_out).mean().item() == pytest.approx(0.75)

    def test_random_teacher_knows_frames_again(self):
        from gaussiancross.benchmarks._data import BoxRooms, RandomTeacher

        teacher = RandomTeacher(6, (3, 4))
        frames = BoxRooms(1, 100, 4).frames(0)
        features = teacher.features("a", frames, [2, 1, 2])
        assert features.shape == (3, 3, 4, 6) and torch.equal(features[0], features[2])
        assert not torch.equal(features[0], features[1])
