"""The inspector without a browser: pictures, worker, budget, sources, who may connect."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from gaussiancross.app.inspector.origin import is_loopback, origin_allowed
from gaussiancross.app.inspector.panels.curves import aligned
from gaussiancross.app.inspector.worker import RenderBudget, RenderWorker
from gaussiancross.app.render.draw import Cell, add_legend, fit, sheet
from gaussiancross.app.render.layers import (
    MARK,
    class_colors,
    colormap,
    depth_colors,
    feature_colors,
    over_background,
    to_image,
)
from gaussiancross.app.render.renderer import FeatureColors, Renderer, bounds, depth_range
from gaussiancross.app.scenes.source import LiveSource, ModelSource, PointsSource, SceneState, SplatsSource
from gaussiancross.core.config import to_dict
from gaussiancross.core.data.batch import InputConfig
from gaussiancross.core.data.scene import Frame, PointScene, PosedFrames
from gaussiancross.core.features.pca import PcaBasis
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.models import GaussianCross, GaussianCrossConfig
from gaussiancross.core.teachers import TeacherInfo
from gaussiancross.trainers.engine.live import LiveFeed, Snapshot


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- a small world: a coloured box room, seen by four cameras -------------------------------------------------


def box_room(n: int = 12, seed: int = 0) -> PointScene:
    """Six coloured walls of a 4 × 3 × 2.5 m room."""
    rng = np.random.default_rng(seed)
    size = np.array([4.0, 3.0, 2.5])
    coord, color, normal, segment = [], [], [], []
    for axis in range(3):
        for side in (0, 1):
            uv = rng.random((n * n, 3)) * size
            uv[:, axis] = side * size[axis]
            coord.append(uv)
            base = np.array([60, 60, 60]) + 150 * np.eye(3)[axis] + 40 * side
            color.append(np.tile(base, (n * n, 1)))
            normal.append(np.tile(np.eye(3)[axis] * (1 - 2 * side), (n * n, 1)))
            segment.append(np.full(n * n, 2 * axis + side))
    return PointScene(
        f"box{seed}",
        np.concatenate(coord).astype(np.float32),
        np.concatenate(color).astype(np.uint8),
        np.concatenate(normal).astype(np.float32),
        np.concatenate(segment),
    )


def as_gaussians(scene: PointScene, features: torch.Tensor | None = None, scale: float = 0.12) -> Gaussians:
    n = len(scene)
    return Gaussians(
        torch.from_numpy(scene.coord),
        torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4),
        torch.full((n, 3), scale),
        torch.full((n,), 0.95),
        torch.from_numpy(scene.color).float() / 255,
        features,
    )


def box_frames(count: int = 4, width: int = 64, height: int = 48) -> PosedFrames:
    middle = torch.tensor([2.0, 1.5, 1.2])
    angles = [2 * np.pi * i / count for i in range(count)]
    views = [look_at(middle, middle + torch.tensor([np.cos(a), np.sin(a), 0.0]).float()) for a in angles]
    ks = intrinsics(1.3, width, height).expand(count, 3, 3)

    def read(index: int, w: int, h: int) -> Frame:
        return Frame(np.full((h, w, 3), 0.2 + 0.1 * index, np.float32), np.full((h, w), 2.0, np.float32))

    cameras = Cameras(torch.stack(views), ks, width, height)
    return PosedFrames(tuple(f"f{i}" for i in range(count)), cameras, read)


class Boxes:
    """A dataset of box rooms."""

    names = ("box0", "box1")
    class_names = ("west", "east", "south", "north", "floor", "ceiling")

    def __len__(self) -> int:
        return 2

    def scene(self, index: int) -> PointScene:
        return box_room(seed=index)

    def frames(self, index: int) -> PosedFrames | None:
        return box_frames()


class FlatTeacher:
    """Features that say where in the image a token lies."""

    info = TeacherInfo("flat", 5, "none", (3, 4), True)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> torch.Tensor:
        rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
        one = torch.stack([rows, columns, torch.ones(3, 4), rows * columns, columns**2], -1)
        return one.expand(len(index), 3, 4, 5)


@dataclass
class StubConfig:
    input: InputConfig


class StubModel(torch.nn.Module):
    """Stands for GaussianCross: one weight, the grey level of its Gaussians."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = torch.nn.Parameter(torch.tensor(0.5))
        self.config = StubConfig(InputConfig(voxel_size=0.05))
        self.calls = 0

    def backbone_features(self, points):
        self.calls += 1
        return torch.cat([points.feat, points.coord], 1)

    def gaussians(self, points, features=None):
        n = len(points.coord)
        return [
            Gaussians(
                points.coord,
                torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4),
                torch.full((n, 3), 0.1),
                torch.full((n,), 0.9),
                self.grey.expand(n, 3),
                features[:, :8],
            )
        ]


