"""The procedural generators still give the rooms and objects that the bundled weights were trained on.

`frozen_output.json` holds what each seed gave: SHA-256 digests of geometry and materials, and summaries of rendered
output. Geometry is quantised before it is hashed (`quantised`), because processors differ in the last bit of a sine or
a matrix product. Output of rays and light (pictures, points, Gaussians, cameras) is compared as block means and moments
within a tolerance, because a ray along an edge may hit on one processor and miss on another. Labels, faces, captions
and counts are exact. The recorded objects are some without ties between edges of equal length, which subdivision would
resolve by the last bit.

After raising a version, write the file anew: ``python tests/core/synthetic/test_frozen_output.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.synthetic.materials.materials import MaterialTable
from gaussiancross.core.synthetic.materials.textures import albedo
from gaussiancross.core.synthetic.objects import (
    build_object,
    light_object,
    object_gaussians,
    random_caption,
    render_object,
    surface_points,
)
from gaussiancross.core.synthetic.objects.build import OBJECTS_VERSION
from gaussiancross.core.synthetic.rooms import Room, build_room, light_room, render, sample_points, walk
from gaussiancross.core.synthetic.rooms.captions import describe
from gaussiancross.core.synthetic.rooms.room import GENERATOR_VERSION

FROZEN = Path(__file__).with_name("frozen_output.json")
ROOMS = (0, 1, 3, 9, 10, 13)
"""Seeds of one room of each kind."""
RENDERED = 9
"""Seed of the room that is lit and rendered: a bathroom with sunlight."""
OBJECTS = (
    ("chair", 1),
    ("teapot", 3),
    ("tree", 1),
    ("bicycle", 2),
    ("oven", 0),
    ("duck", 5),
    ("castle", 4),
    ("guitar", 2),
    ("bookshelf", 2),
)
RENDERED_OBJECTS = ("chair", "teapot", "castle")
"""Categories whose object of seed 1 is lit and rendered."""
TEXTURES = 15
"""Number of texture kinds."""

VOID = (
    "The output of core/synthetic changed, which voids the bundled weights: restore it, or raise "
    "GENERATOR_VERSION (core/synthetic/rooms/room.py) or OBJECTS_VERSION (core/synthetic/objects/build.py), retrain "
    "the weights and write frozen_output.json anew."
)


def quantised(values: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """``values`` in whole ``step``s. The offset keeps round numbers, such as 0.05, away from the borders of a step."""
    return np.floor(np.asarray(values, np.float64) / step + 0.3717).astype(np.int64)


def digest(*parts: object) -> str:
    """SHA-256 of arrays and values; floating point arrays are quantised to 1e-4."""
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            h.update(np.ascontiguousarray(quantised(part) if part.dtype.kind == "f" else part.astype(np.int64)).data)
        else:
            h.update(repr(part).encode())
    return h.hexdigest()


def moments(values: np.ndarray) -> list[list[float]]:
    """Mean and standard deviation of the columns of [N, D]."""
    v = np.asarray(values, np.float64).reshape(len(values), -1)
    return [np.round(v.mean(0), 4).tolist(), np.round(v.std(0), 4).tolist()]


def blocks(image: np.ndarray, rows: int = 6, columns: int = 8) -> list:
    """Block means of an image [H, W, ...]."""
    h, w = image.shape[0] // rows, image.shape[1] // columns
    tiles = image.astype(np.float64).reshape(rows, h, columns, w, -1).mean((1, 3))
    return np.round(tiles, 3).reshape(rows, -1).tolist()


def material_digest(table: MaterialTable) -> str:
    return digest(table.kind, table.axis, table.seed, table.color, table.p, table.glow)


def room_entry(room: Room) -> dict:
    texts = [d.phrase(np.random.default_rng(i + 10)).text for i, d in describe(room).items()]
    return {
        "kind": room.kind,
        "geometry": digest(room.vertices, room.normals, room.tex, room.faces, room.side, room.solids),
        "labels": digest(room.material, room.segment, room.instance, room.labels),
        "materials": material_digest(room.materials),
        "light": digest(
            room.sky,
            room.sun,
            room.sun_color,
            *(np.array([*lamp.center, lamp.radius, *lamp.color, lamp.power, lamp.down]) for lamp in room.lamps),
            *(np.array([*w.corner, *w.u, *w.v, *w.normal]) for w in room.windows),
        ),
        "captions": digest(texts),
        "some captions": texts[:: max(1, len(texts) // 6)],
    }


def rendered_room_entry(seed: int) -> dict:
    lit = light_room(build_room(seed))
    cameras = walk(lit, 3, 96, 72)
    views = [render(lit, cameras, i) for i in range(3)]
    points = sample_points(lit, cameras, views, 2000)
    assert points.segment is not None and points.instance is not None
    return {
        "cameras": [moments(m) for m in cameras.viewmats.numpy()],
        "color": blocks(views[1].color),
        "depth": blocks(views[1].depth),
        "classes": [float((views[1].segment == c).mean().round(4)) for c in range(-1, 20)],
        "point coord": moments(points.coord),
        "point color": moments(points.color),
        "point normal": moments(points.normal),
        "point classes": [float((points.segment == c).mean().round(4)) for c in range(-1, 20)],
        "point instances": float(points.instance.mean().round(4)),
    }


def object_entry(category: str, seed: int) -> dict:
    obj = build_object(category, seed)
    return {
        "geometry": digest(obj.vertices, obj.normals, obj.tex, obj.faces, obj.side),
        "materials": digest(obj.material, obj.part, material_digest(obj.table)),
        "captions": [*obj.names, *(random_caption(obj, np.random.default_rng(i)) for i in range(3))],
    }


def rendered_object_entry(category: str) -> dict:
    lit = light_object(build_object(category, 1))
    color, alpha = render_object(lit, 3, 48, 48)
    points = surface_points(lit, 1000)
    gaussians = object_gaussians(lit, 128)
    return {
        "color": blocks(color[1]),
        "alpha": blocks(alpha[1]),
        "point coord": moments(points.coord),
        "point color": moments(points.color),
        "gaussian means": moments(gaussians.means.numpy()),
        "gaussian log scales": moments(np.log(gaussians.scales.numpy())),
        "gaussian opacities": moments(gaussians.opacities.numpy()),
        "gaussian colors": moments(gaussians.colors.numpy()),
    }


def texture_digest(kind: int) -> str:
    """Digest of the colours of one texture kind at 400 places, under random parameters."""
    rng = np.random.default_rng([kind, 1])
    out = []
    for _ in range(40):
        axis, side, seed = (int(rng.integers(n)) for n in (3, 3, 9999))
        color, p = rng.uniform(size=(3, 3)), rng.uniform(0.05, 1.0, 6)
        p[int(rng.integers(3))] *= 3
        p[4] *= int(rng.choice([-1, 1]))
        for x, y, z in rng.uniform(-1.5, 2.5, (10, 3)).tolist():
            out.append(albedo(kind, axis, seed, color, p, side, x, y, z))
    return digest(quantised(np.array(out), 1e-6))


def record() -> dict:
    return {
        "versions": [GENERATOR_VERSION, OBJECTS_VERSION],
        "rooms": {str(seed): room_entry(build_room(seed)) for seed in ROOMS},
        "rendered room": rendered_room_entry(RENDERED),
        "objects": {f"{c} {s}": object_entry(c, s) for c, s in OBJECTS},
        "rendered objects": {c: rendered_object_entry(c) for c in RENDERED_OBJECTS},
        "textures": [texture_digest(kind) for kind in range(TEXTURES)],
    }


@pytest.fixture(scope="module")
def frozen() -> dict:
    return json.loads(FROZEN.read_text(encoding="utf-8"))


def assert_close(found: dict, expected: dict) -> None:
    """Summaries agree: 8-bit colours within 1.5, logarithms of scales within 0.1, all other numbers within 0.02."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = {"color": 1.5, "point color": 1.5, "gaussian log scales": 0.1}.get(name, 0.02)
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance, err_msg=f"{name}: {VOID}")


