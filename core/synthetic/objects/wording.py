"""What can truly be said of one object, in the words of `rooms.captions`."""

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
from .categories.furniture import OWN_NAMES
from .light import encoded_array
from .render import object_cameras
from .surface import colors_at

NAMED = 0.2
"""Share of what is seen above which a colour or a material is named."""
_PATTERNS = (T.STRIPES, T.CHECKS, T.TILES, T.RUG, T.SPINE)
"""Textures in which each colour shows for itself."""
_PICTURES = (T.PAINTING, T.OUTDOORS, T.SCREEN)
"""Textures whose colours are those of what they show."""
_COMPARED = 32
"""Objects of a category that another one is compared with."""


def describe(obj: ProceduralObject) -> Description:
    """Names, and the colours, materials and proportions that can be seen.

    Colours and materials are those of the surfaces in pictures from eight sides. Sizes compare proportions with those
    of the category, because a picture of one object does not show metres: "tall" is tall for its width.
    """
    hits = _seen(obj)
    rgb = colors_at(obj, hits)
    material = obj.material[hits.face]
    colors: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for m in np.unique(material).tolist():
        of = material == m
        share = float(of.mean())
        kind = obj.materials[m].kind
        words.update(dict.fromkeys(material_names(kind), share))
        if kind not in _PICTURES:
            for tone, part in _tones(rgb[of], obj, m):
                colors.update(dict.fromkeys(color_names(tone), share * part))
    extent = obj.bounds[1] - obj.bounds[0]
    return Description(obj.label, obj.names, _most(colors), _most(words), proportions(obj.category, extent))


def captions(obj: ProceduralObject, rng: Generator) -> str:
    """One true thing to say of the object: "tall brown wooden bookshelf", "mug"."""
    return describe(obj).phrase(rng).text


def proportions(category: str, extent: NDArray) -> tuple[str, ...]:
    """ "tall", "low" and "long" where extents [3] (metres, z up) are so among those of the category."""
    height, length = _ratios(np.asarray(extent, float)[None])
    heights, lengths = _usual(category)
    out = []
    if heights[2] > 1.12 * heights[1] and height[0] >= heights[2]:
        out.append("tall")
    if heights[0] < heights[1] / 1.12 and height[0] <= heights[0]:
        out.append("low")
    if lengths[2] > 1.12 * lengths[1] and length[0] >= lengths[2]:
        out.append("long")
    return tuple(out)


def phrases() -> tuple[str, ...]:
    """All names and synonyms, for a text model's vocabulary."""
    return tuple(sorted({*SYNONYMS, *(s for many in SYNONYMS.values() for s in many), *OWN_NAMES}))


def _seen(obj: ProceduralObject) -> Hits:
    """The surface points that eight small pictures show."""
    cameras = object_cameras(obj, 8, 24, 24)
    rays = [PixelRays(cameras, i).through(0.5, 0.5) for i in range(len(cameras))]
    hits = obj.tracer.hits(*(np.concatenate(a) for a in zip(*rays, strict=True)))
    met = hits.face >= 0
    return Hits(*(a[met] for a in hits))


def _tones(rgb: NDArray, obj: ProceduralObject, m: int) -> list[tuple[NDArray, float]]:
    """Colours that a material shows in the points [R, 3], each with its share of them."""
    if obj.materials[m].kind not in _PATTERNS:
        return [(np.median(rgb, axis=0), 1.0)]
    palette = encoded_array(obj.table.color[m])
    nearest = np.argmin(np.linalg.norm(rgb[:, None] - palette, axis=-1), axis=1)
    return [(palette[k], float((nearest == k).mean())) for k in range(3)]


def _most(shares: Counter[str]) -> tuple[str, ...]:
    return tuple(word for word, share in shares.most_common() if share > NAMED)


def _ratios(extent: NDArray) -> tuple[NDArray, NDArray]:
    """Height by width and length by breadth of extents [N, 3]."""
    long, short = extent[:, :2].max(1), extent[:, :2].min(1)
    return extent[:, 2] / np.maximum(long, 1e-6), long / np.maximum(short, 1e-6)


@cache
def _usual(category: str) -> tuple[NDArray, NDArray]:
    """The 0.2, 0.5 and 0.8 quantiles of both ratios in a category."""
    extent = []
    for k in range(_COMPARED):
        rng = np.random.default_rng([OBJECTS_VERSION, zlib.crc32(category.encode()), k, 4])
        v = np.concatenate([mesh.vertices for mesh, _ in build_parts(category, rng)[0]])
        extent.append(np.ptp(v, axis=0))
    height, length = _ratios(np.array(extent))
    at = (0.2, 0.5, 0.8)
    return np.quantile(height, at), np.quantile(length, at)
