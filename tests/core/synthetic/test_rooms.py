"""Procedural rooms: determinism, labels, geometry against pictures, the walk, and the cache."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.classes import SCANNET20
from gaussiancross.core.datasets import rooms as dataset_module
from gaussiancross.core.datasets.rooms import Rooms, RoomsConfig
from gaussiancross.core.errors import InputError
from gaussiancross.core.synthetic.furniture.item import make_item
from gaussiancross.core.synthetic.geometry import mesh as M
from gaussiancross.core.synthetic.materials.materials import plain
from gaussiancross.core.synthetic.rooms import Room, build_room, light_room, render, sample_points, walk
from gaussiancross.core.synthetic.rooms.layout import Layout, overlap
from gaussiancross.core.synthetic.rooms.preview import contact_sheet, save_sheet
from gaussiancross.core.synthetic.rooms.recipes import ESSENTIAL_CLASSES, ROOM_KINDS
from gaussiancross.core.synthetic.rooms.shell import Opening, Plan
from helpers.room_shortcuts import shortcut_miou
from helpers.rooms import digest, fingerprint

SMALL = RoomsConfig(frames=3, width=64, height=48, points=2000)


@pytest.fixture(scope="module")
def seen():
    """A lit living room, its cameras, their views and its points."""
    lit = light_room(build_room(3))
    cameras = walk(lit, 8, 96, 72)
    views = [render(lit, cameras, i) for i in range(len(cameras))]
    return lit, cameras, views, sample_points(lit, cameras, views, 5000)


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    return [build_room(seed) for seed in range(36)]


# ── solids ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("name", "mesh", "volume"),
    [
        ("box", M.box((-1, 0, 0), (1, 1, 0.5)), 1.0),
        ("rounded box", M.rounded_box((0, 0, 0), (1, 1, 1), 0.1), 0.973),
        ("cylinder", M.cylinder(0.5, 0, 1, 64), np.pi / 4),
        ("ball", M.superellipsoid((1, 1, 1), 1, 1, 40, 60), np.pi / 6),
        ("tube", M.tube([(0, 0, 0), (0, 0, 1), (0, 0, 2)], 0.1, 48), 0.02 * np.pi),
        ("cloth", M.cloth([(0, 0), (1, 0), (2, 0)], 0, 1, 0.1), 0.2),
        ("prism", M.prism([(0, 0), (1, 0), (1, 1), (0, 1)], 0, 2), 2.0),
    ],
)
def test_solids_are_closed_and_face_outwards(name, mesh, volume):
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    # divergence theorem: the signed volume is the solid's own only when every face is there and points outwards
    assert np.sum(np.cross(a, b) * c) / 6 == pytest.approx(volume, rel=0.02)
    face = np.cross(b - a, c - a)
    assert (np.einsum("fi,fi->f", face, mesh.normals[mesh.faces].mean(1)) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-6)


def test_turning_and_scaling_keep_normals_square_to_the_surface():
    mesh = M.cylinder(0.5, 0, 1).rotate(0.7, "x").scale(1, 2, 0.5).rotate(-1.1)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    face /= np.linalg.norm(face, axis=1, keepdims=True)
    assert np.einsum("fi,fi->f", face, mesh.normals[mesh.faces].mean(1)).min() > 0.95


# ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_seed_gives_the_same_room_in_another_process():
    code = "import sys; sys.path.insert(0, sys.argv[1]); from helpers.rooms import fingerprint; print(fingerprint(7))"
    folder = str(Path(__file__).parents[2])
    out = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True, timeout=300)
    assert out.stdout.strip() == fingerprint(7)
    assert digest(build_room(7).vertices) != digest(build_room(8).vertices)


def test_every_class_and_every_kind_of_room_appears(rooms):
    classes = set(np.unique(np.concatenate([r.segment for r in rooms])).tolist())
    assert classes == set(range(-1, 20)), [SCANNET20[c] for c in set(range(20)) - classes]
    assert {r.kind for r in rooms} == set(ROOM_KINDS)
    assert any(r.plan.notch for r in rooms)


@pytest.mark.parametrize("kind", ROOM_KINDS)
def test_rooms_have_their_essential_classes(kind):
    for seed in range(4):
        found = {SCANNET20[c] for c in np.unique(build_room(seed, kind).segment) if c >= 0}
        assert found >= ESSENTIAL_CLASSES[kind], seed


def test_labels_and_instances_agree(rooms):
    for room in rooms:
        assert len(room.segment) == len(room.instance) == len(room.material) == len(room.faces)
        assert room.instance.max() == len(room.labels) - 1
        structure = np.isin(room.segment, [-1, SCANNET20.index("wall"), SCANNET20.index("floor")])
        assert (room.instance[structure] == -1).all()
        assert (room.instance[~structure] >= 0).all()
        for i in range(len(room.labels)):
            assert len(np.unique(room.segment[room.instance == i])) == 1, room.labels[i]
        assert np.isfinite(room.vertices).all()
        np.testing.assert_allclose(np.linalg.norm(room.normals, axis=1), 1, atol=1e-3)


def test_furniture_stands_inside_and_apart(rooms):
    for room in rooms:
        boxes = room.solids
        assert (boxes[:, 2] > -1e-6).all() and (boxes[:, 5] <= room.plan.h + 1e-6).all()
        assert all(room.plan.contains(tuple(b)) for b in boxes.tolist())


def test_meshes_stay_within_walls_floor_and_ceiling(rooms):
    for room in rooms:
        built_in = np.isin(room.segment, [SCANNET20.index("door"), SCANNET20.index("window")])
        index = np.unique(room.faces[(room.instance >= 0) & ~built_in])
        v = room.vertices[index]
        low, high = v.min(0), v.max(0)
        assert (low > -0.02).all() and (high < [room.plan.w + 0.02, room.plan.d + 0.02, room.plan.h + 0.02]).all()
        if room.plan.notch:
            x0, y0, x1, y1 = room.plan.notch
            within = (v[:, 0] > x0 + 0.02) & (v[:, 0] < x1 - 0.02) & (v[:, 1] > y0 + 0.02) & (v[:, 1] < y1 - 0.02)
            assert not within.any()


def test_nothing_is_placed_into_something_else():
    rng = np.random.default_rng(0)
    plan = Plan.draw(rng, 4.0, 3.0, 2.5, True)
    door = Opening(0, 0.2, 1.0, 0.0, 2.0, "door")
    layout = Layout(rng, plan, [door])
    crate = make_item("crate", "otherfurniture", [(M.box((-0.3, 0, 0), (0.3, 0.6, 0.8)), plain((0.5, 0.5, 0.5)))])
    placed = [layout.place_at_wall(crate, tries=100) for _ in range(40)]
    boxes = [p[0].bounds for p in placed if p]
    assert 5 < len(boxes) < 40  # it fills up
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(plan.contains(b) for b in boxes) and not any(overlap(b, layout.zones[0]) for b in boxes)
    in_notch = plan.notch
    assert (
        in_notch
        and layout.place_at(crate, (in_notch[0] + in_notch[2]) / 2, (in_notch[1] + in_notch[3]) / 2, 0.3) is None
    )


def test_colours_overlap_between_classes(rooms):
    """The same wood serves for floors, doors and furniture: no class owns the browns."""
    mean = {}
    for room in rooms:
        table = room.materials.color[:, 0]
        for c in np.unique(room.segment):
            for m in np.unique(room.material[room.segment == c]):
                mean.setdefault(int(c), []).append(table[m])
    spread = {c: np.std(np.array(v), axis=0).mean() for c, v in mean.items() if c >= 0 and len(v) >= 20}
    assert len(spread) > 8 and min(spread.values()) > 0.08, spread


# ── pictures, points, cameras ────────────────────────────────────────────────────────────────────────────────────
def test_no_ray_leaves_the_room_and_none_meets_a_back_face(seen):
    lit, cameras, views, _ = seen
    for i, view in enumerate(views):
        assert (view.depth > 0).mean() > 0.999
        assert view.depth.max() < np.hypot(lit.room.plan.w, lit.room.plan.d) + 1
        world = cameras[i].unproject(torch.from_numpy(view.depth)[None])[0].numpy()
        towards = cameras.centers[i].numpy() - world
        assert ((towards * view.normal).sum(-1) > -1e-4)[view.depth > 0].mean() > 0.999


def test_points_project_onto_the_depth_that_saw_them(seen):
    _, cameras, views, points = seen
    uv, z = cameras.project(torch.from_numpy(points.coord))
    agrees = np.zeros(len(points), bool)
    coloured: list[np.ndarray] = []
    for i, view in enumerate(views):
        column, row = np.floor(uv[i].numpy()).astype(int).T
        inside = (z[i].numpy() > 0.05) & (column >= 0) & (row >= 0) & (column < 96) & (row < 72)
        c, r = column[inside], row[inside]
        close = np.abs(view.depth[r, c] - z[i].numpy()[inside]) < 0.03
        index = np.flatnonzero(inside)[close]
        agrees[index] = True
        same = view.segment[r, c][close] == points.segment[index]
        assert same.mean() > 0.85  # the rest lies next to another surface, within a pixel and 3 cm
        coloured.append(np.abs(view.color[r, c][close].astype(int) - points.color[index]).mean(1))
    assert agrees.all()
    assert np.median(np.concatenate(coloured)) < 8  # of 255: the same light on the same surface


def test_normals_face_a_camera(seen):
    _, cameras, _, points = seen
    towards = cameras.centers.numpy()[:, None] - points.coord
    np.testing.assert_allclose(np.linalg.norm(points.normal, axis=1), 1, atol=1e-4)
    assert ((towards * points.normal).sum(-1) > 0).any(0).all()


def test_cameras_stand_in_free_space(seen, rooms):
    for lit, cameras in [(seen[0], seen[1]), *((lit, walk(lit, 6, 32, 24)) for lit in map(light_room, rooms[9:10]))]:
        for x, y, z in cameras.centers.numpy().tolist():
            eye = (x - 0.15, y - 0.15, z - 0.1, x + 0.15, y + 0.15, z + 0.1)
            assert lit.room.plan.contains(eye) and 1.2 <= z <= 1.8
            assert not any(overlap(eye, tuple(b)) for b in lit.room.solids.tolist())
        rotation = cameras.viewmats[:, :3, :3]
        np.testing.assert_allclose(torch.linalg.det(rotation).numpy(), 1, atol=1e-5)
        assert (rotation[:, 1, 2] < -0.8).all()  # held upright: the image's down is the world's


def test_the_walk_sees_most_of_the_furniture(seen):
    lit, _, views, _ = seen
    found = np.unique(np.concatenate([v.instance.ravel() for v in views]))
    big = [i for i in range(len(lit.room.labels)) if lit.room.areas()[lit.room.instance == i].sum() > 0.5]
    assert np.isin(big, found).mean() > 0.85


def test_light_is_neither_dark_nor_burnt_out(seen):
    _, _, views, _ = seen
    color = np.stack([v.color for v in views]).astype(float)
    assert 90 < color.mean() < 190
    assert (color.max(-1) >= 254).mean() < 0.15 and (color.max(-1) < 12).mean() < 0.05


def test_the_near_plane_removes_close_surfaces(seen):
    lit, cameras, views, _ = seen
    cut = render(lit, cameras, 0, near=1.5)
    far = views[0].depth > 1.6
    np.testing.assert_allclose(cut.depth[far], views[0].depth[far], atol=2e-3)
    assert cut.depth[cut.depth > 0].min() >= 1.5


# ── the data set ─────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_dataset_reads_its_files_back(tmp_path, monkeypatch):
    data = Rooms("val", 2, SMALL, tmp_path)
    scene, frames = data.scene(1), data.frames(1)
    assert scene.name == "room_val_000001" and data.class_names == SCANNET20
    assert len(scene) <= SMALL.points and scene.segment is not None
    assert len(frames) == 3 and frames.skipped == {} and (frames.cameras.width, frames.cameras.height) == (64, 48)

    lit = light_room(build_room(data.seed(1)))
    cameras = walk(lit, 3, 64, 48)
    view = render(lit, cameras, 2)
    frame = frames.read(2, 64, 48)
    np.testing.assert_allclose(frames.cameras.viewmats, cameras.viewmats, atol=1e-5)
    np.testing.assert_allclose(frames.cameras.Ks, cameras.Ks, rtol=1e-6)
    assert np.abs(frame.color - view.color / 255).mean() < 0.01  # JPEG
    np.testing.assert_allclose(frame.depth, view.depth, atol=5.1e-4)

    monkeypatch.setattr(dataset_module, "build_room", lambda seed: pytest.fail("made twice"))
    again = Rooms("val", 2, SMALL, tmp_path).scene(1)
    for name, array in scene.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])


def test_cache_is_keyed_by_version_and_configuration(tmp_path, monkeypatch):
    first = Rooms("train", 1, SMALL, tmp_path)
    other = Rooms("train", 1, RoomsConfig(frames=3, width=64, height=48, points=2001), tmp_path)
    assert first.root != other.root
    monkeypatch.setattr(dataset_module, "GENERATOR_VERSION", 10_000)
    assert Rooms("train", 1, SMALL, tmp_path).root != first.root


def test_an_interrupted_room_is_made_again_and_leaves_nothing(tmp_path, monkeypatch):
    data = Rooms("train", 1, SMALL, tmp_path)
    save = np.save

    def broken(path, array, **options):
        save(path, array, **options)
        if path.name == "instance.npy":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "save", broken)
        data.scene(0)
    assert list(data.root.rglob("*.npy")) == []
    assert len(data.scene(0)) > 100
    assert not list(data.root.glob("partial-*"))


@pytest.mark.parametrize("damaged", ["val/*/coord.npy", "rgbd/*/depth/1.png"])
def test_a_damaged_room_is_made_again(tmp_path, damaged):
    data = Rooms("val", 1, SMALL, tmp_path)
    coord = data.scene(0).coord
    (path,) = data.root.glob(damaged)
    path.write_bytes(b"")  # as a power cut leaves it
    again = Rooms("val", 1, SMALL, tmp_path)
    with pytest.warns(UserWarning, match="The room is generated again"):
        frames, scene = again.frames(0), again.scene(0)
    np.testing.assert_array_equal(scene.coord, coord)
    assert len(frames) == 3 and path.stat().st_size > 0


def test_two_processes_may_make_the_same_room(tmp_path, monkeypatch):
    """The slower one finds the folders already there when it comes to move its own."""
    slow, fast = Rooms("train", 1, SMALL, tmp_path), Rooms("train", 1, SMALL, tmp_path)
    save = np.save

    def late(path, array, **options):
        monkeypatch.setattr(np, "save", save)
        fast.scene(0)
        save(path, array, **options)

    monkeypatch.setattr(np, "save", late)
    np.testing.assert_array_equal(slow.scene(0).coord, fast.scene(0).coord)
    assert not list(slow.root.glob("partial-*"))


def test_splits_share_no_seed():
    seeds = [{Rooms(split, 1000).seed(i) for i in range(1000)} for split in ("train", "val", "test")]
    assert len(set.union(*seeds)) == 3000
    with pytest.raises(InputError, match="1,000,000"):
        Rooms("train", 1_000_001)
    with pytest.raises(InputError, match="train, val or test"):
        Rooms("training")


def test_a_sheet_shows_every_room_in_a_row(tmp_path):
    sheet = contact_sheet([9, 9], views=2, width=48, height=36)
    assert sheet.size == (5 * 48, 2 * 36)
    picture = np.asarray(sheet)
    np.testing.assert_array_equal(picture[:36], picture[36:])
    with pytest.raises(InputError, match="suffix"):
        save_sheet([9], tmp_path / "sheet.txt")


def test_impossible_configurations_are_refused():
    with pytest.raises(InputError, match="0 or more"):
        build_room(-1)
    with pytest.raises(InputError, match="living room, bedroom"):
        build_room(0, "attic")
    with pytest.raises(InputError, match="at least 1 frame"):
        RoomsConfig(frames=0)


def test_unwritable_root_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can be written"):
        Rooms("train", 1, SMALL, tmp_path / "file").scene(0)


def test_sensor_noise_is_off_by_default_and_grows_with_distance(seen):
    _, _, views, _ = seen
    rng = np.random.default_rng(0)
    color, depth = dataset_module.add_sensor_noise(views[0], RoomsConfig(), rng)
    np.testing.assert_array_equal(color, views[0].color)
    np.testing.assert_array_equal(depth, views[0].depth)
    _, noisy = dataset_module.add_sensor_noise(views[0], RoomsConfig(depth_noise=1, color_noise=2), rng)
    error = np.abs(noisy - views[0].depth)
    near, far = views[0].depth < np.median(views[0].depth), views[0].depth >= np.median(views[0].depth)
    assert 0 < error[near].mean() < error[far].mean() < 0.1


def test_palette_names_are_the_classes():
    data = json.loads(files("gaussiancross.assets").joinpath("scannet20.json").read_text(encoding="utf-8"))
    assert tuple(data["names"]) == SCANNET20 and len({tuple(c) for c in data["palette"]}) == 20


def test_shortcut_score_is_one_when_a_feature_gives_the_class_away(seen):
    *_, points = seen
    given_away = replace(points, segment=(points.coord[:, 2] > 1.0).astype(np.int64))
    assert shortcut_miou([given_away], [given_away], "height") == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_height_or_colour_alone_do_not_give_the_class(tmp_path):
    config = RoomsConfig(frames=12, width=160, height=120, points=20_000)
    train, val = Rooms("train", 20, config, tmp_path), Rooms("val", 10, config, tmp_path)
    a, b = [train.scene(i) for i in range(20)], [val.scene(i) for i in range(10)]
    assert shortcut_miou(a, b, "height") < 0.25
    assert shortcut_miou(a, b, "color") < 0.25
