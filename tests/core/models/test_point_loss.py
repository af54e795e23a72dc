"""The point loss: teacher features of the views, lifted onto the voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.data.batch import Batch, PointBatch, Views
from gaussiancross.core.data.scene import Frame, PosedFrames
from gaussiancross.core.errors import InputError
from gaussiancross.core.features.lift_scenes import lift_scenes
from gaussiancross.core.features.lifting import lift, lift_views
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.losses import points
from gaussiancross.core.losses.gaussiancross import point_cosine
from gaussiancross.core.losses.points import cell_sums, point_loss, point_loss_reference, sum_of_cosines
from gaussiancross.core.models import GaussianCross
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.core.nn.stages import Stages
from gaussiancross.core.nn.standardize import Standardize
from gaussiancross.core.teachers import TeacherInfo
from gaussiancross.trainers.pretraining.presets import TINY
from helpers.hash_order import use_hash_order

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

    def test_scenes_together_are_lifted_as_view_by_view(self):
        """Also tokens that are not finite, pixels without depth, and points behind a camera."""
        views = [some_views(), some_views()]
        views[1].depth[:, 5:12] = 0
        views[1].teacher[0, 1, 2] = torch.nan
        moved = plane(300) * 1.3 + torch.tensor([0.2, 0.01, -0.1])
        moved[::7, 1] = -4.0
        coords = [plane(), moved]
        rows = torch.cat(coords)
        scenes = PointBatch(rows, rows, rows, rows[:, 0] > 9, torch.tensor([500, 800]))
        for coord, one, lifted in zip(coords, views, lift_scenes(scenes, views), strict=True):
            expected = lift_views(coord, one)
            assert torch.equal(lifted.views, expected.views)
            torch.testing.assert_close(lifted.features, expected.features, rtol=1e-4, atol=1e-5)
        larger = [views[0], replace(views[1], depth=views[1].depth[:1], teacher=views[1].teacher[:1],
                                    cameras=views[1].cameras[:1])]  # fmt: skip
        *_, last = lift_scenes(scenes, larger)
        assert torch.equal(last.views, lift_views(moved, larger[1]).views)


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


def some_backbone_stages(dtype: torch.dtype = torch.float64) -> tuple[Stages, list[slice]]:
    """Stages of a small backbone for two scenes of different sizes, and the rows of their voxels."""
    torch.manual_seed(0)
    net = SpUNet(6, 4, (4, 6, 8, 8, 8, 6, 6, 5), (1,) * 8).to(dtype)
    sizes = [70, 130]
    grids = [torch.unique(torch.randint(0, 24, (n, 3)), dim=0) for n in sizes]
    offset = torch.tensor([len(grids[0]), len(grids[0]) + len(grids[1])])
    stages = net.stages(torch.cat(grids), torch.randn(int(offset[-1]), 6, dtype=dtype), offset)
    return stages, [slice(0, int(offset[0])), slice(int(offset[0]), int(offset[1]))]


class TestPointLossOfABatch:
    @pytest.mark.parametrize("which", [slice(None), slice(-1, None)])
    def test_it_is_the_mean_over_scenes_and_points_in_any_order_of_the_cells(self, monkeypatch, which):
        use_hash_order(monkeypatch)
        stages, spans = some_backbone_stages()
        stages = stages[which]
        layers = torch.nn.ModuleList(torch.nn.Linear(f.shape[1], 7).double() for f in stages.features)
        n = len(stages.cells[0])
        seen = torch.rand(n) < 0.6
        seen[spans[1].start : spans[1].start + 40] = False  # scenes differ in their share of seen points
        targets = torch.nn.functional.normalize(torch.randn(n, 7).double(), dim=1)
        weight = torch.cat([seen[s] / (2.0 * int(seen[s].sum())) for s in spans]).double()
        rows = torch.zeros(n, 7).double().index_add(0, stages.cells[0], targets * weight[:, None])
        losses = (
            point_loss(stages, layers, cell_sums(stages, rows), weight.sum()),
            point_loss_reference(stages, layers, spans, targets, seen),
        )
        leaves = [*stages.features, *layers.parameters()]
        gradients = [torch.autograd.grad(loss, leaves, retain_graph=True) for loss in losses]
        assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), abs=1e-6)
        for fast, slow in zip(*gradients, strict=True):
            assert float(slow.abs().max()) > 0
            torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-7)

    def test_each_cell_of_the_batch_is_handed_to_it_once(self, monkeypatch):
        """In hash order, the first and the last cell of every scene enclose nearly all cells of the batch."""
        use_hash_order(monkeypatch)
        sizes = []

        def spy(features, layer, directions):
            sizes.append((len(features), tuple(directions.shape)))
            return sum_of_cosines(features, layer, directions)

        monkeypatch.setattr(points, "sum_of_cosines", spy)
        torch.manual_seed(0)
        config = replace(TestModel.config, teacher_dim=D)
        model, one = GaussianCross(config), TestModel().batch()
        batch = Batch(PointBatch.cat([one.points] * 3), one.views * 3)
        predictions = model(batch)
        stages = predictions[0].stages
        interleaved = stages.cells[1].view(3, -1)
        assert bool((interleaved.amin(1) < 10).all()) and bool(
            (interleaved.amax(1) > len(stages.features[1]) - 10).all()
        )
        model.losses(predictions, batch)[1]["points"].backward()
        assert sizes == [(len(f), (len(f), D)) for f in stages.features]

    def test_no_prediction_of_all_channels_is_kept(self):
        """Of tensors [cells, D], the backward pass needs the directions alone: predictions would take gigabytes."""
        features, directions = torch.randn(60, 8, requires_grad=True), torch.randn(60, 50)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            loss = sum_of_cosines(features, torch.nn.Linear(8, 50), directions)
        loss.backward()
        assert kept and not [t for t in kept if t.numel() >= 60 * 50 and t.data_ptr() != directions.data_ptr()]

    def test_without_a_point_it_is_zero(self):
        stages, _ = some_backbone_stages(torch.float32)
        layers = torch.nn.ModuleList(torch.nn.Linear(f.shape[1], 7) for f in stages.features)
        nothing = cell_sums(stages, torch.zeros(len(stages.cells[0]), 7))
        loss = point_loss(stages, layers, nothing, torch.zeros(()))
        gradients = torch.autograd.grad(loss, list(layers.parameters()))
        assert float(loss.detach()) == 0 and not any(bool(g.any()) for g in gradients)


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

    def test_rows_that_are_not_seen_do_not_count(self):
        rows, seen = torch.randn(50, D), torch.arange(50) % 3 > 0
        some, other = Standardize(D), Standardize(D)
        assert torch.allclose(some(rows, seen)[seen], other(rows[seen]), atol=1e-6)
        before = {k: v.clone() for k, v in some.state_dict().items()}
        some(rows, torch.zeros(50, dtype=torch.bool))
        assert all(torch.equal(before[k], v) for k, v in some.state_dict().items())


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