def free_camera(width: int = 40, height: int = 30) -> Cameras:
    view = look_at(torch.tensor([2.0, 1.5, 1.2]), torch.tensor([4.0, 2.0, 1.0]))
    return Cameras(view[None], intrinsics(1.2, width, height)[None], width, height)


# --- layers ---------------------------------------------------------------------------------------------------


class TestLayers:
    def test_colormap_ends_and_clamps(self):
        colors = colormap(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]))
        assert torch.equal(colors[0], colors[1]) and torch.equal(colors[3], colors[4])
        assert colors[1, 2] > colors[1, 0] and colors[3, 0] > colors[3, 2]  # near is blue, far is red

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


# --- worker ---------------------------------------------------------------------------------------------------


class TestBudget:
    def test_share_is_kept_over_time(self):
        clock = Clock()
        budget = RenderBudget(0.25, burst=0.5, clock=clock)
        spent = 0.0
        while clock.now < 100:
            wait = budget.wait()
            if wait:
                clock.now += wait
                continue
            clock.now += 0.3
            budget.spend(0.3)
            spent += 0.3
        assert spent <= 0.25 * clock.now + 0.5 + 0.3
        assert spent >= 0.9 * 0.25 * 100  # and it is used

    def test_full_share_never_waits(self):
        clock = Clock()
        budget = RenderBudget(1.0, clock=clock)
        budget.spend(100)
        assert budget.wait() == 0

    def test_raising_to_full_forgives_debts(self):
        budget = RenderBudget(0.1, clock=Clock())
        budget.spend(50)
        assert budget.wait() > 100
        budget.share = 1.0
        budget.share = 0.1
        assert budget.wait() == 0

    @pytest.mark.parametrize("share", [0, -1, 1.5])
    def test_bad_share(self, share):
        with pytest.raises(ValueError, match="share"):
            RenderBudget(share)


class TestWorker:
    def test_latest_wins_and_keys_take_turns(self):
        worker, done = RenderWorker(), []
        for i in range(3):
            for client in "ab":
                worker.submit((client, "canvas"), lambda i=i, c=client: done.append((c, i)))
        while worker.run_one() == 0:
            pass
        assert done == [("a", 2), ("b", 2)]

    def test_eight_browsers_cost_as_much_as_one(self):
        def spent(browsers: int) -> float:
            clock = Clock()
            worker = RenderWorker(share=0.2, clock=clock)

            def job() -> None:
                clock.now += 0.05

            while clock.now < 30:
                for b in range(browsers):
                    worker.submit((b, "canvas"), job)
                clock.now += min(worker.run_one(), 0.1)
            return worker.spent

        one, eight = spent(1), spent(8)
        assert eight == pytest.approx(one, rel=0.02)
        assert eight <= 0.2 * 30 + 0.6

    def test_interactive_goes_before_background_and_has_its_own_purse(self):
        clock = Clock()
        worker, done = RenderWorker(share=0.2, clock=clock), []

        def slow() -> None:
            clock.now += 5
            done.append("weights")

        worker.submit("load", slow, "background")
        worker.submit("frame", lambda: done.append("frame"))
        assert worker.run_one() == 0 and worker.run_one() == 0
        worker.submit("load", slow, "background")
        worker.submit("frame", lambda: done.append("frame"))
        assert worker.run_one() == 0
        assert worker.run_one() > 1  # the second load has to wait
        assert done == ["frame", "weights", "frame"]

    def test_urgent_does_not_wait_but_is_charged(self):
        clock = Clock()
        worker, done = RenderWorker(share=0.2, clock=clock), []

        def slow() -> None:
            clock.now += 0.5
            done.append(1)

        for _ in range(5):
            worker.submit("load", slow, "background", urgent=True)
            assert worker.run_one() == 0
        worker.submit("load", slow, "background")
        assert 1 < worker.run_one() < 60 and len(done) == 5

    def test_what_one_lane_leaves_the_other_uses(self):
        clock = Clock()
        worker = RenderWorker(share=0.2, clock=clock)

        def job() -> None:
            clock.now += 0.1

        while clock.now < 100:
            worker.submit("load", job, "background")
            clock.now += min(worker.run_one(), 0.1)
        assert 0.18 * 100 < worker.spent <= 0.2 * 100 + 0.6

    def test_exception_is_reported_and_work_goes_on(self):
        errors, done = [], threading.Event()
        worker = RenderWorker(on_error=lambda key, error: errors.append((key, str(error)))).start()
        try:
            worker.submit("bad", lambda: 1 / 0)
            worker.submit("good", done.set)
            assert done.wait(5)
        finally:
            worker.close()
        assert errors == [("bad", "division by zero")]

    def test_reporting_may_fail_too(self):
        def broken(key, error):
            raise RuntimeError("no connection")

        worker, done = RenderWorker(on_error=broken), []
        worker.submit("bad", lambda: 1 / 0)
        worker.submit("good", lambda: done.append(1))
        while worker.run_one() == 0:
            pass
        assert done == [1]

    def test_disconnect_cancels_what_waits(self):
        worker, done = RenderWorker(), []
        worker.submit((1, "canvas"), lambda: done.append(1))
        worker.submit((2, "canvas"), lambda: done.append(2))
        worker.cancel(lambda key: key[0] == 1)
        while worker.run_one() == 0:
            pass
        assert done == [2]

    def test_close_waits_for_the_job_and_drops_the_rest(self):
        started, done = threading.Event(), []
        worker = RenderWorker().start()

        def job() -> None:
            started.set()
            time.sleep(0.05)
            done.append(1)

        worker.submit("a", job)
        assert started.wait(5)
        worker.submit("b", lambda: done.append(2))
        worker.close()
        assert done == [1]


