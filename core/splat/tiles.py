"""Compositing in tiles of 8×8 pixels, forward and backward: the image half of the CPU splatter.

A tile walks its members front to back (`project.project_and_bin`). The four vectors of a tile hold two pixel rows
each. Alphas of all 64 pixels are computed at once, then only the pixels that a Gaussian really reaches touch the
channels. The backward pass walks back to front. Every (tile, member) pair owns one gradient row, and each Gaussian
later adds its rows in a fixed order: no atomics, and the same bits for any number of threads.

Rules (those of gsplat 1.5): alpha = min(0.999, 2^(L - ...)); alpha < 1/255 is skipped; a pixel stops *before* a
Gaussian that would bring its transmittance to 1e-4 or less; no gradient through an alpha above 0.999.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .project import TILE
from .simd import bits, exp2, insert, load, lowest_bit, muladd, prefetch, select, splat, store, total

PIXELS = TILE * TILE
AHEAD = 8  # members whose data are asked for early: without it most time goes into waiting for memory
RUN, SPREAD = 8, 32  # tiles per parallel task, and how far apart neighbouring tasks lie
VECTORS = PIXELS // 16
ALPHA_MIN = np.float32(1.0 / 255.0)
ALPHA_MAX = np.float32(0.999)
T_STOP = np.float32(1e-4)
# x and y of the sixteen pixels of a tile's first two rows
LANE_XY = np.concatenate([np.tile(np.arange(TILE), 2), np.repeat([0, 1], TILE)]).astype(np.float32)


@njit(cache=True)
def _run_of_tiles(task, tiles):
    """Which tiles a parallel task takes: runs of 8, spread so that equal shares of tasks are equal shares of the
    images however unevenly those are filled."""
    runs = (tiles + RUN - 1) // RUN
    per_lane = (runs + SPREAD - 1) // SPREAD
    run = task % per_lane * SPREAD + task // per_lane
    return min(run * RUN, tiles), min((run + 1) * RUN, tiles)


@njit(cache=True)
def _tasks(tiles):
    runs = (tiles + RUN - 1) // RUN
    return (runs + SPREAD - 1) // SPREAD * SPREAD


@njit(cache=True, error_model="numpy")
def _start_pixels(live, x0, y0, width, height):
    """Transmittance 1 inside the image, -1 (finished) outside."""
    for i in range(PIXELS):
        inside = x0 + i % TILE < width and y0 + i // TILE < height
        live[i] = np.float32(1.0) if inside else np.float32(-1.0)


@njit(cache=True, error_model="numpy")
def _alpha(peak, px, q, r, dy):
    """2^(L - σ·log2 e) of two pixel rows (not yet clamped)."""
    u, v = muladd(q, dy, px), r * dy
    return exp2(peak - muladd(u, u, v * v))


@njit(cache=True, error_model="numpy")
def _blend(raw, t, last, rank):
    """One Gaussian over sixteen pixels: (weight, transmittance, last rank, drawn?).

    A finished pixel has a negative transmittance, so that the state of a tile stays in registers.
    """
    one, cap = splat(1.0), splat(ALPHA_MAX)
    keep = raw >= splat(ALPHA_MIN)
    alpha = select(cap > raw, raw, cap)
    after = t * (one - alpha)
    draw = keep & (after > splat(T_STOP))
    weight = alpha * t
    negative = splat(0.0) - t
    t = select(draw, after, select(keep & (t > negative), negative, t))
    return weight, t, select(draw, rank, last), draw


@njit(cache=True, error_model="numpy")
def _forward_tile(members, records, table, stride, x0, y0, lane_xy, live, last, weight, pixels, acc):
    """Composite one tile. live (in: 1 or, outside, -1; out: ± transmittance), last, weight [64]; pixels [64] int64;
    acc [64 · stride]. Returns how many members were looked at."""
    lane_x, lane_y = load(lane_xy, 0), load(lane_xy, 16)
    zero = splat(0.0)
    for i in range(0, PIXELS * stride, 16):
        store(acc, i, zero)
    t0, t1, t2, t3 = load(live, 0), load(live, 16), load(live, 32), load(live, 48)
    last0 = last1 = last2 = last3 = splat(-1.0)
    k, count = 0, members.shape[0]
    flat = records.reshape(-1)
    while k < count:
        g = members[k]
        ahead = members[min(k + AHEAD, count - 1)]
        prefetch(flat, ahead * 8)
        for c in range(0, stride, 16):
            prefetch(table, ahead * stride + c)
        p, q, r, peak = splat(records[g, 2]), splat(records[g, 3]), splat(records[g, 4]), splat(records[g, 5])
        px = p * (lane_x + splat(x0 + np.float32(0.5) - records[g, 0]))
        dy = lane_y + splat(y0 + np.float32(0.5) - records[g, 1])
        rank = splat(np.float32(k))
        k += 1
        w0, t0, last0, drawn0 = _blend(_alpha(peak, px, q, r, dy), t0, last0, rank)
        w1, t1, last1, drawn1 = _blend(_alpha(peak, px, q, r, dy + splat(2.0)), t1, last1, rank)
        w2, t2, last2, drawn2 = _blend(_alpha(peak, px, q, r, dy + splat(4.0)), t2, last2, rank)
        w3, t3, last3, drawn3 = _blend(_alpha(peak, px, q, r, dy + splat(6.0)), t3, last3, rank)
        drawn = bits(drawn0) | bits(drawn1) << 16 | bits(drawn2) << 32 | bits(drawn3) << 48
        if drawn != 0:
            store(weight, 0, w0)
            store(weight, 16, w1)
            store(weight, 32, w2)
            store(weight, 48, w3)
            row = g * stride
            head = insert(load(table, row), 3, records[g, 6])
            n = 0
            while drawn != 0:
                pixels[n] = lowest_bit(drawn)
                drawn &= drawn - 1
                n += 1
            for j in range(n):
                i = pixels[j]
                w = splat(weight[i])
                at = i * stride
                store(acc, at, muladd(w, head, load(acc, at)))
                for c in range(16, stride, 16):
                    store(acc, at + c, muladd(w, load(table, row + c), load(acc, at + c)))
        if bits(t0 > zero) | bits(t1 > zero) | bits(t2 > zero) | bits(t3 > zero) == 0:
            break
    store(live, 0, t0)
    store(live, 16, t1)
    store(live, 32, t2)
    store(live, 48, t3)
    store(last, 0, last0)
    store(last, 16, last1)
    store(last, 32, last2)
    store(last, 48, last3)
    return k


@njit(parallel=True, nogil=True, cache=True)
def composite_tiles(starts, members, records, table, width, height, color, depth, transmittance, features, last, used):
    """Fill color [C, H, W, 3], depth (Σ w z) [C, H, W], transmittance [C, H, W], features [C, H, W, F], last (rank of
    the last member drawn, -1 none) [C, H, W] int32 and used [C · tiles] (members looked at)."""
    C, n = records.shape[0], records.shape[1]
    stride = table.shape[0] // n
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    tiles = tiles_x * tiles_y
    F = features.shape[3]
    for task in prange(_tasks(C * tiles)):
        first, end = _run_of_tiles(task, C * tiles)
        live, seen, weight = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
        pixels, acc = np.empty(PIXELS, np.int64), np.empty(PIXELS * stride, np.float32)
        lane_xy = LANE_XY.copy()
        for t in range(first, end):
            c = t // tiles
            x0, y0 = t % tiles % tiles_x * TILE, t % tiles // tiles_x * TILE
            _start_pixels(live, x0, y0, width, height)
            used[t] = _forward_tile(
                members[starts[t] : starts[t + 1]], records[c], table, stride, np.float32(x0), np.float32(y0),
                lane_xy, live, seen, weight, pixels, acc,
            )  # fmt: skip
            for i in range(PIXELS):
                x, y = x0 + i % TILE, y0 + i // TILE
                if x < width and y < height:
                    at = i * stride
                    for j in range(3):
                        color[c, y, x, j] = acc[at + j]
                    depth[c, y, x] = acc[at + 3]
                    for j in range(F):
                        features[c, y, x, j] = acc[at + 16 + j]
                    transmittance[c, y, x] = abs(live[i])
                    last[c, y, x] = np.int32(seen[i])


@njit(cache=True, error_model="numpy")
def _pick_tile(members, records, x0, y0, lane_xy, live, best):
    """Rank of the member with the largest weight → best [64] (-1 none)."""
    lane_x, lane_y = load(lane_xy, 0), load(lane_xy, 16)
    none = splat(-1.0)
    for b in range(0, PIXELS, 16):
        t, most, found = load(live, b), splat(0.0), none
        for k in range(members.shape[0]):
            g = members[k]
            p, q, r, peak = splat(records[g, 2]), splat(records[g, 3]), splat(records[g, 4]), splat(records[g, 5])
            px = p * (lane_x + splat(x0 + np.float32(0.5) - records[g, 0]))
            dy = lane_y + splat(y0 + np.float32(0.5) - records[g, 1]) + splat(np.float32(b // 8))
            rank = splat(np.float32(k))
            w, t, _, drawn = _blend(_alpha(peak, px, q, r, dy), t, none, rank)
            better = drawn & (w > most)
            most, found = select(better, w, most), select(better, rank, found)
            if bits(t > splat(0.0)) == 0:
                break
        store(best, b, found)


@njit(parallel=True, nogil=True, cache=True)
def pick_tiles(starts, members, records, width, height, index, depth):
    """Fill index [C, H, W] (Gaussian of the largest weight, -1 none) and its depth [C, H, W]."""
    C = records.shape[0]
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    tiles = tiles_x * tiles_y
    for task in prange(_tasks(C * tiles)):
        first, end = _run_of_tiles(task, C * tiles)
        live, best, lane_xy = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), LANE_XY.copy()
        for t in range(first, end):
            c = t // tiles
            x0, y0 = t % tiles % tiles_x * TILE, t % tiles // tiles_x * TILE
            _start_pixels(live, x0, y0, width, height)
            _pick_tile(
                members[starts[t] : starts[t + 1]], records[c], np.float32(x0), np.float32(y0), lane_xy, live, best
            )
            for i in range(PIXELS):
                x, y = x0 + i % TILE, y0 + i // TILE
                if x < width and y < height:
                    if best[i] < 0:
                        index[c, y, x], depth[c, y, x] = -1, 0.0
                    else:
                        g = members[starts[t] + np.int64(best[i])]
                        index[c, y, x], depth[c, y, x] = g, records[c, g, 6]


@njit(cache=True, error_model="numpy")
def _backward_tile(
    members, used, records, boxes, offsets, table, stride, blocks, tile_x, tile_y, lane_xy, trans, behind, last, grad,
    weight, dots, pixels, rows, first_row, slots,
):  # fmt: skip
    """One tile, back to front. trans [64] holds the final transmittance, behind [64] minus what it is worth to the
    loss; grad [64 · stride] the image gradients. Writes rows first_row .. first_row + used and their slots."""
    x0, y0 = np.float32(tile_x * TILE), np.float32(tile_y * TILE)
    lane_x, lane_y = load(lane_xy, 0), load(lane_xy, 16)
    zero, one = splat(0.0), splat(1.0)
    alpha_min, alpha_max = splat(ALPHA_MIN), splat(ALPHA_MAX)
    flat, flat_boxes = records.reshape(-1), boxes.reshape(-1)
    for k in range(used - 1, -1, -1):
        g = members[k]
        ahead = members[max(k - AHEAD, 0)]
        prefetch(flat, ahead * 8)
        prefetch(flat_boxes, ahead * 4)
        prefetch(offsets, ahead)
        for c in range(0, stride, 16):
            prefetch(table, ahead * stride + c)
        p, q, r = splat(records[g, 2]), splat(records[g, 3]), splat(records[g, 4])
        peak = splat(records[g, 5])
        px = p * (lane_x + splat(x0 + np.float32(0.5) - records[g, 0]))
        dy0 = y0 + np.float32(0.5) - records[g, 1]
        rank = splat(np.float32(k))
        reached = np.int64(0)
        for b in range(VECTORS):
            dy = lane_y + splat(dy0 + np.float32(2 * b))
            u, v = muladd(q, dy, px), r * dy
            alpha = exp2(peak - muladd(u, u, v * v))
            keep = (alpha >= alpha_min) & (load(last, 16 * b) >= rank)
            store(weight, 16 * b, select(keep, alpha, zero))
            reached |= bits(keep) << (16 * b)
        if reached == 0:
            continue
        box = boxes[g]
        slots[offsets[g] + (tile_y - box[2]) * (box[1] - box[0]) + tile_x - box[0]] = first_row + k + 1
        mask = reached
        n = 0
        while mask != 0:
            pixels[n] = lowest_bit(mask)
            mask &= mask - 1
            n += 1
        row = g * stride
        head = insert(load(table, row), 3, records[g, 6])
        for j in range(n):
            at = pixels[j] * stride
            d = head * load(grad, at)
            for c in range(16, blocks, 16):
                d = muladd(load(table, row + c), load(grad, at + c), d)
            dots[pixels[j]] = total(d)
        s0, su, sv, suu, suv, svv = zero, zero, zero, zero, zero, zero
        for b in range(VECTORS):
            i = 16 * b
            if (reached >> i) & 0xFFFF == 0:
                continue
            raw = load(weight, i)
            alpha = select(alpha_max > raw, raw, alpha_max)
            inverse = one / (one - alpha)
            t = load(trans, i) * inverse
            d, back = load(dots, i), load(behind, i)
            w = alpha * t
            # pixels that the Gaussian does not reach have raw = 0: t, back and every sum stay as they are
            v_sigma = select(alpha_max >= raw, raw, zero) * muladd(back, inverse, zero - t * d)
            store(trans, i, t)
            store(behind, i, muladd(w, d, back))
            store(weight, i, w)
            dy = lane_y + splat(dy0 + np.float32(2 * b))
            u, v = muladd(q, dy, px), r * dy
            vu, vv = v_sigma * u, v_sigma * v
            s0, su, sv = s0 + v_sigma, su + vu, sv + vv
            suu, suv, svv = muladd(vu, u, suu), muladd(vu, v, suv), muladd(vv, v, svv)
        at = (first_row + k) * stride
        out = zero
        for j in range(n):
            out = muladd(splat(weight[pixels[j]]), load(grad, pixels[j] * stride), out)
        out = insert(insert(insert(out, 4, total(s0)), 5, total(su)), 6, total(sv))
        out = insert(insert(insert(out, 7, total(suu)), 8, total(suv)), 9, total(svv))
        store(rows, at, out)
        for c in range(16, blocks, 16):
            out = zero
            for j in range(n):
                out = muladd(splat(weight[pixels[j]]), load(grad, pixels[j] * stride + c), out)
            store(rows, at + c, out)


@njit(parallel=True, nogil=True, cache=True)
def composite_backward(
    starts, members, records, boxes, offsets, table, width, height, transmittance, last, used, first_rows,
    v_color, v_depth, v_alpha, v_features, rows, slots,
):  # fmt: skip
    """Fill one gradient row per (tile, member drawn): v_color, v_depth, six geometric sums, v_features; and in slots,
    ordered by camera, Gaussian and tile, the row of each plus one (0: no row).

    v_features may have F = 0 although the table has features: nothing is written for them then.
    """
    C, n = records.shape[0], records.shape[1]
    stride = table.shape[0] // n
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    tiles = tiles_x * tiles_y
    F = v_features.shape[3]
    blocks = 16 + (F + 15) // 16 * 16
    for task in prange(_tasks(C * tiles)):
        first, end = _run_of_tiles(task, C * tiles)
        trans, behind, seen, weight, dots = (
            np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32),
            np.empty(PIXELS, np.float32), np.zeros(PIXELS, np.float32),
        )  # fmt: skip
        pixels, grad = np.empty(PIXELS, np.int64), np.zeros(PIXELS * stride, np.float32)
        lane_xy = LANE_XY.copy()
        for t in range(first, end):
            c = t // tiles
            x0, y0 = t % tiles % tiles_x * TILE, t % tiles // tiles_x * TILE
            for i in range(PIXELS):
                x, y = x0 + i % TILE, y0 + i // TILE
                if x < width and y < height:
                    at = i * stride
                    for j in range(3):
                        grad[at + j] = v_color[c, y, x, j]
                    grad[at + 3] = v_depth[c, y, x]
                    for j in range(F):
                        grad[at + 16 + j] = v_features[c, y, x, j]
                    trans[i] = transmittance[c, y, x]
                    behind[i] = -v_alpha[c, y, x] * trans[i]
                    seen[i] = np.float32(last[c, y, x])
                else:
                    trans[i], behind[i], seen[i] = 1.0, 0.0, -1.0
            _backward_tile(
                members[starts[t] : starts[t + 1]], used[t], records[c], boxes[c], offsets[c], table, stride, blocks,
                t % tiles % tiles_x, t % tiles // tiles_x, lane_xy, trans, behind, seen, grad, weight, dots, pixels,
                rows, first_rows[t], slots[starts[c * tiles] : starts[(c + 1) * tiles]],
            )  # fmt: skip
