"""Descriptions of one object, in the words of `rooms.captions`."""

from __future__ import annotations

import zlib
from collections import Counter
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..materials import textures as T
from ..render.trace import Hits
from ..rooms.captions import Description, color_names, material_names
from ..rooms.render import PixelRays
from .build import OBJECTS_VERSION, ProceduralObject, build_parts
from .catalogue import SYNONYMS
from .categories.furniture import INSTANCE_NAMES
from .light import linear_to_srgb_array
from .render import object_cameras
from .surface import colors_at

MIN_SHARE = 0.2
"""Share of the visible surface above which a colour or material is named."""
_PATTERNS = (T.STRIPES, T.CHECKS, T.TILES, T.RUG, T.SPINE)
"""Textures whose colours are named one by one."""
_PICTURES = (T.PAINTING, T.OUTDOORS, T.SCREEN)
"""Textures that show pictures, whose colours are not those of a surface."""
_COMPARED_OBJECTS = 32
"""Number of objects of a category that sizes are compared with."""


def describe(obj: ProceduralObject, sizes: bool = True) -> Description:
    """Names, colours, materials and, with ``sizes``, proportions of an object.

    Colours and materials are those visible from eight sides. Sizes compare proportions with others of the category,
    because pictures of one object have no scale: "tall" is tall for its width. The first object of a category takes
    longer for them, because others of the category are built.
    """
    hits = _visible_hits(obj)
    rgb = colors_at(obj, hits)
    material = obj.material[hits.face]
    colors: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for m in np.unique(material).tolist():
        mask = material == m
        share = float(mask.mean())
        kind = obj.materials[m].kind
        words.update(dict.fromkeys(material_names(kind), share))
        if kind not in _PICTURES:
            for tone, part in _material_colors(rgb[mask], obj, m):
                colors.update(dict.fromkeys(color_names(tone), share * part))
    extent = obj.bounds[1] - obj.bounds[0]
    return Description(
        obj.label,
        obj.names,
        _frequent_words(colors),
        _frequent_words(words),
        proportions(obj.category, extent) if sizes else (),
    )


def random_caption(obj: ProceduralObject, rng: Generator) -> str:
    """A random true caption: "tall brown wooden bookshelf", "mug"."""
    return describe(obj).phrase(rng).text


def proportions(category: str, extent: NDArray) -> tuple[str, ...]:
    """Size words ("tall", "low", "long") of extents [3] (metres, z up) relative to the category."""
    height, length = _aspect_ratios(np.asarray(extent, float)[None])
    heights, lengths = _category_quantiles(category)
    out = []
    if heights[2] > 1.12 * heights[1] and height[0] >= heights[2]:
        out.append("tall")
    if heights[0] < heights[1] / 1.12 and height[0] <= heights[0]:
        out.append("low")
    if lengths[2] > 1.12 * lengths[1] and length[0] >= lengths[2]:
        out.append("long")
    return tuple(out)


def all_names() -> tuple[str, ...]:
    """All names and synonyms, sorted."""
    return tuple(sorted({*SYNONYMS, *(s for many in SYNONYMS.values() for s in many), *INSTANCE_NAMES}))


def _visible_hits(obj: ProceduralObject) -> Hits:
    """Surface points that eight small views show."""
    cameras = object_cameras(obj, 8, 24, 24)
    rays = [PixelRays(cameras, i).through(0.5, 0.5) for i in range(len(cameras))]
    hits = obj.tracer.hits(*(np.concatenate(a) for a in zip(*rays, strict=True)))
    met = hits.face >= 0
    return Hits(*(a[met] for a in hits))


def _material_colors(rgb: NDArray, obj: ProceduralObject, m: int) -> list[tuple[NDArray, float]]:
    """Colours of material ``m`` at points of colours [R, 3], each with its share of the points."""
    if obj.materials[m].kind not in _PATTERNS:
        return [(np.median(rgb, axis=0), 1.0)]
    palette = linear_to_srgb_array(obj.table.color[m])
    nearest = np.argmin(np.linalg.norm(rgb[:, None] - palette, axis=-1), axis=1)
    return [(palette[k], float((nearest == k).mean())) for k in range(3)]


def _frequent_words(shares: Counter[str]) -> tuple[str, ...]:
    return tuple(word for word, share in shares.most_common() if share > MIN_SHARE)


def _aspect_ratios(extent: NDArray) -> tuple[NDArray, NDArray]:
    """Height by length and length by breadth of extents [N, 3]."""
    long, short = extent[:, :2].max(1), extent[:, :2].min(1)
    return extent[:, 2] / np.maximum(long, 1e-6), long / np.maximum(short, 1e-6)


@cache
def _category_quantiles(category: str) -> tuple[NDArray, NDArray]:
    """The 0.2, 0.5 and 0.8 quantiles of both ratios in a category."""
    extent = []
    for k in range(_COMPARED_OBJECTS):
        rng = np.random.default_rng([OBJECTS_VERSION, zlib.crc32(category.encode()), k, 4])
        v = np.concatenate([mesh.vertices for mesh, _ in build_parts(category, rng)[0]])
        extent.append(np.ptp(v, axis=0))
    height, length = _aspect_ratios(np.array(extent))
    at = (0.2, 0.5, 0.8)
    return np.quantile(height, at), np.quantile(length, at)
