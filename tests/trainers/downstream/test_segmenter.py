"""The segmentation network and its losses."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.data.batch import make_points
from gaussiancross.core.models import GaussianCross, GaussianCrossConfig
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.trainers.downstream import Segmenter
from gaussiancross.trainers.downstream.segmenter import backbone_of
from gaussiancross.trainers.downstream.semantic import segmentation_losses
from helpers.labelled_scenes import NETWORK
from helpers.networks import equal


class TestSegmenter:
    def test_the_papers_probe_has_1940_parameters(self):
        net = Segmenter(SpUNet(), 20, frozen=True)
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 1940

    @pytest.mark.parametrize(("features", "width"), [("last", 8), ("hypercolumn", 72), ("encoder", 40)])
    def test_width_of_the_features(self, features, width, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4, features)
        points, _ = make_points(scenes.val.scene(0), 0.08)
        assert net.width == width
        assert net.features(points).shape == (len(points.coord), width)
        assert net.train()(points).shape == (len(points.coord), 4)

    def test_last_features_are_the_output_of_the_backbone(self, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4).eval()
        points, _ = make_points(scenes.val.scene(0), 0.08)
        expected = net.head(net.backbone(points.grid_coord, points.feat, points.offset))
        assert torch.equal(net(points), expected)

    @pytest.mark.parametrize(("norm", "changes"), [("train", True), ("eval", False), ("own", False)])
    def test_running_statistics_move_in_train_mode_alone(self, norm, changes, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4, norm=norm, frozen=True).train()
        points, _ = make_points(scenes.val.scene(0), 0.08)
        before = net.backbone.conv_input[1].running_mean.clone()
        net(points)
        assert torch.equal(before, net.backbone.conv_input[1].running_mean) != changes

    def test_own_statistics_do_not_depend_on_the_running_ones(self, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4, norm="own").eval()
        points, _ = make_points(scenes.val.scene(0), 0.08)
        before = net(points)
        for module in net.backbone.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean += 5
        assert torch.equal(net(points), before)
        assert not torch.equal(Segmenter(net.backbone, 4, norm="eval").eval()(points), before)

    def test_backbones_come_from_models_and_folders_as_copies(self, tmp_path):
        model = GaussianCross(
            GaussianCrossConfig(
                base_channels=8, channels=(8,) * 8, layers=(1,) * 8, lattice_channels=8, unet_widths=(8, 8)
            )
        )
        model.save_pretrained(tmp_path / "model")
        for given in (model, model.backbone, tmp_path / "model", str(tmp_path / "model")):
            backbone = backbone_of(given, NETWORK)
            assert equal(backbone.state_dict(), model.backbone.state_dict())
            assert next(backbone.parameters()) is not next(model.backbone.parameters())

    def test_random_backbones_follow_the_seed_alone(self):
        state = torch.random.get_rng_state()
        one, same, other = (backbone_of("", NETWORK, seed).state_dict() for seed in (1, 1, 2))
        assert equal(one, same) and not equal(one, other)
        assert torch.equal(state, torch.random.get_rng_state())


class TestLosses:
    def test_nothing_labelled_gives_zeros_with_gradients(self):
        logits = torch.randn(5, 3, requires_grad=True)
        terms = segmentation_losses(logits, torch.full((5,), -1))
        sum(terms.values()).backward()
        assert all(float(v.detach()) == 0 for v in terms.values())
        assert float(logits.grad.abs().sum()) == 0

    def test_cross_entropy_is_the_mean_over_labelled_voxels(self):
        logits, segment = torch.randn(6, 3), torch.tensor([0, 1, 2, -1, -1, 1])
        expected = torch.nn.functional.cross_entropy(logits[[0, 1, 2, 5]], segment[[0, 1, 2, 5]])
        assert float(segmentation_losses(logits, segment, 0.0)["entropy"]) == pytest.approx(float(expected))
