"""Procedural objects: determinism, meshes, pictures, points, captions, splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.datasets.procedural_objects import TRAINING_CATEGORIES, Objects
from gaussiancross.core.errors import InputError
from gaussiancross.core.synthetic.geometry import shapes as S
from gaussiancross.core.synthetic.geometry.mesh import box
from gaussiancross.core.synthetic.objects import (
    CATEGORIES,
    HELD_OUT,
    ProceduralObject,
    build_object,
    describe,
    light_object,
    object_cameras,
    random_caption,
    render_object,
    surface_points,
    to_trimesh,
)
from gaussiancross.core.synthetic.objects.preview import contact_sheet, save_sheet
from gaussiancross.core.synthetic.rooms.captions import color_names, vocabulary


@pytest.fixture(scope="module")
def objects() -> dict[str, ProceduralObject]:
    """The first object of every category."""
    return {category: build_object(category, 0) for category in CATEGORIES}


def test_the_same_seed_gives_the_same_object():
    a, b = build_object("teapot", 7), build_object("teapot", 7)
    for name in ("vertices", "normals", "faces", "material", "part"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
    assert a.materials == b.materials
    assert np.array_equal(render_object(a, 1, 32, 32)[0], render_object(b, 1, 32, 32)[0])


def test_there_are_many_categories_and_some_are_held_out():
    assert len(CATEGORIES) == len(set(CATEGORIES)) >= 60
    assert set(HELD_OUT) <= set(CATEGORIES) and not set(HELD_OUT) & set(TRAINING_CATEGORIES)


def test_every_mesh_is_finite_and_stands_on_the_ground(objects):
    for category, obj in objects.items():
        assert np.isfinite(obj.vertices).all(), category
        assert np.allclose(np.linalg.norm(obj.normals, axis=1), 1, atol=1e-3), category
        assert obj.faces.min() >= 0 and obj.faces.max() == len(obj.vertices) - 1, category
        assert (obj.areas() > 0).mean() > 0.99, category
        assert abs(obj.bounds[0, 2]) < 1e-5 and np.abs(obj.bounds.mean(0)[:2]).max() < 1e-4, category
        assert obj.material.max() == len(obj.materials) - 1, category


def test_normals_agree_with_the_winding(objects):
    for category, obj in objects.items():
        a, b, c = (obj.vertices[obj.faces[:, i]] for i in range(3))
        flat = np.cross(b - a, c - a)
        agree = (flat * obj.normals[obj.faces].mean(1)).sum(1) > 0
        assert np.average(agree, weights=obj.areas() + 1e-15) > 0.97, category


def test_every_category_is_seen_in_pictures(objects):
    for category in np.random.default_rng(0).choice(CATEGORIES, 24, replace=False):
        color, alpha = render_object(objects[category], 2, 24, 24)
        assert color.shape == (2, 24, 24, 3) and color.dtype == np.uint8 and alpha.shape == (2, 24, 24)
        seen = alpha.sum((1, 2))  # pixels; blades are thin from the side
        assert seen.min() > 0 and seen.max() > 3, category


def test_instances_differ_in_shape(objects):
    for category, low in objects.items():
        high = build_object(category, 1)
        size = [o.bounds[1] - o.bounds[0] for o in (low, high)]
        same = len(low.faces) == len(high.faces) and np.allclose(size[0] / size[0].max(), size[1] / size[1].max(), 0.01)
        assert not same, category


def test_splits_share_no_object():
    of = {split: {Objects(split, 5)[i] for i in range(len(Objects(split, 5)))} for split in ("train", "val", "test")}
    assert not of["train"] & of["val"] and not of["train"] & of["test"] and not of["val"] & of["test"]
    assert not {category for category, _ in of["train"]} & set(HELD_OUT)
    unseen = Objects("test", 2, HELD_OUT)
    assert {unseen[i][0] for i in range(len(unseen))} == set(HELD_OUT)
    assert all(unseen.class_names[unseen.label(i)] == unseen[i][0] for i in range(len(unseen)))


def test_points_lie_on_the_surface_and_carry_its_colours():
    obj = build_object("cup", 3)
    points = surface_points(obj, 500)
    assert points.coord.shape == (500, 3) and points.color.dtype == np.uint8
    assert np.allclose(np.linalg.norm(points.normal, axis=1), 1, atol=1e-4)
    hits = obj.tracer.hits(points.coord + 1e-3 * points.normal, -points.normal)
    assert (hits.face >= 0).mean() > 0.98 and np.median(hits.distance[hits.face >= 0]) < 2e-3
    lit = surface_points(light_object(obj), 500)
    assert np.array_equal(lit.coord, points.coord) and not np.array_equal(lit.color, points.color)


def test_hidden_surfaces_get_no_points():
    obj = build_object("wardrobe", 0)
    at = surface_points(obj, 2000).coord
    inside = (np.abs(at - obj.bounds.mean(0)) < 0.35 * (obj.bounds[1] - obj.bounds[0])).all(1)
    assert not inside.any()


def test_mesh_for_other_programs():
    obj = build_object("hammer", 1)
    mesh = to_trimesh(obj)
    assert len(mesh.vertices) == len(obj.vertices) and mesh.visual.vertex_colors.shape == (len(obj.vertices), 4)
    assert len(np.unique(mesh.visual.vertex_colors, axis=0)) > 1


def test_captions_describe_the_object():
    rng = np.random.default_rng(0)
    for category in ("chair", "apple", "car"):
        obj = build_object(category, 5)
        told = describe(obj)
        assert told.words[0] == category == told.name
        assert told.phrase(rng).claims and set(told.phrase(rng).claims) <= told.facts()
        assert any(word in random_caption(obj, rng) for word in told.words)
    words = set(vocabulary(CATEGORIES))
    assert set(describe(build_object("chair", 5)).colors) <= words


def test_colours_in_captions_are_those_of_the_surface():
    for seed in range(6):
        obj = build_object("dumbbell", seed)
        told = set(describe(obj).colors)
        color = surface_points(obj, 400).color / 255
        named = {name for rgb in color for name in color_names(rgb)}
        assert told <= named


def test_refining_keeps_the_surface():
    mesh = box((0, 0, 0), (1, 0.5, 0.2), 1.0)
    fine, origin = S.subdivide(mesh, 0.11)
    p = fine.vertices[fine.faces]
    assert np.linalg.norm(np.roll(p, -1, 1) - p, axis=2).max() <= 0.11
    assert S.volume(fine) == pytest.approx(0.1) and origin.max() == len(mesh.faces) - 1


@pytest.mark.parametrize(
    ("solid", "expected"),
    [
        (S.extrude([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], 0, 1), 3.0),
        (S.ring_plate(S.ellipse(1, 1, 400), S.ellipse(0.5, 0.5, 400), 0, 1), np.pi * 0.75),
        (S.torus(1, 0.2, 120, 60), 2 * np.pi**2 * 0.04),
        (S.rod((0, 0, 0), (0, 0, 1), 0.1, segments=90), np.pi * 0.01),
        (S.rod((0, 0, 1), (0, 0, 0), 0.1, segments=90), np.pi * 0.01),
        (S.ball(1.0, segments=60), np.pi / 6),
    ],
)
def test_solids_are_closed_and_turned_out(solid, expected):
    assert S.volume(solid) == pytest.approx(expected, rel=0.02)


def test_cameras_see_all_of_an_object():
    obj = build_object("ladder", 2)
    cameras = object_cameras(obj, 12, 40, 40)
    uv, z = cameras.project(torch.from_numpy(obj.vertices))
    assert z.min() > 0 and uv.min() > 0 and uv.max() < 40


def test_bad_input_is_one_sentence():
    for call in (
        lambda: build_object("unicorn", 0),
        lambda: build_object("cup", -1),
        lambda: Objects("holdout"),
        lambda: Objects("train", 2, HELD_OUT),
        lambda: Objects("test", 0),
        lambda: surface_points(build_object("cup", 0), 0),
        lambda: save_sheet("sheet.txt"),
        lambda: render_object(build_object("cup", 0), 0),
    ):
        with pytest.raises(InputError):
            call()


def test_contact_sheet(tmp_path: Path):
    sheet = contact_sheet(("cup", "car"), instances=2, size=16, columns=1)
    assert sheet.size == (40, 64)
    save_sheet(tmp_path / "sheet.png", ("cup",), 1, 16, 1)
    assert (tmp_path / "sheet.png").stat().st_size > 100
