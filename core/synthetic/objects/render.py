"""Pictures of one object from all around, on a plain background."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from ...errors import InputError
from ...geometry.cameras import Cameras, intrinsics, look_at
from ..materials.materials import RGB, neutral, soft
from ..render.solid import Solid
from ..rooms.render import PixelRays
from .build import ProceduralObject
from .light import Lit, light_object

VIEWS = 36
"""Pictures per object, as CLIP-GS has them."""
FIELD_OF_VIEW = math.radians(40)
LOWEST, HIGHEST = math.radians(-25), math.radians(65)
"""Elevations between which cameras are spread."""

_SUBPIXELS = ((0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875))
"""Where else in a pixel is sampled, when its surroundings are not of one colour."""
_CONTRAST = 0.04


def object_cameras(
    obj: Solid,
    views: int = VIEWS,
    width: int = 112,
    height: int = 112,
    rng: Generator | None = None,
) -> Cameras:
    """`cameras_around` an object that all of it fits into."""
    return cameras_around(obj.bounds.mean(0), obj.radius, views, width, height, rng)


def cameras_around(
    middle: NDArray,
    radius: float,
    views: int = VIEWS,
    width: int = 112,
    height: int = 112,
    rng: Generator | None = None,
) -> Cameras:
    """Cameras on a sphere around a ball that all of it fits into, evenly spread (a Fibonacci lattice).

    Args:
        middle: [3] of the ball.
        rng: draws directions, distances (up to 25 % farther) and aims (a little beside the middle) instead.

    Raises:
        InputError: fewer than one view.
    """
    if views < 1:
        raise InputError("views", "1 or more", f"{views}")
    low, high = math.sin(LOWEST), math.sin(HIGHEST)
    farther, beside = np.ones(views), np.zeros((views, 3))
    if rng is None:
        k = np.arange(views)
        sine = low + (high - low) * (k + 0.5) / views
        turn = np.pi / 2 + k * np.pi * (3 - math.sqrt(5))
    else:
        sine, turn = rng.uniform(low, high, views), rng.uniform(0, 2 * np.pi, views)
        farther = rng.uniform(0.95, 1.25, views)
        beside = rng.uniform(-0.08, 0.08, (views, 3)) * (farther[:, None] - 0.9)
    return _around(middle, radius, turn, np.arcsin(sine), farther, beside, width, height)


def front(obj: Solid, size: int = 112) -> Cameras:
    """One camera of ``size`` × ``size`` pixels that sees an object from its front, its side and above."""
    one = np.ones(1)
    angles = math.radians(58) * one, math.radians(22) * one
    return _around(obj.bounds.mean(0), obj.radius, *angles, one, np.zeros((1, 3)), size, size)


def _around(
    middle: NDArray,
    radius: float,
    turn: NDArray,
    elevation: NDArray,
    farther: NDArray,
    beside: NDArray,
    width: int,
    height: int,
) -> Cameras:
    """Cameras at those angles [V]; distances [V] are in what the object fits into, aims [V, 3] in radii off its
    middle."""
    K = intrinsics(2 * math.atan(math.tan(FIELD_OF_VIEW / 2) * width / min(width, height)), width, height)
    distance = 1.02 * radius / math.sin(FIELD_OF_VIEW / 2)
    level = np.cos(elevation)
    away = np.stack([level * np.cos(turn), level * np.sin(turn), np.sin(elevation)], 1)
    targets = middle.astype(np.float64) + beside * radius
    eyes = targets + distance * farther[:, None] * away
    viewmats = [look_at(torch.from_numpy(e), torch.from_numpy(t)) for e, t in zip(eyes, targets, strict=True)]
    return Cameras(torch.stack(viewmats).float(), K[None].repeat(len(viewmats), 1, 1), width, height)


def render_object(
    obj: ProceduralObject | Lit,
    views: int | Cameras = VIEWS,
    width: int = 112,
    height: int = 112,
    backgrounds: Sequence[RGB] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pictures of an object.

    Args:
        obj: the object; a procedural one is lit with the light of its seed unless its light was worked out before.
        views: how many of `object_cameras`, or cameras (whose size then counts).
        backgrounds: one sRGB colour in [0, 1] per view; by default one colour drawn from the seed.

    Returns:
        color [V, H, W, 3] uint8 sRGB over the background, alpha [V, H, W] float32 share of the pixel covered.

    Raises:
        InputError: impossible views, or as many backgrounds as there are no views.
    """
    lit = light_object(obj) if isinstance(obj, ProceduralObject) else obj
    cameras = object_cameras(lit.obj, views, width, height) if isinstance(views, int) else views
    if backgrounds is None:
        rng = lit.obj.rng(2)
        backgrounds = [(soft if rng.uniform() < 0.5 else neutral)(rng)] * len(cameras)
    if len(backgrounds) != len(cameras):
        raise InputError("backgrounds", f"a colour for each of {len(cameras)} views", f"{len(backgrounds)}")
    color = np.empty((len(cameras), cameras.height, cameras.width, 3), np.uint8)
    alpha = np.empty((len(cameras), cameras.height, cameras.width), np.float32)
    for i, background in enumerate(backgrounds):
        color[i], alpha[i] = _view(lit, cameras, i, background)
    return color, alpha


