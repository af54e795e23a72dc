"""Class colours, probe layer, thumbnails and uploaded scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.render.classes import DEFAULT_STYLE, class_table, default_colors, point_segment, probe_scores
from gaussiancross.app.render.colors import class_colors
from gaussiancross.app.render.contact_sheet import THUMBNAIL, scene_sheet
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.render.scores import ClassScores
from gaussiancross.app.render.thumbnails import oblique_view, preview, thumbnail
from gaussiancross.app.scenes import uploads
from gaussiancross.app.scenes.geometry import UP, guess_up, up_of, z_up_to
from gaussiancross.app.scenes.source import LiveSource, ModelSource, PointsSource, SceneState
from gaussiancross.app.scenes.uploads import read_upload
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import write_gaussians, write_points, write_splat
from gaussiancross.trainers.engine.live import LiveFeed, Snapshot
from helpers.inspector import Boxes, StubModel, as_gaussians, box_frames, box_room, free_camera, stub_probe

NAMES = Boxes.class_names


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    renderer = Renderer(ModelSource(StubModel(), Boxes(), step=7, probe=stub_probe()))
    renderer.load(0)
    return renderer


class TestStyle:
    def test_scannet_classes_have_the_colours_of_scannet(self):
        assert torch.equal(default_colors(("floor", "wall")) * 255, torch.tensor([[152.0, 223, 138], [174, 199, 232]]))
        assert torch.equal(default_colors(("floor", "spaceship")), class_colors(torch.arange(2)))

    def test_hidden_and_recoloured(self):
        style = DEFAULT_STYLE.recoloured("b", (255, 0, 0)).recoloured("b", (0, 255, 0)).toggled("a")
        scores = style.apply(ClassScores(torch.eye(3), ("a", "b", "c")))
        assert scores.visible.tolist() == [False, True, True] and len(style.colors) == 1
        assert scores.palette()[1].tolist() == [0, 1, 0]
        grey = class_colors(torch.tensor([-1]))[0]
        assert torch.equal(scores.palette()[0], grey)
        painted = style.paint(("a", "b"), np.array([0, 1, -1, 5]))  # an index beyond the names is a class, too
        assert torch.equal(painted[0], grey) and torch.equal(painted[2], grey)
        assert painted[1].tolist() == [0, 1, 0] and not torch.equal(painted[3], grey)
        assert style.toggled("a").hidden == frozenset()


class TestProbeLayer:
    def test_points_and_gaussians_agree_with_the_probe(self, renderer):
        state = renderer.state(0)
        segment = point_segment(state, "Probe")
        floor, ceiling = state.points.normal[:, 2] > 0.5, state.points.normal[:, 2] < -0.5
        assert (segment[floor] == 4).mean() > 0.95 and (segment[ceiling] == 5).mean() > 0.95
        scores = probe_scores(state, NAMES)
        assert scores is probe_scores(state, NAMES)  # kept with the state
        assert scores.scores.shape == (len(state.gaussians), 6)
        # The stub's Gaussians sit on the voxels' points: each has its own voxel's classes.
        assert torch.allclose(scores.scores, state.point_classes, atol=1e-6)

    def test_layer_shows_the_probe_and_obeys_the_style(self, renderer):
        assert renderer.class_providers == ("Probe",) and "Classes" in renderer.layers(0)
        from gaussiancross.app.render.options import RenderOptions

        plain = renderer.draw(0, RenderOptions(layer="Classes"), free_camera(80, 60)).image.astype(int)
        hidden = DEFAULT_STYLE.toggled("floor")
        other = renderer.draw(0, RenderOptions(layer="Classes", style=hidden), free_camera(80, 60)).image.astype(int)
        changed = np.abs(plain - other).max(-1) > 12
        assert 0.02 < changed.mean() < 0.9
        assert np.ptp(other[changed], axis=1).mean() < np.ptp(plain[changed], axis=1).mean()  # grey now

    def test_points_show_labels_or_the_probe(self, renderer):
        labels = renderer.points(0, "Labels", 10**6)
        probe = renderer.points(0, "Probe", 10**6)
        assert labels[2] == probe[2] == "" and not np.array_equal(labels[1], probe[1])
        assert len(np.unique(labels[1], axis=0)) == 6

    def test_table_scores_the_probe_against_the_labels(self, renderer):
        table = class_table(renderer.state(0), NAMES)
        assert table.labelled.sum() == table.predicted.sum() == len(renderer.state(0).points)
        assert table.scores.iou[4] > 0.9 and table.scores.iou[5] > 0.9
        assert set(table.present()) == set(range(6))
        bare = class_table(SceneState("bare", points=replace(box_room(), segment=None)), NAMES)
        assert bare is None
        unnamed = class_table(SceneState("unnamed", points=box_room()), ())
        assert unnamed.names[3] == "class 3" and unnamed.scores is None and unnamed.predicted is None

    def test_a_probe_of_other_classes_shows_nothing(self, renderer):
        assert probe_scores(renderer.state(0), ("a", "b")) is None

    def test_live_probe_follows_its_snapshots(self):
        feed = LiveFeed()
        source = LiveSource(feed, Boxes(), device="cpu", make_model=StubModel)
        weights = {"grey": torch.tensor(0.3)}
        feed.publish(Snapshot(1, weights))
        assert source.load(0).point_classes is None
        feed.publish(Snapshot(2, weights, stub_probe().state_dict()))
        classes = source.load(0).point_classes
        assert classes.shape[1] == 6 and torch.allclose(classes.sum(1), torch.ones(len(classes)))


class TestUp:
    @pytest.mark.parametrize("up", list(UP))
    def test_a_furnished_room_stands_upright_whichever_way_it_was_turned(self, up):
        rng = np.random.default_rng(0)
        floor = np.c_[rng.random((4000, 2)) * [6, 5], rng.normal(0, 0.01, 4000)]
        walls = np.c_[rng.random((3000, 2)) * [6, 5], rng.random(3000) * 2.4]
        walls[:, 0] = np.where(rng.random(3000) < 0.5, walls[:, 0], 6.0)
        things = np.c_[rng.random((2000, 2)) * [5, 4], rng.random(2000) * 0.9]
        room = np.concatenate([floor, walls, things])
        assert up_of(np.stack([z_up_to(p, up) for p in room])) == up

    def test_up_is_estimated_only_without_frames(self):
        flat = np.random.default_rng(0).random((1000, 3)).astype(np.float32) * [5, 0.1, 5]
        scene = replace(box_room(), coord=flat.astype(np.float32)[: len(box_room())])
        assert guess_up(SceneState("file", points=scene))[1] == "y"
        assert guess_up(SceneState("capture", points=scene, frames=box_frames())) == "+z"
        assert guess_up(SceneState("empty")) == "+z"
        assert up_of(np.full((50, 3), np.nan)) == "+z"

    def test_z_up_to_is_a_rotation(self):
        for up, direction in UP.items():
            matrix = np.stack([z_up_to(axis, up) for axis in np.eye(3)], 1)
            assert np.linalg.det(matrix) == pytest.approx(1)
            assert matrix[:, 2].tolist() == list(direction)


class TestPictures:
    def test_first_frame_or_points_from_above(self):
        width, height = THUMBNAIL
        assert thumbnail(None, box_frames()).shape == thumbnail(box_room(), None).shape == (height, width, 3)
        coord = np.array([[0, 0, 0], [1, 1, 0], [0, 1, 0.2]] * 40, np.float32)
        color = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]] * 40, np.uint8)
        image = oblique_view(SceneState("three", points=PointScene("three", coord, color, np.zeros_like(coord))))
        red, green = (np.argwhere((image == c).all(-1)).mean(0) for c in ((255, 0, 0), (0, 255, 0)))
        assert red[0] > green[0]  # seen from the corner with the low x and y, the other corner is up the page

    def test_sheet_frames_one(self):
        image = scene_sheet([("1 a", np.zeros((THUMBNAIL[1], THUMBNAIL[0], 3), np.uint8), True), ("2 b", None, False)])
        assert (image == (64, 132, 246)).all(-1).sum() > 1000

    def test_pictures_without_a_network(self):
        model = StubModel()
        source = ModelSource(model, Boxes())
        assert preview(source, 1).shape[2] == 3 and model.calls == 0
        assert preview(PointsSource(box_room()), 0) is not None

    def test_scenes_that_would_have_to_be_made_are_not(self):
        class Lazy(Boxes):
            def ready(self, index):
                return index == 0

        source = PointsSource(Lazy())
        assert preview(source, 0) is not None and preview(source, 1) is None


class TestUploads:
    def test_all_three_formats(self, tmp_path):
        scene = box_room()
        write_points(tmp_path / "a.ply", scene)
        write_gaussians(tmp_path / "b.ply", as_gaussians(scene))
        write_splat(tmp_path / "c.splat", as_gaussians(scene))
        points = read_upload("My room (1).PLY", (tmp_path / "a.ply").read_bytes())
        assert len(points.points) == len(scene) and points.name == "My_room_1_" and points.gaussians is None
        for name in ("b.ply", "c.splat"):
            assert len(read_upload(name, (tmp_path / name).read_bytes()).gaussians) == len(scene)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.doc", b"", r"x\.doc: expected a file ending in \.ply, \.splat, .*, found '\.doc'"),
            ("x.spz", b"junk", r"^x\.spz: expected an SPZ file"),
            ("noending", b"", "a name without an ending"),
            ("bad.ply", b"ply\nnonsense", r"^bad\.ply: expected"),
            ("empty.splat", b"", r"^empty\.splat: expected"),
            ("../../etc/passwd.ply", b"junk", r"^passwd\.ply"),
            ("C:\\me\\x.ply", b"junk", r"^x\.ply"),
        ],
    )
    def test_errors_name_the_uploaded_file(self, name, content, message):
        with pytest.raises(InputError, match=message) as error:
            read_upload(name, content)
        assert "gaussiancross-upload" not in str(error.value)

    def test_size_is_capped(self, monkeypatch):
        monkeypatch.setattr(uploads, "MAX_UPLOAD", 10_000_000)
        with pytest.raises(InputError, match="at most 10 MB, found 12 MB"):
            read_upload("x.ply", bytes(12_000_000))

    def test_an_added_scene_comes_behind_the_sources(self):
        renderer = Renderer(PointsSource(Boxes()))
        first = renderer.add_scene(SceneState("box1", points=box_room(8)))
        second = renderer.add_scene(SceneState("box1", points=box_room(8)))
        assert (first, second) == (2, 3) and renderer.scene_names == ("box0", "box1", "box1-2", "box1-3")
        assert len(renderer.load(first).points) == len(box_room(8)) and renderer.load(1).name == "box1"
        assert renderer.points(first, "Colour", 10**6)[2] == ""
