"""Scene sources: live trainings, models, point clouds, splats."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.scenes.source import LiveSource, ModelSource, PointsSource, SplatsSource
from gaussiancross.core.config import to_dict
from gaussiancross.core.data.batch import InputConfig
from gaussiancross.core.models import GaussianCross, GaussianCrossConfig
from gaussiancross.trainers.engine.live import LiveFeed, Snapshot
from helpers.inspector import Boxes, FlatTeacher, StubModel, as_gaussians, box_room, free_camera


# --- sources --------------------------------------------------------------------------------------------------
class TestSources:
    def test_live_follows_snapshots_and_encodes_once(self):
        feed = LiveFeed()
        model = StubModel()
        source = LiveSource(feed, Boxes(), device="cpu", make_model=lambda: model)
        assert source.step() is None and source.load(0).gaussians is None and source.load(0).points is not None
        for step, grey in ((1, 0.25), (2, 0.75)):
            feed.publish(Snapshot(step, {"grey": torch.tensor(grey)}))
            assert source.step() == step
            state = source.load(1)
            assert state is source.load(1) and state.step == step
            assert torch.allclose(state.gaussians.colors, torch.tensor(grey))
        assert model.calls == 2
        assert state.gaussians.features is None and state.embeddings.shape == (len(state.gaussians), 8)
        assert state.point_voxel.shape == (len(state.points),)
        assert not model.training

    def test_snapshot_is_not_shared(self):
        feed = LiveFeed()
        weights = {"grey": torch.tensor(0.25)}
        source = LiveSource(feed, Boxes(), device="cpu", make_model=StubModel)
        feed.publish(Snapshot(1, weights))
        state = source.load(0)
        weights["grey"].fill_(0.9)
        assert torch.allclose(state.gaussians.colors, torch.tensor(0.25))

    def test_cameras_follow_the_networks_world(self):
        source = ModelSource(StubModel(), Boxes(), step=7)
        state = source.load(0)
        assert not torch.allclose(state.transform, torch.eye(4, dtype=torch.float64))
        world = free_camera()
        point = torch.from_numpy(state.points.coord[:5])
        moved = point @ state.transform[:3, :3].T.float() + state.transform[:3, 3].float()
        for a, b in zip(world.project(point), state.cameras(world).project(moved), strict=True):
            assert torch.allclose(a, b, atol=1e-3)

    def test_live_runs_the_real_network_from_its_config(self):
        config = GaussianCrossConfig(
            input=InputConfig(voxel_size=0.15),
            base_channels=8,
            channels=(8,) * 8,
            layers=(1,) * 8,
            lattice="cuboid",
            lattice_cells=2048,
            lattice_channels=8,
            unet_widths=(8, 8),
            unet_norm="group",
            teacher_dim=5,
        )
        trained = GaussianCross(config)
        feed = LiveFeed(config={"model": to_dict(config)})
        before = torch.random.get_rng_state()
        source = LiveSource(feed, Boxes(), teacher=FlatTeacher(), device="cpu")
        assert torch.equal(before, torch.random.get_rng_state())
        feed.publish(Snapshot(3, {k: v.detach().clone() for k, v in trained.state_dict().items()}))
        renderer = Renderer(source)
        state = renderer.load(0)
        assert state.embeddings.shape == (len(state.gaussians), 5)  # in the teacher's space
        assert renderer.canvas(0, "Features", free_camera()).image.shape == (30, 40, 3)
        assert renderer.views(0, 0, 240, errors=True).shape[1] == 240
        assert renderer.points(0, "Features", 10**6)[1].std() > 1
        assert renderer.colors.describe().startswith("Gaussians")

    def test_still_sources(self):
        scene = box_room()
        assert PointsSource(scene).load(0).points is scene
        assert PointsSource(Boxes()).load(1).name == "box1"
        features = torch.randn(len(scene), 4)
        state = SplatsSource(as_gaussians(scene, features), "room", device="cpu").load(0)
        assert state.gaussians.features is None and state.embeddings is features


def test_beside_a_training_on_cuda_it_keeps_one_scene_in_mixed_precision(monkeypatch):
    class OnCuda(StubModel):
        def to(self, device):
            return self

        def parameters(self, recurse=True):
            return iter([SimpleNamespace(is_cuda=True, device=torch.device("cuda"))])

    monkeypatch.setattr("gaussiancross.app.scenes.source.has_bfloat16", lambda device: device.type == "cuda")
    source = LiveSource(LiveFeed(), Boxes(), device="cpu", make_model=OnCuda)
    assert source._states.max_items == 1 and source._amp
    source = LiveSource(LiveFeed(), Boxes(), device="cpu", make_model=StubModel)
    assert source._states.max_items == 3 and not source._amp
