"""Layers: content, pairs of layers, masks, labels, errors at dataset cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.render.catalog import GROUPS, INFO, LAYERS, available
from gaussiancross.app.render.clouds import HIDDEN, MASK_SEED, kept_points
from gaussiancross.app.render.colors import class_colors, colormap
from gaussiancross.app.render.options import RenderOptions
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.render.scores import ClassScores, Heat
from gaussiancross.app.render.views import CameraRotation
from gaussiancross.app.scenes.source import ModelSource, PointsSource, SceneState
from gaussiancross.core.data.augment import NO_AUGMENT
from gaussiancross.core.data.batch import InputConfig, make_input
from gaussiancross.core.geometry.cameras import Cameras, intrinsics
from gaussiancross.core.geometry.gaussians import Gaussians
from helpers.inspector import Boxes, FlatTeacher, Furnished, StubModel, at_frame, box_room, free_camera


@pytest.fixture()
def renderer() -> Renderer:
    renderer = Renderer(Furnished())
    renderer.load(0)
    return renderer


def spread(image: np.ndarray) -> int:
    flat = image.reshape(-1, 3)
    return int((flat.max(0) - flat.min(0)).max())


class TestCatalogue:
    def test_groups_hold_every_layer_once_and_keys_are_unique(self):
        assert sorted(n for names in GROUPS.values() for n in names) == sorted(LAYERS)
        keys = [INFO[n].key for n in LAYERS if INFO[n].key]
        assert len(keys) == len(set(keys))

    def test_only_available_layers_are_offered(self, renderer):
        points = available(PointsSource(box_room()).load(0))
        assert points == {"Points", "Masked"}
        assert "Cosine" not in renderer.layers(0) and {"Labels", "Target", "Scales"} <= renderer.layers(0)
        assert renderer.layers(0, heat=True) - renderer.layers(0) == {"Heat"}
        renderer.add_classes("probe", lambda index, state: None)
        assert "Classes" in renderer.layers(0)

    @pytest.mark.parametrize("layer", LAYERS)
    def test_every_layer_draws_at_the_size_asked_for(self, layer):
        renderer = Renderer(Furnished(teacher=True))
        state = renderer.load(0)
        heat = Heat(state.gaussians.means[:, 0], 0, None, 0, 4, "x")
        renderer.add_classes(
            "halves", lambda index, s: ClassScores(torch.eye(2)[(s.gaussians.means[:, 0] > 2).long()], ("a", "b"))
        )
        look = RenderOptions(layer=layer, frame=1, heat=heat)
        canvas = renderer.draw(0, look, at_frame(state, 1, 160, 120, turn=0.7), with_depth=layer != "Views")
        assert canvas.image.shape == (120, 160, 3) and canvas.image.dtype == np.uint8
        assert layer == "Views" or canvas.depth.shape == (120, 160)
        assert layer in ("Alpha", "Opacity", "Target", "Target depth", "Scales") or spread(canvas.image) > 30

    def test_no_layer_fails_before_anything_is_loaded(self):
        renderer = Renderer(Furnished())
        for layer in LAYERS:
            assert renderer.draw(0, RenderOptions(layer=layer), free_camera(80, 60)).image.shape == (60, 80, 3)


class TestTwoLayers:
    def test_split_shows_either_layer_on_its_side(self, renderer):
        cameras = free_camera(160, 120)
        rgb, depth = (renderer.draw(0, RenderOptions(layer=n), cameras).image.astype(int) for n in ("RGB", "Features"))
        both = renderer.draw(
            0, RenderOptions(layer="RGB", second="Features", mix="Split", at=0.4), cameras, with_depth=True
        )
        image = both.image.astype(int)
        assert np.abs(image[30:90, :60] - rgb[30:90, :60]).max() <= 3
        assert np.abs(image[30:90, 68:] - depth[30:90, 68:]).max() <= 3
        assert (image[100:, 64] > 200).all()  # the line
        whole = renderer.draw(0, RenderOptions(), cameras, with_depth=True).depth
        assert np.abs(both.depth - whole).max() < 0.05  # splats are linearised a little differently off the axis

    @pytest.mark.parametrize(("at", "shown"), [(0.0, "Depth"), (1.0, "RGB")])
    def test_split_at_either_end_is_one_layer(self, renderer, monkeypatch, at, shown):
        cameras = free_camera(80, 60)
        painted, paint = [], renderer.paint
        monkeypatch.setattr(
            renderer, "paint", lambda *a: painted.append(a[3] if len(a) > 3 else a[1].layer) or paint(*a)
        )
        image = renderer.draw(0, RenderOptions(second="Depth", mix="Split", at=at), cameras).image.astype(int)
        alone = renderer.draw(0, RenderOptions(layer=shown), cameras).image.astype(int)
        assert np.abs(image[30:40, 4:-4] - alone[30:40, 4:-4]).max() <= 1
        renderer.draw(0, RenderOptions(second="Depth", mix="Blend", at=at), cameras)
        assert painted == [shown, shown, "RGB" if at == 0 else "Depth"]  # none that is not seen

    def test_blend_is_linear(self, renderer):
        cameras = free_camera(160, 120)
        one, two = (renderer.draw(0, RenderOptions(layer=n), cameras).image.astype(int) for n in ("RGB", "Features"))
        half = renderer.draw(0, RenderOptions(second="Features", mix="Blend", at=0.5), cameras).image.astype(int)
        assert np.abs(2 * half - one - two)[40:].max() <= 4

    def test_sheet_is_never_mixed_and_a_layer_not_with_itself(self):
        assert not RenderOptions(layer="Views", mix="Split").mixed
        assert not RenderOptions(layer="RGB", second="RGB", mix="Split").mixed
        assert RenderOptions(layer="RGB", second="Target", mix="Blend").mixed

    def test_points_share_the_canvas_where_the_networks_world_is_another(self):
        renderer = Renderer(ModelSource(StubModel(), Boxes(), step=1))
        state = renderer.load(0)
        assert not torch.allclose(state.transform, torch.eye(4, dtype=torch.float64))
        camera = free_camera(80, 60)
        look = RenderOptions(layer="Points", second="Alpha", mix="Split", at=1.0, point_size=0.2)
        colors = renderer.draw(0, look, camera).image[20:, :].reshape(-1, 3).astype(int)
        assert np.median(colors[:, 0] - colors[:, 1]) > 80  # it looks at a red wall


class TestMasked:
    @pytest.mark.parametrize(
        "config",
        [
            InputConfig(0.001, mask_ratio=0.4),
            InputConfig(0.001, max_points=500, mask_ratio=0.3),
            InputConfig(0.001, mask_mode="blocks", mask_block=0.3),
        ],
    )
    def test_visible_points_are_the_input_of_the_network(self, config):
        scene = box_room()
        given = make_input(scene, config, np.random.default_rng(MASK_SEED), NO_AUGMENT)
        voxels = given.points.coord[~given.points.masked].double().numpy() - given.transform[:3, 3].numpy()
        kept = scene.coord[kept_points(scene, config)]
        assert len(kept) == len(voxels)  # voxels of 1 mm: one point each
        assert np.abs(kept[np.lexsort(kept.T)] - voxels[np.lexsort(voxels.T)]).max() < 1e-4

    def test_hidden_points_are_grey(self, renderer):
        _, colors, note = renderer.points(0, "Colour", 10**6, masked=True)
        plain = renderer.points(0, "Colour", 10**6)[1]
        hidden = (colors == HIDDEN).all(1)
        assert hidden.mean() == pytest.approx(0.5, abs=0.01) and "50%" in note
        assert np.array_equal(colors[~hidden], plain[~hidden])


class TestClasses:
    def test_labels_come_from_the_nearest_point_within_reach(self, renderer):
        state = renderer.state(0)
        known = renderer.class_scores(0, "Labels")
        assert known.names == Boxes.class_names
        assert torch.equal(known.scores.argmax(1), torch.from_numpy(state.points.segment))
        stray = replace(state, gaussians=replace(state.gaussians, means=state.gaussians.means + 10))
        renderer.source.state = stray
        renderer.load(0)
        assert renderer.class_scores(0, "Labels").scores.sum() == 0

    def test_unlabelled_points_do_not_vote(self):
        source = Furnished()
        segment = source.state.points.segment.copy()
        segment[segment == 1] = -1
        source.state = replace(source.state, points=replace(source.state.points, segment=segment))
        renderer = Renderer(source)
        renderer.load(0)
        scores = renderer.class_scores(0, "Labels").scores
        assert scores[:, 1].sum() == 0 and scores[:, 0].sum() > 0

    def test_the_largest_splatted_score_wins_and_hidden_classes_are_grey(self, renderer):
        def provider(visible):
            def provide(index, state):
                scores = torch.full((len(state.gaussians), 3), 0.1)
                scores[:, 2] = 0.3
                return ClassScores(scores, ("a", "b", "c"), torch.eye(3), visible)

            return provide

        renderer.add_classes("first", provider(None))
        renderer.add_classes("second", provider(torch.tensor([True, True, False])))
        assert renderer.class_providers == ("first", "second")
        blue = renderer.draw(0, RenderOptions(layer="Classes"), free_camera()).image.astype(int)
        assert (blue[..., 2] > 140).mean() > 0.95 and (blue[..., :2] < 30).mean() > 0.95
        grey = renderer.draw(0, RenderOptions(layer="Classes", classes="second"), free_camera()).image.astype(int)
        expected = 255 * class_colors(torch.tensor([-1]))[0].numpy()
        assert (grey <= expected + 2).mean() > 0.95

    def test_scores_of_other_gaussians_are_refused_with_a_message(self, renderer):
        renderer.add_classes("old", lambda index, state: ClassScores(torch.ones(3, 2), ("a", "b")))
        assert renderer.draw(0, RenderOptions(layer="Classes"), free_camera()).image.shape == (30, 40, 3)


class TestValues:
    def test_heat_is_the_colour_of_its_legend_through_several_gaussians(self):
        two = Gaussians(
            torch.tensor([[0.0, 0, 1], [0, 0, 2]]),
            torch.tensor([[1.0, 0, 0, 0]] * 2),
            torch.full((2, 3), 0.5),
            torch.tensor([0.2, 0.999]),
            torch.ones(2, 3),
        )
        source = Furnished()
        source.state = SceneState("two", gaussians=two)
        renderer = Renderer(source)
        renderer.load(0)
        camera = Cameras(torch.eye(4)[None], intrinsics(0.3, 40, 30)[None], 40, 30)
        heat = Heat(torch.tensor([0.0, 10.0]), 0, None, 0, 10)
        middle = renderer.draw(0, RenderOptions(layer="Heat", heat=heat), camera).image[15, 20]
        weights = torch.tensor([0.2, 0.8 * 0.999])
        expected = colormap((weights[1] / weights.sum())[None])[0] * 255
        assert np.abs(middle - expected.numpy()).max() < 4

    def test_heat_of_another_scene_or_step_is_not_drawn(self, renderer):
        state = renderer.state(0)
        scores = state.gaussians.means[:, 0]
        assert Heat(scores, 0, None).fits(0, state)
        assert not Heat(scores, 1, None).fits(0, state)
        assert not Heat(scores, 0, 5).fits(0, state)
        assert not Heat(scores[:5], 0, None).fits(0, state)

    def test_small_gaussians_cover_less(self, renderer):
        camera = free_camera(160, 120)
        full, small = (renderer.draw(0, RenderOptions(layer="Alpha", size=s), camera).image.mean() for s in (1.0, 0.2))
        assert small < 0.7 * full

    def test_scales_are_of_the_scenes_world(self):
        source = Furnished()
        doubled = torch.diag(torch.tensor([2.0, 2, 2, 1])).double()
        bigger = replace(
            source.state.gaussians,
            means=source.state.gaussians.means * 2,
            scales=source.state.gaussians.scales * 2,
        )
        looks = []
        for state in (source.state, replace(source.state, gaussians=bigger, transform=doubled)):
            source.state = state
            renderer = Renderer(source)
            renderer.load(0)
            looks.append(renderer.draw(0, RenderOptions(layer="Scales"), free_camera(160, 120)).image.astype(int))
        assert np.abs(looks[0] - looks[1]).max() <= 2


class TestDatasetCameras:
    def test_a_turned_camera_sees_the_recorded_picture_turned(self):
        target = Cameras(torch.eye(4)[None], intrinsics(1.2, 64, 48)[None], 64, 48)
        angle = 0.3
        turned = torch.eye(4)
        turned[:3, :3] = torch.tensor(
            [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
        )
        free = Cameras(turned[None], intrinsics(0.8, 40, 30)[None], 40, 30)
        turn = CameraRotation.between(free, target)
        # A plane at z = 3 of the dataset camera, coloured by where it is.
        world = target.unproject(torch.full((1, 48, 64), 3.0))[0]
        seen = turn.sample(world, smooth=True)
        depth = turn.depth(torch.full((48, 64), 3.0))
        expected = free.unproject(depth[None])[0]
        assert turn.inside[:, 5:20].all()
        assert (seen - expected)[turn.inside][:, :2].abs().max() < 0.06
        assert (expected[turn.inside][:, 2] - 3).abs().max() < 1e-3

    def test_elsewhere_there_is_no_turn(self):
        target = Cameras(torch.eye(4)[None], intrinsics(1.2, 64, 48)[None], 64, 48)
        moved = torch.eye(4)
        moved[0, 3] = 0.05
        assert CameraRotation.between(Cameras(moved[None], target.Ks, 64, 48), target) is None

    def test_target_is_shown_there_and_explained_elsewhere(self, renderer):
        state = renderer.state(0)
        here = renderer.draw(0, RenderOptions(layer="Target", frame=2), at_frame(state, 2, 64, 48)).image
        assert np.abs(here.astype(int) - round(255 * 0.4)).max() <= 1  # the stub's frame 2 is a plain grey
        turned = renderer.draw(0, RenderOptions(layer="Target", frame=2), at_frame(state, 2, 64, 48, turn=0.6)).image
        assert 0.2 < (np.abs(turned.astype(int) - 102).max(-1) <= 1).mean() < 0.8
        away = renderer.draw(0, RenderOptions(layer="Target", frame=2), free_camera(64, 48)).image
        assert away.mean() < 80

    @pytest.mark.parametrize("layer", ["RGB error", "Depth error"])
    def test_errors_of_a_scene_without_gaussians_are_explained(self, layer):
        renderer = Renderer(PointsSource(Boxes()))
        state = renderer.load(0)
        painted = renderer.paint(0, RenderOptions(layer=layer), at_frame(state, 0, 64, 48))
        assert painted.message == f"{layer}: this scene has no Gaussians"

    def test_depth_error_is_zero_where_the_render_is_right(self):
        source = Furnished()
        state = source.state
        truth = Renderer(source)
        truth.load(0)
        camera = at_frame(state, 0, 64, 48)
        z = truth.draw(0, RenderOptions(layer="Depth"), camera, with_depth=True).depth
        read = state.frames.read
        right = replace(state.frames, read=lambda i, w, h: replace(read(i, w, h), depth=z))
        source.state = replace(state, frames=right)
        renderer = Renderer(source)
        renderer.load(0)
        image = renderer.draw(0, RenderOptions(layer="Depth error", frame=0), camera).image.astype(int)
        assert np.abs(image - 255 * colormap(torch.zeros(1))[0].numpy()).mean() < 3

    def test_cosine_error_compares_what_the_training_compares(self):
        source = Furnished(teacher=True)
        renderer = Renderer(source)
        state = renderer.load(0)
        teacher = FlatTeacher().features("box", state.frames, [0])[0]
        constant = replace(state, embeddings=torch.ones(len(state.gaussians), 5))
        expected = 1 - torch.nn.functional.cosine_similarity(torch.ones(1, 1, 5), teacher, dim=-1)
        got = renderer.targets.cosine_error(constant, 0, 0)
        assert torch.allclose(got, expected, atol=1e-4)
        lifted = replace(constant, codes=torch.ones(len(state.gaussians), 2), lift=torch.nn.Linear(2, 5))
        with torch.no_grad():
            assert renderer.targets.cosine_error(lifted, 0, 0).shape == (3, 4)


class TestStableColours:
    def test_both_sides_all_scenes_and_steps_share_one_basis(self):
        model = StubModel()
        renderer = Renderer(ModelSource(model, Boxes(), step=5))
        for index in (0, 1):
            renderer.load(index)
            renderer.draw(index, RenderOptions(second="Features", mix="Split"), free_camera())
        assert renderer.colors.version == 1  # fitted once

    def test_colours_of_a_state_follow_a_refresh(self, renderer):
        state = renderer.state(0)
        before = renderer.embedding_colors(0, state)[0]
        assert renderer.embedding_colors(0, state)[0] is before
        renderer.colors.refresh()
        assert renderer.embedding_colors(0, state)[0] is not before