# --- colours of a run -----------------------------------------------------------------------------------------


class TestFeatureColors:
    def test_one_basis_for_all_scenes(self):
        colors = FeatureColors()
        first = colors.basis("embedding", torch.randn(100, 6), 5)
        assert colors.basis("embedding", torch.randn(80, 6) + 3, 5) is first
        assert colors.basis("embedding", torch.randn(80, 6) + 3, 9) is first

    def test_refit_when_steps_have_doubled_unless_switched_off_or_from_a_teacher(self):
        colors = FeatureColors()
        first = colors.basis("embedding", torch.randn(100, 6), 20)
        assert colors.basis("embedding", torch.randn(100, 6), 50) is not first
        colors.follow = False
        last = colors.basis("embedding", torch.randn(100, 6), 60)
        assert colors.basis("embedding", torch.randn(100, 6), 10_000) is last
        teacher = FeatureColors()
        fixed = teacher.basis("embedding", torch.randn(100, 6), None)
        assert teacher.basis("embedding", torch.randn(100, 6), 10_000) is fixed

    def test_refresh_keeps_the_colours_of_the_same_features(self):
        features = torch.randn(500, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor([5.0, 3, 2, 1, 1, 1])
        colors = FeatureColors()
        before = colors.basis("embedding", features, 1).rgb(features)
        colors.refresh()
        after = colors.basis("embedding", features, 2).rgb(features)
        assert torch.allclose(before, after, atol=1e-3)
        assert colors.describe() == "Gaussians: step 2"


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
        flat = canvas.image.reshape(-1, 3)
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


# --- curves and connections -----------------------------------------------------------------------------------


def test_curves_are_aligned_and_binned():
    steps, a, b = aligned([[(1, 1.0), (2, 2.0), (3, 3.0)], [(2, 5.0)]], 10.0)
    assert steps.tolist() == [1, 2, 3] and a.tolist() == [10, 20, 30]
    assert np.isnan(b[[0, 2]]).all() and b[1] == 50
    steps, a = aligned([[(i, float(i % 2)) for i in range(10_000)]])
    assert len(steps) == len(a) == 300 and abs(a.mean() - 0.5) < 0.01 and steps[-1] == 9999


@pytest.mark.parametrize(
    ("origin", "host", "bound", "allowed"),
    [
        (None, "127.0.0.1:7007", "127.0.0.1", True),  # not a browser
        ("http://127.0.0.1:7007", "127.0.0.1:7007", "127.0.0.1", True),
        ("http://localhost:7007", "localhost:7007", "127.0.0.1", True),
        ("http://[::1]:7007", "[::1]:7007", "::1", True),
        ("http://evil.example", "127.0.0.1:7007", "127.0.0.1", False),
        ("http://evil.example:7007", "evil.example:7007", "127.0.0.1", False),  # a name that resolves to 127.0.0.1
        ("http://localhost:8000", "localhost:7007", "127.0.0.1", False),  # another server of this machine
        ("null", "127.0.0.1:7007", "127.0.0.1", False),
        ("http://[bad", "127.0.0.1:7007", "127.0.0.1", False),
        ("file://", "127.0.0.1:7007", "127.0.0.1", False),
        ("http://gpu-box:7007", "gpu-box:7007", "0.0.0.0", True),
        ("http://evil.example", "gpu-box:7007", "0.0.0.0", False),
    ],
)
def test_origin(origin, host, bound, allowed):
    assert origin_allowed(origin, host, bound) is allowed


def test_loopback():
    assert is_loopback("localhost") and is_loopback("127.0.0.2") and is_loopback("::1")
    assert not is_loopback("0.0.0.0") and not is_loopback("10.0.0.1") and not is_loopback("example.org")