def _view(lit: Lit, cameras: Cameras, index: int, background: RGB) -> tuple[NDArray, NDArray]:
    """Colour [H, W, 3] uint8 and coverage [H, W] of one view; rays only where the object's bounds are."""
    h, w = cameras.height, cameras.width
    rays = PixelRays(cameras, index)
    y0, y1, x0, x1 = _window(lit, cameras, index)
    color = np.empty((h, w, 3), np.float32)
    color[:] = background
    alpha = np.zeros((h, w), np.float32)
    if y0 < y1 and x0 < x1:
        pixels = (np.arange(y0, y1)[:, None] * w + np.arange(x0, x1)).ravel()
        shown, covered = _trace(lit, rays, pixels, 0.5, 0.5, background)
        edges = np.flatnonzero(_busy(shown.reshape(y1 - y0, x1 - x0, 3), covered.reshape(y1 - y0, x1 - x0)))
        for x, y in _SUBPIXELS:
            c, a = _trace(lit, rays, pixels[edges], x, y, background)
            shown[edges] += c
            covered[edges] += a
        shown[edges] /= 1 + len(_SUBPIXELS)
        covered[edges] /= 1 + len(_SUBPIXELS)
        color.reshape(-1, 3)[pixels] = shown
        alpha.reshape(-1)[pixels] = covered
    return np.rint(color * 255).astype(np.uint8), alpha


def _window(lit: Lit, cameras: Cameras, index: int) -> tuple[int, int, int, int]:
    """Rows y0 to y1 and columns x0 to x1 outside which the object is not seen."""
    m, k = cameras.viewmats[index].numpy(), cameras.Ks[index].numpy()
    p = lit.obj.vertices @ m[:3, :3].T + m[:3, 3]
    if p[:, 2].min() <= 1e-6:  # the camera is among the surfaces
        return 0, cameras.height, 0, cameras.width
    uv = p[:, :2] / p[:, 2:] * [k[0, 0], k[1, 1]] + [k[0, 2], k[1, 2]]
    x0, y0 = np.floor(uv.min(0) - 0.5).astype(int).tolist()
    x1, y1 = np.ceil(uv.max(0) + 0.5).astype(int).tolist()
    return max(y0, 0), min(y1, cameras.height), max(x0, 0), min(x1, cameras.width)


def _trace(
    lit: Lit, rays: PixelRays, pixels: NDArray, x: float, y: float, background: RGB
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    hits = lit.obj.tracer.hits(*rays.through(x, y, pixels))
    met = hits.face >= 0
    color = lit.shade(hits)
    color[~met] = background
    return color, met.astype(np.float32)


def _busy(color: NDArray[np.float32], covered: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[H, W] pixels that differ from a neighbour, or lie on the outline."""
    out = np.zeros(covered.shape, bool)
    values = np.concatenate([color, covered[..., None]], -1)
    down = np.abs(values[1:] - values[:-1]).max(-1) > _CONTRAST
    right = np.abs(values[:, 1:] - values[:, :-1]).max(-1) > _CONTRAST
    out[1:] |= down
    out[:-1] |= down
    out[:, 1:] |= right
    out[:, :-1] |= right
    return out
