"""The point loss: teacher features of the views, lifted onto the voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.data.batch import Batch, PointBatch, Views
from gaussiancross.core.data.scene import Frame, PosedFrames
from gaussiancross.core.errors import InputError
from gaussiancross.core.features.lifting import lift, lift_views
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.losses.gaussiancross import point_cosine, point_cosine_of_cells
from gaussiancross.core.models import GaussianCross
from gaussiancross.core.nn.standardize import Standardize
from gaussiancross.core.teachers import TeacherInfo
from gaussiancross.trainers.pretraining.presets import TINY

W, H, D = 40, 30, 3


def plane(n: int = 500) -> torch.Tensor:
    """[n, 3] points of the plane y = 0."""
    xz = torch.rand(n, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    return torch.stack([xz[:, 0], torch.zeros(n), xz[:, 1]], 1)


def some_views() -> Views:
    """Two cameras that look at the plane, and random tokens."""
    eyes = (torch.tensor([0.0, -3.0, 0.5]), torch.tensor([0.5, -2.5, 0.0]))
    poses = torch.stack([look_at(eye, torch.zeros(3)) for eye in eyes])
    cameras = Cameras(poses, intrinsics(1.0, W, H).expand(2, 3, 3), W, H)
    step = cameras.unproject(torch.ones(2, H, W)) - cameras.centers[:, None, None]
    depth = -cameras.centers[:, None, None, 1] / step[..., 1]
    tokens = torch.randn(2, 3, 4, D, generator=torch.Generator().manual_seed(1))
    return Views(cameras, torch.rand(2, H, W, 3), depth, tokens)


class TestLiftViews:
    def test_it_is_lift_of_those_frames(self):
        views = some_views()

        class Teacher:
            info = TeacherInfo("random", D, "none", None, True)

            def features(self, scene_name, frames, index):
                return views.teacher[index]

        def read(i: int, width: int, height: int) -> Frame:
            return Frame(np.zeros((H, W, 3), np.float32), views.depth[i].numpy())

        frames = PosedFrames(("0", "1"), views.cameras, read)
        expected, found = lift(plane(), frames, Teacher(), "plane"), lift_views(plane(), views)
        assert torch.allclose(found.features, expected.features, atol=1e-6) and torch.equal(found.views, expected.views)
        assert int(found.views.max()) == 2 and int(found.views.min()) == 0

    def test_an_augmented_world_changes_nothing(self):
        views = some_views()
        transform = torch.diag(torch.tensor([-1.1, 1.1, 1.1, 1.0], dtype=torch.float64))
        transform[:3, 3] = torch.tensor([0.3, -2.0, 1.0])
        moved = (plane().double() @ transform[:3, :3].T + transform[:3, 3]).float()
        there = replace(views, cameras=views.cameras.transformed(transform))
        assert torch.allclose(lift_views(moved, there).features, lift_views(plane(), views).features, atol=1e-4)


class TestPointCosine:
    def test_it_is_the_mean_over_points(self):
        torch.manual_seed(0)
        predicted, target = torch.randn(5, D, dtype=torch.float64, requires_grad=True), torch.randn(5, D).double()
        expected = [1 - torch.cosine_similarity(predicted[i], target[i], dim=0) for i in range(5)]
        loss = point_cosine(predicted, target)
        assert float(loss.detach()) == pytest.approx(float(torch.stack(expected).detach().mean()), abs=1e-6)

    def test_no_points(self):
        predicted = torch.randn(0, D, requires_grad=True)
        loss = point_cosine(predicted, torch.zeros(0, D))
        loss.backward()
        assert float(loss.detach()) == 0 and predicted.grad.shape == (0, D)

    def test_of_cells_it_is_that_of_their_points(self):
        torch.manual_seed(0)
        predicted = torch.randn(4, D, dtype=torch.float32, requires_grad=True)
        target, cells = torch.randn(9, D), torch.tensor([0, 2, 2, 3, 0, 2, 3, 3, 3])  # none in cell 1
        directions = torch.zeros(4, D).index_add(0, cells, torch.nn.functional.normalize(target, dim=1))
        losses = point_cosine(predicted[cells], target), point_cosine_of_cells(predicted, directions, 9)
        assert torch.allclose(*losses, atol=1e-6)
        grads = [torch.autograd.grad(loss, predicted)[0] for loss in losses]
        assert torch.allclose(*grads, atol=1e-6) and not bool(grads[1][1].any())
        nothing = point_cosine_of_cells(predicted, torch.zeros(4, D), 0)
        assert float(nothing.detach()) == 0 and not bool(torch.autograd.grad(nothing, predicted)[0].any())


class TestStandardize:
    def test_statistics_are_plain_means_of_equal_batches_at_first(self):
        batches = torch.randn(3, 400, D, generator=torch.Generator().manual_seed(0)) * 3 + 1
        standardize = Standardize(D)
        for batch in batches:
            standardize(batch)
        assert torch.allclose(standardize.mean, batches.flatten(0, 1).mean(0), atol=1e-5)
        out = standardize.eval()(batches.flatten(0, 1))
        assert float(out.mean().abs()) < 1e-5 and float(out.std()) == pytest.approx(1, abs=0.02)

    def test_outside_training_and_without_rows_nothing_changes(self):
        standardize = Standardize(D)
        standardize(torch.randn(10, D))
        before = {k: v.clone() for k, v in standardize.state_dict().items()}
        assert standardize(torch.zeros(0, D)).shape == (0, D)
        standardize.eval()(torch.randn(10, D))
        assert all(torch.equal(before[k], v) for k, v in standardize.state_dict().items())

    def test_a_channel_that_never_changes_is_finite(self):
        assert bool(torch.isfinite(Standardize(D)(torch.ones(10, D))).all())


class TestModel:
    config = replace(TINY.model, lattice_cells=512, teacher_dim=D, point_weight=2.0)

    def batch(self) -> Batch:
        coord = plane()
        grid = ((coord + 2) / 0.1).long()
        index = torch.from_numpy(np.unique(grid.numpy(), axis=0, return_index=True)[1])
        n = len(index)
        points = PointBatch(
            coord[index], grid[index], torch.randn(n, 6), torch.zeros(n, dtype=torch.bool), torch.tensor([n])
        )
        return Batch(points, [some_views()])

    @pytest.mark.parametrize("adaptive", [False, True])
    def test_it_is_weighed_and_reaches_the_backbone(self, adaptive):
        torch.manual_seed(0)
        model = GaussianCross(replace(self.config, adaptive_weights=adaptive))
        batch = self.batch()
        total, terms = model.losses(model(batch), batch)
        assert set(terms) == {"rgb", "depth", "feature", "points"} == set(model.loss_weight())
        if not adaptive:
            weights = {**self.config.loss_weights, "points": 2.0}
            assert float(total) == pytest.approx(sum(weights[k] * float(v) for k, v in terms.items()), rel=1e-5)
        terms["points"].backward()
        assert float(model.backbone.conv_input[0].weight.grad.abs().sum()) > 0
        assert model.head.rest.weight.grad is None

    @pytest.mark.parametrize("standardize", [False, True])
    def test_the_last_stage_counts_as_much_as_all_others(self, standardize):
        torch.manual_seed(0)
        config = replace(self.config, point_standardize=standardize)
        model, batch = GaussianCross(config), self.batch()
        predictions = model(batch)
        loss = model.losses(predictions, batch)[1]["points"]
        stages = predictions[0].stages.spread()
        assert [s.shape[1] for s in stages] == [config.base_channels, *config.channels]
        assert torch.equal(stages[-1], model.backbone_features(batch.points))
        lifted = lift_views(batch.points.coord, batch.views[0])
        seen = lifted.views > 0
        target = torch.nn.functional.normalize(lifted.features[seen], dim=1)
        if standardize:
            target = (target - target.mean(0)) / target.std(0, correction=0)
        each = [
            (1 - torch.cosine_similarity(layer(stage[seen]), target, dim=1)).mean()
            for layer, stage in zip(model.point_projections, stages, strict=True)
        ]
        expected = each[-1] + torch.stack(each[:-1]).mean()
        assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)

    def test_of_the_last_stage_alone(self):
        torch.manual_seed(0)
        model, batch = GaussianCross(replace(self.config, point_stages="last")), self.batch()
        model.losses(model(batch), batch)[1]["points"].backward()
        assert len(model.point_projections) == 1
        assert float(model.backbone.conv_input[0].weight.grad.abs().sum()) > 0

    def test_off_it_leaves_the_model_as_it_was(self):
        torch.manual_seed(0)
        off = GaussianCross(replace(self.config, point_weight=0.0))
        batch = self.batch()
        assert "points" not in off.losses(off(batch), batch)[1]
        assert not any("point_projection" in name for name in off.state_dict())
        with pytest.raises(InputError, match="point_weight"):
            replace(self.config, point_weight=-1.0)
