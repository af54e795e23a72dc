"""Procedural textures, evaluated at surface points.

A texture is a row of the material table, and its colour is a function of the texture coordinates alone: a point has
the same colour from every camera and in the point cloud. Noise is value noise of an integer hash, the same on every
machine.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

(
    PLAIN,
    WOOD,
    STRIPES,
    CHECKS,
    TILES,
    PLANKS,
    SPECKLE,
    MARBLE,
    WALLPAPER,
    FABRIC,
    PAINTING,
    OUTDOORS,
    SCREEN,
    RUG,
    SPINE,
) = range(15)
"""Texture kinds: the values of `Material.kind`."""


@njit(cache=True)
def _hash(i: int, j: int, k: int, seed: int) -> float:
    """Pseudo-random number in [0, 1) of the lattice cell (i, j, k)."""
    h = np.uint32(i) * np.uint32(0x8DA6B343)
    h ^= np.uint32(j) * np.uint32(0xD8163841)
    h ^= np.uint32(k) * np.uint32(0xCB1AB31F)
    h ^= np.uint32(seed) * np.uint32(0x165667B1)
    h = np.uint32(h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    h = np.uint32(h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39)
    h = np.uint32(h ^ (h >> np.uint32(15)))
    return np.float64(h) / 4294967296.0


@njit(cache=True)
def _noise(x: float, y: float, z: float, seed: int) -> float:
    """Value noise in [0, 1], one lattice cell per unit."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    a, b, c = x - i, y - j, z - k
    a, b, c = a * a * (3 - 2 * a), b * b * (3 - 2 * b), c * c * (3 - 2 * c)
    total = 0.0
    for di in range(2):
        wa = a if di else 1 - a
        for dj in range(2):
            wb = b if dj else 1 - b
            for dk in range(2):
                wc = c if dk else 1 - c
                total += wa * wb * wc * _hash(int(i) + di, int(j) + dj, int(k) + dk, seed)
    return total


@njit(cache=True)
def _fractal(x: float, y: float, z: float, seed: int) -> float:
    """Two octaves of noise, in [0, 1]."""
    return 0.67 * _noise(x, y, z, seed) + 0.33 * _noise(2.03 * x, 2.03 * y, 2.03 * z, seed + 1)


@njit(cache=True)
def _fract(x: float) -> float:
    """Fractional part, in [0, 1)."""
    return x - math.floor(x)


