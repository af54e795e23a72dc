"""Procedural textures, evaluated at surface points.

A texture is a row of numbers (`Material.row`), and its colour is a function of the texture coordinates alone: the
same point has the same colour from every camera and in the point cloud. Everything is integer-hashed value noise, so
it is the same on every machine.
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


@njit(cache=True)
def _hash(i: int, j: int, k: int, seed: int) -> float:
    """A number in [0, 1) that belongs to the lattice cell (i, j, k)."""
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
    return x - math.floor(x)


@njit(cache=True)
def _ramp(x: float, lo: float, hi: float) -> float:
    """Smooth step from 0 at lo to 1 at hi."""
    t = min(max((x - lo) / (hi - lo), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(cache=True)
def _wood(along: float, b: float, c: float, frequency: float, seed: int) -> float:
    """Position between the light and the dark of the grain, in [0, 1]."""
    bend = _noise(0.9 * along, 3.0 * b, 3.0 * c, seed) + 0.25 * _noise(2.5 * along, 9.0 * b, 9.0 * c, seed + 1)
    ring = 0.5 + 0.5 * math.sin(2 * math.pi * (frequency * (b + 0.6 * c) + 1.6 * bend))
    streak = _noise(2.0 * along, 90.0 * b, 90.0 * c, seed + 3)
    board = _noise(0.4 * along, 6.0 * b, 6.0 * c, seed + 5)
    return 0.22 * ring * ring + 0.44 * streak + 0.34 * board


@njit(cache=True)
def _painting(u: float, v: float, style: float, seed: int) -> tuple[float, float, float]:
    """Weights of the three colours of a picture; u, v in [0, 1]."""
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
    if side == 0:
        u, v = y, z
    elif side == 1:
        u, v = x, z
    else:
        u, v = x, y
    w0, w1, w2 = 1.0, 0.0, 0.0  # weights of the three colours
    gain = 1.0
    if kind == PLAIN:
        gain = 1 + p[0] * (_fractal(p[1] * x, p[1] * y, p[1] * z, seed) - 0.5)
    elif kind == WOOD:
        if axis == 0:
            w1 = _wood(x, y, z, p[0], seed)
        elif axis == 1:
            w1 = _wood(y, x, z, p[0], seed)
        else:
            w1 = _wood(z, x, y, p[0], seed)
        w0 = 1 - w1
    elif kind == STRIPES:
        t = _fract((u if axis == 0 else v) / p[0])
        if t < p[1]:
            w0, w1 = 0.0, 1.0
        elif abs(t - 0.5 * (1 + p[1])) < p[2]:
            w0, w2 = 0.0, 1.0
        gain = 0.94 + 0.12 * _noise(140 * x, 140 * y, 140 * z, seed)
    elif kind == CHECKS:
        a = 1.0 if _fract(u / p[0]) < p[1] else 0.0
        b = 1.0 if _fract(v / p[0]) < p[1] else 0.0
        thin = 1.0 if abs(_fract(u / p[0]) - 0.78) < 0.04 or abs(_fract(v / p[0]) - 0.78) < 0.04 else 0.0
        w1 = 0.5 * (a + b) * (1 - 0.5 * thin)
        w2 = 0.5 * thin
        w0 = 1 - w1 - w2
        gain = 0.94 + 0.12 * _noise(140 * x, 140 * y, 140 * z, seed)
    elif kind == TILES:
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
        w0, w1, w2 = w0 * (1 - grout), grout, w2 * (1 - grout)
        gain = 0.96 + 0.08 * _noise(9 * x, 9 * y, 9 * z, seed)
    elif kind == PLANKS:
        along, across = (u, v) if axis == 0 else (v, u)
        row = math.floor(across / p[0])
        shifted = along / p[1] + _hash(int(row), 5, 5, seed)
        plank = math.floor(shifted)
        tone = _hash(int(row), int(plank), 9, seed)
        w1 = 0.45 * _wood(along, across + 3.7 * tone, 0.0, p[2], seed) + 0.55 * tone
        w0 = 1 - w1
        gap = min(
            min(_fract(across / p[0]), 1 - _fract(across / p[0])) * p[0],
            min(_fract(shifted), 1 - _fract(shifted)) * p[1],
        )
        gain = 0.55 + 0.45 * _ramp(gap, 0.0005, 0.003)
    elif kind == SPECKLE:
        grain = _noise(p[0] * x, p[0] * y, p[0] * z, seed)
        w1 = _ramp(grain, 0.60, 0.68)
        w2 = _ramp(0.40 - grain, 0.0, 0.08)
        w0 = 1 - w1 - w2
        gain = 0.95 + 0.1 * _noise(3 * x, 3 * y, 3 * z, seed + 2)
    elif kind == MARBLE:
        q = p[0]
        warp = _fractal(q * x, q * y, q * z, seed)
        vein = abs(math.sin(math.pi * (1.3 * q * (x + y + 0.7 * z) + 3.0 * warp)))
        fade = _ramp(_noise(1.7 * q * x, 1.7 * q * y, 1.7 * q * z, seed + 7), 0.3, 0.8)
        w1 = 0.75 * fade * (1 - _ramp(vein, 0.0, 0.16))
        w2 = 0.3 * _noise(2 * q * x, 2 * q * y, 2 * q * z, seed + 4)
        w0 = 1 - w1 - w2 * (1 - w1)
        w2 = w2 * (1 - w1)
    elif kind == WALLPAPER:
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
        w0 = 1 - w1
        gain = 0.98 + 0.04 * _noise(40 * x, 40 * y, 40 * z, seed)
    elif kind == FABRIC:
        w1 = p[0] * _noise(110 * x, 110 * y, 110 * z, seed) + p[1] * _fractal(6 * x, 6 * y, 6 * z, seed + 1)
        w0 = 1 - w1
    elif kind == PAINTING:
        uu, vv = (x / p[1]) + 0.5, z / p[2]
        border = min(min(uu, 1 - uu) * p[1], min(vv, 1 - vv) * p[2])
        if border < p[3]:  # passe-partout
            return 0.8, 0.79, 0.76
        w0, w1, w2 = _painting(uu, vv, p[0], seed)
        gain = 0.9 + 0.2 * _noise(60 * x, 60 * y, 60 * z, seed)
    elif kind == OUTDOORS:
        v = (z - p[0]) / p[1]
        tree = 0.28 + 0.4 * (_fractal(2.6 * x + 1.7 * y, 0.0, 0.3, seed) - 0.4) * p[2]
        leaf = _fractal(16 * (x + y), 0.0, 16 * z, seed + 5)
        if v < tree + 0.12 * (leaf - 0.5):
            w0, w2 = 0.0, 1.0
            gain = 0.55 + 0.9 * leaf
        else:
            w0 = _ramp(v, 0.2, 1.1)
            w1 = 1 - w0
    elif kind == SCREEN:
        uu, vv = x / p[1] + 0.5, z / p[2]
        w0 = 1.0
        if p[0] < 1:  # switched off: a faint gleam
            gain = 1 + 0.6 * _ramp(uu + vv, 0.9, 1.3) * (1 - _ramp(uu + vv, 1.3, 1.5))
        elif p[0] < 2:  # windows with lines of text
            if 0.06 < uu < 0.62 and 0.15 < vv < 0.9:
                w0, w1 = 0.0, 1.0
                line = math.floor(vv * 22)
                if line % 2 == 0 and uu < 0.1 + 0.48 * _hash(int(line), 1, 1, seed):
                    w1, w2 = 0.0, 1.0
            elif 0.66 < uu < 0.95 and 0.35 < vv < 0.9:
                w0, w1 = 0.5, 0.5
        else:  # a film
            w0, w1, w2 = _painting(min(max(uu, 0.0), 1.0), min(max(vv, 0.0), 1.0), 0.0, seed)
    elif kind == RUG:
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
        gain = 0.85 + 0.3 * _noise(90 * x, 90 * y, 90 * z, seed)
    elif kind == SPINE:
        t = z / p[0]
        if abs(t - 0.8) < 0.05 or abs(t - 0.2) < 0.03:
            w0, w1 = 0.0, 1.0
    r = gain * (w0 * color[0, 0] + w1 * color[1, 0] + w2 * color[2, 0])
    g = gain * (w0 * color[0, 1] + w1 * color[1, 1] + w2 * color[2, 1])
    b = gain * (w0 * color[0, 2] + w1 * color[1, 2] + w2 * color[2, 2])
    return r, g, b