def test_versions_are_those_of_the_record(frozen):
    assert frozen["versions"] == [GENERATOR_VERSION, OBJECTS_VERSION], VOID


@pytest.mark.parametrize("seed", ROOMS)
def test_room_geometry_materials_labels_and_captions(frozen, seed):
    assert room_entry(build_room(seed)) == frozen["rooms"][str(seed)], VOID


def test_room_cameras_picture_depth_and_points(frozen):
    assert_close(rendered_room_entry(RENDERED), frozen["rendered room"])


@pytest.mark.parametrize(("category", "seed"), OBJECTS)
def test_object_geometry_materials_and_captions(frozen, category, seed):
    assert object_entry(category, seed) == frozen["objects"][f"{category} {seed}"], VOID


@pytest.mark.parametrize("category", RENDERED_OBJECTS)
def test_object_pictures_points_and_gaussians(frozen, category):
    assert_close(rendered_object_entry(category), frozen["rendered objects"][category])


@pytest.mark.parametrize("kind", range(TEXTURES))
def test_texture_colours(frozen, kind):
    assert texture_digest(kind) == frozen["textures"][kind], VOID


if __name__ == "__main__":
    text = json.dumps(record(), indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s+", " ", m.group()), text)  # a list of numbers on one line
    FROZEN.write_text(text + "\n", encoding="utf-8")