@njit(cache=True)
def _ramp(x: float, lo: float, hi: float) -> float:
    """Smooth step from 0 at lo to 1 at hi."""
    t = min(max((x - lo) / (hi - lo), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(cache=True)
def _wood(along: float, b: float, c: float, frequency: float, seed: int) -> float:
    """Darkness of the grain, in [0, 1]."""
    bend = _noise(0.9 * along, 3.0 * b, 3.0 * c, seed) + 0.25 * _noise(2.5 * along, 9.0 * b, 9.0 * c, seed + 1)
    ring = 0.5 + 0.5 * math.sin(2 * math.pi * (frequency * (b + 0.6 * c) + 1.6 * bend))
    streak = _noise(2.0 * along, 90.0 * b, 90.0 * c, seed + 3)
    board = _noise(0.4 * along, 6.0 * b, 6.0 * c, seed + 5)
    return 0.22 * ring * ring + 0.44 * streak + 0.34 * board


@njit(cache=True)
def _painting(u: float, v: float, style: float, seed: int) -> tuple[float, float, float]:
    """Weights of the three colours of a painting at u, v in [0, 1]; ``style`` in [0, 4)."""
    if style < 1:  # hills under a sky
        ridge = 0.55 + 0.22 * (_noise(3 * u, 0.5, 0.5, seed) - 0.5) + 0.08 * math.sin(5 * u + seed)
        near = 0.32 + 0.25 * (_noise(4 * u, 7.5, 0.5, seed) - 0.5)
        if v < near:
            return 0.0, 0.35, 0.65
        if v < ridge:
            return 0.15, 0.85, 0.0
        return 0.5 + 0.5 * v, 0.3 * (1 - v), 0.0
    if style < 2:  # coloured rectangles
        h = _hash(math.floor(3 * u + 0.7 * _hash(math.floor(4 * v), 1, 1, seed)), math.floor(4 * v), 0, seed)
        if min(_fract(4 * v), 1 - _fract(4 * v)) < 0.04:
            return 0.05, 0.05, 0.05
        return (1.0, 0.0, 0.0) if h < 0.45 else ((0.0, 1.0, 0.0) if h < 0.75 else (0.0, 0.0, 1.0))
    if style < 3:  # a disc over a band
        d = math.hypot(u - 0.5, v - 0.6)
        if d < 0.25:
            return 0.0, 1.0, 0.0
        if v < 0.3 + 0.06 * math.sin(7 * u + seed):
            return 0.0, 0.0, 1.0
        return 1.0, 0.0, 0.0
    swirl = _fractal(3 * u + 2 * _noise(2 * u, 2 * v, 1.5, seed), 3 * v, 0.5, seed)  # brush strokes
    a = _ramp(swirl, 0.35, 0.5)
    b = _ramp(swirl, 0.55, 0.65)
    return 1 - a, a * (1 - b), b


Weights = tuple[float, float, float, float]
"""Weights of a material's three colours at one surface point, and a factor on their sum.

The functions below share their arguments: the material's parameters p [6], ``axis`` and ``seed``; texture coordinates
x, y, z in metres; ``side``, the axis that the surface faces most, and u, v, the coordinates along the other two.
"""


@njit(cache=True)
def _plain_weights(p: NDArray, seed: int, x: float, y: float, z: float) -> Weights:
    """One colour. p: amplitude and frequency (1/m) of a variation in brightness."""
    return 1.0, 0.0, 0.0, 1 + p[0] * (_fractal(p[1] * x, p[1] * y, p[1] * z, seed) - 0.5)


@njit(cache=True)
def _wood_weights(p: NDArray, axis: int, seed: int, x: float, y: float, z: float) -> Weights:
    """Wood. p: rings per metre; the grain runs along ``axis``."""
    if axis == 0:
        w1 = _wood(x, y, z, p[0], seed)
    elif axis == 1:
        w1 = _wood(y, x, z, p[0], seed)
    else:
        w1 = _wood(z, x, y, p[0], seed)
    return 1 - w1, w1, 0.0, 1.0


@njit(cache=True)
def _weave(seed: int, x: float, y: float, z: float) -> float:
    """Fine brightness pattern of woven cloth."""
    return 0.94 + 0.12 * _noise(140 * x, 140 * y, 140 * z, seed)


@njit(cache=True)
def _stripes_weights(p: NDArray, axis: int, seed: int, x: float, y: float, z: float, u: float, v: float) -> Weights:
    """Stripes. p: period (m), share of the second colour, half width of a third stripe (share of the period)."""
    w0, w1, w2 = 1.0, 0.0, 0.0
    t = _fract((u if axis == 0 else v) / p[0])
    if t < p[1]:
        w0, w1 = 0.0, 1.0
    elif abs(t - 0.5 * (1 + p[1])) < p[2]:
        w0, w2 = 0.0, 1.0
    return w0, w1, w2, _weave(seed, x, y, z)


@njit(cache=True)
def _checks_weights(p: NDArray, seed: int, x: float, y: float, z: float, u: float, v: float) -> Weights:
    """Checks. p: period (m), share of a stripe."""
    a = 1.0 if _fract(u / p[0]) < p[1] else 0.0
    b = 1.0 if _fract(v / p[0]) < p[1] else 0.0
    thin = 1.0 if abs(_fract(u / p[0]) - 0.78) < 0.04 or abs(_fract(v / p[0]) - 0.78) < 0.04 else 0.0
    w1 = 0.5 * (a + b) * (1 - 0.5 * thin)
    w2 = 0.5 * thin
    return 1 - w1 - w2, w1, w2, _weave(seed, x, y, z)


@njit(cache=True)
def _tiles_weights(p: NDArray, seed: int, side: int, x: float, y: float, z: float, u: float, v: float) -> Weights:
    """Tiles. p: width and height (m), shift of every second row (share of a width), width of the joints (m), variation
    between tiles (negative: chequered)."""
    row = math.floor(v / p[1])
    uu = u / p[0] + p[2] * (row % 2)
    i = math.floor(uu)
    edge_u = min(_fract(uu), 1 - _fract(uu)) * p[0]
    edge_v = min(_fract(v / p[1]), 1 - _fract(v / p[1])) * p[1]
    if p[4] < 0:  # chequered
        w2 = float((int(i) + int(row)) % 2)
    else:
        w2 = p[4] * _hash(int(i), int(row), side, seed)
    w0 = 1 - w2
    grout = 1 - _ramp(min(edge_u, edge_v), 0.5 * p[3], 0.5 * p[3] + 0.002)
    return w0 * (1 - grout), grout, w2 * (1 - grout), 0.96 + 0.08 * _noise(9 * x, 9 * y, 9 * z, seed)


@njit(cache=True)
def _planks_weights(p: NDArray, axis: int, seed: int, u: float, v: float) -> Weights:
    """Planks. p: width and length of a plank (m), rings per metre; planks lie along u for axis 0, else along v."""
    along, across = (u, v) if axis == 0 else (v, u)
    row = math.floor(across / p[0])
    shifted = along / p[1] + _hash(int(row), 5, 5, seed)
    plank = math.floor(shifted)
    tone = _hash(int(row), int(plank), 9, seed)
    w1 = 0.45 * _wood(along, across + 3.7 * tone, 0.0, p[2], seed) + 0.55 * tone
    gap = min(
        min(_fract(across / p[0]), 1 - _fract(across / p[0])) * p[0],
        min(_fract(shifted), 1 - _fract(shifted)) * p[1],
    )
    return 1 - w1, w1, 0.0, 0.55 + 0.45 * _ramp(gap, 0.0005, 0.003)


@njit(cache=True)
def _speckle_weights(p: NDArray, seed: int, x: float, y: float, z: float) -> Weights:
    """Speckles of two colours. p: grains per metre."""
    grain = _noise(p[0] * x, p[0] * y, p[0] * z, seed)
    w1 = _ramp(grain, 0.60, 0.68)
    w2 = _ramp(0.40 - grain, 0.0, 0.08)
    return 1 - w1 - w2, w1, w2, 0.95 + 0.1 * _noise(3 * x, 3 * y, 3 * z, seed + 2)


@njit(cache=True)
def _marble_weights(p: NDArray, seed: int, x: float, y: float, z: float) -> Weights:
    """Marble. p: frequency of the veins (1/m)."""
    q = p[0]
    warp = _fractal(q * x, q * y, q * z, seed)
    vein = abs(math.sin(math.pi * (1.3 * q * (x + y + 0.7 * z) + 3.0 * warp)))
    fade = _ramp(_noise(1.7 * q * x, 1.7 * q * y, 1.7 * q * z, seed + 7), 0.3, 0.8)
    w1 = 0.75 * fade * (1 - _ramp(vein, 0.0, 0.16))
    w2 = 0.3 * _noise(2 * q * x, 2 * q * y, 2 * q * z, seed + 4)
    return 1 - w1 - w2 * (1 - w1), w1, w2 * (1 - w1), 1.0


@njit(cache=True)
def _wallpaper_weights(p: NDArray, seed: int, x: float, y: float, z: float, u: float, v: float) -> Weights:
    """Wallpaper. p: period (m), pattern (0 stripes, 1 lozenges, 2 dots, 3 leaves)."""
    a, b = _fract(u / p[0]) - 0.5, _fract(v / p[0]) - 0.5
    if p[1] < 1:  # broad stripes
        w1 = 1.0 if a < 0 else 0.0
    elif p[1] < 2:  # lozenges
        w1 = 1.0 if abs(abs(a) + abs(b) - 0.5) < 0.06 else 0.0
    elif p[1] < 3:  # dots, every second row shifted
        aa = _fract(u / p[0] + 0.5 * (math.floor(v / p[0]) % 2)) - 0.5
        w1 = 1.0 if aa * aa + b * b < 0.05 else 0.0
    else:  # leaves
        s = math.sin(2 * math.pi * u / p[0] + 1.2 * math.sin(2 * math.pi * v / p[0]))
        w1 = _ramp(s * math.cos(math.pi * v / p[0]), 0.35, 0.5)
    return 1 - w1, w1, 0.0, 0.98 + 0.04 * _noise(40 * x, 40 * y, 40 * z, seed)


@njit(cache=True)
def _fabric_weights(p: NDArray, seed: int, x: float, y: float, z: float) -> Weights:
    """Plain cloth. p: strength of the weave, strength of the folds' shading."""
    w1 = p[0] * _noise(110 * x, 110 * y, 110 * z, seed) + p[1] * _fractal(6 * x, 6 * y, 6 * z, seed + 1)
    return 1 - w1, w1, 0.0, 1.0


@njit(cache=True)
def _painting_uv(p: NDArray, x: float, z: float) -> tuple[float, float, bool]:
    """Position on the picture in [0, 1]², and whether it lies on the mount. p: style, width and height of the picture
    and width of the mount (m); x is centred on the picture, z = 0 is its lower edge."""
    u, v = (x / p[1]) + 0.5, z / p[2]
    border = min(min(u, 1 - u) * p[1], min(v, 1 - v) * p[2])
    return u, v, border < p[3]


@njit(cache=True)
def _outdoors_weights(p: NDArray, seed: int, x: float, y: float, z: float) -> Weights:
    """Trees under a sky. p: height of the pane's lower edge and its height (m), height of the trees (factor)."""
    w0, w1, w2, gain = 1.0, 0.0, 0.0, 1.0
    v = (z - p[0]) / p[1]
    tree = 0.28 + 0.4 * (_fractal(2.6 * x + 1.7 * y, 0.0, 0.3, seed) - 0.4) * p[2]
    leaf = _fractal(16 * (x + y), 0.0, 16 * z, seed + 5)
    if v < tree + 0.12 * (leaf - 0.5):
        w0, w2 = 0.0, 1.0
        gain = 0.55 + 0.9 * leaf
    else:
        w0 = _ramp(v, 0.2, 1.1)
        w1 = 1 - w0
    return w0, w1, w2, gain


@njit(cache=True)
def _screen_weights(p: NDArray, seed: int, x: float, z: float) -> Weights:
    """A screen. p: content (0 off, 1 desktop, 2 film), width and height (m); x is centred, z = 0 is the lower edge."""
    u, v = x / p[1] + 0.5, z / p[2]
    w0, w1, w2, gain = 1.0, 0.0, 0.0, 1.0
    if p[0] < 1:  # switched off: a faint reflection
        gain = 1 + 0.6 * _ramp(u + v, 0.9, 1.3) * (1 - _ramp(u + v, 1.3, 1.5))
    elif p[0] < 2:  # windows with lines of text
        if 0.06 < u < 0.62 and 0.15 < v < 0.9:
            w0, w1 = 0.0, 1.0
            line = math.floor(v * 22)
            if line % 2 == 0 and u < 0.1 + 0.48 * _hash(int(line), 1, 1, seed):
                w1, w2 = 0.0, 1.0
        elif 0.66 < u < 0.95 and 0.35 < v < 0.9:
            w0, w1 = 0.5, 0.5
    else:  # a film
        w0, w1, w2 = _painting(min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0), 0.0, seed)
    return w0, w1, w2, gain


@njit(cache=True)
def _rug_weights(p: NDArray, seed: int, x: float, y: float, z: float) -> Weights:
    """A rug centred at x = y = 0. p: half width and depth (m), pattern (0 plain border, 1 medallion, 2 lozenges)."""
    w0, w1, w2 = 1.0, 0.0, 0.0
    du, dv = p[0] - abs(x), p[1] - abs(y)
    d = min(du, dv)
    if d < 0.05:
        w0, w1 = 0.0, 1.0
    elif d < 0.18:
        if _fract((x + y) / 0.12) < 0.5 or p[2] < 1:
            w0, w2 = 0.0, 1.0
    elif d < 0.22:
        w0, w1 = 0.0, 1.0
    elif p[2] >= 2:
        s = abs(_fract(x / 0.3) - 0.5) + abs(_fract(y / 0.3) - 0.5)
        if abs(s - 0.35) < 0.07:
            w0, w2 = 0.0, 1.0
    elif p[2] >= 1 and (x / p[0]) ** 2 + (y / p[1]) ** 2 < 0.2:
        w0, w1 = 0.0, 1.0
    return w0, w1, w2, 0.85 + 0.3 * _noise(90 * x, 90 * y, 90 * z, seed)


@njit(cache=True)
def _spine_weights(p: NDArray, z: float) -> Weights:
    """Two bands across the spine of a book. p: height of the book (m)."""
    t = z / p[0]
    if abs(t - 0.8) < 0.05 or abs(t - 0.2) < 0.03:
        return 0.0, 1.0, 0.0, 1.0
    return 1.0, 0.0, 0.0, 1.0


@njit(cache=True)
def _weights(kind: int, axis: int, seed: int, p: NDArray, side: int, x: float, y: float, z: float) -> Weights:
    """Weights of the three colours and the factor of any texture except `PAINTING`."""
    if side == 0:
        u, v = y, z
    elif side == 1:
        u, v = x, z
    else:
        u, v = x, y
    if kind == PLAIN:
        return _plain_weights(p, seed, x, y, z)
    if kind == WOOD:
        return _wood_weights(p, axis, seed, x, y, z)
    if kind == STRIPES:
        return _stripes_weights(p, axis, seed, x, y, z, u, v)
    if kind == CHECKS:
        return _checks_weights(p, seed, x, y, z, u, v)
    if kind == TILES:
        return _tiles_weights(p, seed, side, x, y, z, u, v)
    if kind == PLANKS:
        return _planks_weights(p, axis, seed, u, v)
    if kind == SPECKLE:
        return _speckle_weights(p, seed, x, y, z)
    if kind == MARBLE:
        return _marble_weights(p, seed, x, y, z)
    if kind == WALLPAPER:
        return _wallpaper_weights(p, seed, x, y, z, u, v)
    if kind == FABRIC:
        return _fabric_weights(p, seed, x, y, z)
    if kind == OUTDOORS:
        return _outdoors_weights(p, seed, x, y, z)
    if kind == SCREEN:
        return _screen_weights(p, seed, x, z)
    if kind == RUG:
        return _rug_weights(p, seed, x, y, z)
    if kind == SPINE:
        return _spine_weights(p, z)
    return 1.0, 0.0, 0.0, 1.0


@njit(cache=True)
def albedo(
    kind: int, axis: int, seed: int, color: NDArray, p: NDArray, side: int, x: float, y: float, z: float
) -> tuple[float, float, float]:
    """Linear RGB of one surface point.

    Args:
        kind, axis, seed, color [3, 3], p [6]: a material's row.
        side: the texture axis (0, 1, 2) that the surface faces most.
        x, y, z: texture coordinates, metres.
    """
    if kind == PAINTING:
        u, v, on_mount = _painting_uv(p, x, z)
        if on_mount:
            return 0.8, 0.79, 0.76
        w0, w1, w2 = _painting(u, v, p[0], seed)
        gain = 0.9 + 0.2 * _noise(60 * x, 60 * y, 60 * z, seed)
    else:
        w0, w1, w2, gain = _weights(kind, axis, seed, p, side, x, y, z)
    r = gain * (w0 * color[0, 0] + w1 * color[1, 0] + w2 * color[2, 0])
    g = gain * (w0 * color[0, 1] + w1 * color[1, 1] + w2 * color[2, 1])
    b = gain * (w0 * color[0, 2] + w1 * color[1, 2] + w2 * color[2, 2])
    return r, g, b
