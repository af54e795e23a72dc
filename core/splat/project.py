"""From Gaussians to screen-space records in depth-sorted tile lists, and back: the geometric half of the CPU splatter.

One **record** of 8 float32 describes a Gaussian in one camera::

    0, 1  u, v    centre in pixels
    2-4   p, q, r Cholesky factor of the inverse 2D covariance, scaled so that with d = pixel - centre
                  σ · log2(e) = (p dx + q dy)² + (r dy)²
    5     L       log2(opacity), so that alpha = 2^(L - (p dx + q dy)² - (r dy)²)
    6     z       camera depth, metres
    7     unused

The factor is computed from cross products (det(A Aᵀ + εI) = |a₁ × a₂|² + ε(|a₁|² + |a₂|²) + ε²), so nothing cancels and
σ can never be negative, needles included. Scalars are float64 here: projection is a small share of the time and this
keeps float32 rounding out of everything but the images.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .simd import prefetch

TILE = 8
RECORD = 8
BLOCK = 256  # Gaussians per parallel task
LN2 = math.log(2.0)
INV_2LN2 = 0.5 / LN2
ALPHA_MIN = 1.0 / 255.0


@njit(cache=True, error_model="numpy")
def axes(quats, scales, g, m):
    """m [3, 3] = R(quats[g]) · diag(scales[g]) (float64), R from the normalised quaternion."""
    w, x, y, z = float(quats[g, 0]), float(quats[g, 1]), float(quats[g, 2]), float(quats[g, 3])
    n = 1.0 / max(math.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    w, x, y, z = w * n, x * n, y * n, z * n
    sx, sy, sz = float(scales[g, 0]), float(scales[g, 1]), float(scales[g, 2])
    m[0, 0] = (1.0 - 2.0 * (y * y + z * z)) * sx
    m[0, 1] = 2.0 * (x * y - w * z) * sy
    m[0, 2] = 2.0 * (x * z + w * y) * sz
    m[1, 0] = 2.0 * (x * y + w * z) * sx
    m[1, 1] = (1.0 - 2.0 * (x * x + z * z)) * sy
    m[1, 2] = 2.0 * (y * z - w * x) * sz
    m[2, 0] = 2.0 * (x * z - w * y) * sx
    m[2, 1] = 2.0 * (y * z + w * x) * sy
    m[2, 2] = (1.0 - 2.0 * (x * x + y * y)) * sz


@njit(cache=True, error_model="numpy")
def _camera_point(view, means, g):
    """World mean → camera coordinates (x, y, z)."""
    mx, my, mz = float(means[g, 0]), float(means[g, 1]), float(means[g, 2])
    return (
        view[0, 0] * mx + view[0, 1] * my + view[0, 2] * mz + view[0, 3],
        view[1, 0] * mx + view[1, 1] * my + view[1, 2] * mz + view[1, 3],
        view[2, 0] * mx + view[2, 1] * my + view[2, 2] * mz + view[2, 3],
    )


@njit(cache=True, error_model="numpy")
def _clamps(K, width, height):
    """Range of x/z and y/z inside which the EWA Jacobian follows the mean: the image plus 15 % of its size per side."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    mx, my = 0.15 * width / fx, 0.15 * height / fy
    return -cx / fx - mx, (width - cx) / fx + mx, -cy / fy - my, (height - cy) / fy + my


@njit(cache=True, error_model="numpy")
def _screen_axes(view, K, m, x, y, z, lims, a):
    """a [2, 3] = J · W · m, so that the 2D covariance is a aᵀ + eps2d·I."""
    j00, j11 = K[0, 0] / z, K[1, 1] / z
    j02 = -j00 * min(max(x / z, lims[0]), lims[1])
    j12 = -j11 * min(max(y / z, lims[2]), lims[3])
    for k in range(3):
        c0 = view[0, 0] * m[0, k] + view[0, 1] * m[1, k] + view[0, 2] * m[2, k]
        c1 = view[1, 0] * m[0, k] + view[1, 1] * m[1, k] + view[1, 2] * m[2, k]
        c2 = view[2, 0] * m[0, k] + view[2, 1] * m[1, k] + view[2, 2] * m[2, k]
        a[0, k] = j00 * c0 + j02 * c2
        a[1, k] = j11 * c1 + j12 * c2


@njit(cache=True, error_model="numpy")
def _covariance(a, eps2d):
    """(Σxx, Σxy, Σyy, det Σ) of Σ = a aᵀ + eps2d·I."""
    nx = a[0, 0] * a[0, 0] + a[0, 1] * a[0, 1] + a[0, 2] * a[0, 2]
    ny = a[1, 0] * a[1, 0] + a[1, 1] * a[1, 1] + a[1, 2] * a[1, 2]
    xy = a[0, 0] * a[1, 0] + a[0, 1] * a[1, 1] + a[0, 2] * a[1, 2]
    k0 = a[0, 1] * a[1, 2] - a[0, 2] * a[1, 1]
    k1 = a[0, 2] * a[1, 0] - a[0, 0] * a[1, 2]
    k2 = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    det = k0 * k0 + k1 * k1 + k2 * k2 + eps2d * (nx + ny) + eps2d * eps2d
    return nx + eps2d, xy, ny + eps2d, det


@njit(cache=True, error_model="numpy")
def _project_block(
    first, means, quats, scales, opacities, colors, features, views, Ks, width, height, near, far, eps2d,
    table, records, boxes,
):  # fmt: skip
    n, F = means.shape[0], features.shape[1]
    stride = table.shape[0] // n
    m, a = np.empty((3, 3)), np.empty((2, 3))
    for g in range(first, min(n, first + BLOCK)):
        row = g * stride
        # 0 · x is 0 for finite x and NaN otherwise: one test for all that a Gaussian carries.
        bad = np.float32(0.0) * (opacities[g] + colors[g, 0] + colors[g, 1] + colors[g, 2])
        for i in range(3):
            bad += np.float32(0.0) * means[g, i] + np.float32(0.0) * scales[g, i] + np.float32(0.0) * quats[g, i]
            table[row + i] = colors[g, i]
        bad += np.float32(0.0) * quats[g, 3]
        for i in range(3, 16):
            table[row + i] = 0.0
        for i in range(F):
            bad += np.float32(0.0) * features[g, i]
            table[row + 16 + i] = features[g, i]
        for i in range(row + 16 + F, row + stride):
            table[i] = 0.0
        opacity = float(opacities[g])
        if bad != 0.0 or not opacity >= ALPHA_MIN:
            for c in range(views.shape[0]):
                boxes[c, g, 1] = 0
                boxes[c, g, 3] = 0
                boxes[c, g, 0] = 0
                boxes[c, g, 2] = 0
            continue
        axes(quats, scales, g, m)
        # σ beyond which alpha < 1/255, with a margin for float32 rounding in the tiles.
        reach = 2.0 * (1.0001 * math.log(255.0 * opacity) + 1e-4)
        for c in range(views.shape[0]):
            box = boxes[c, g]
            box[0], box[1], box[2], box[3] = 0, 0, 0, 0
            view, K = views[c], Ks[c]
            x, y, z = _camera_point(view, means, g)
            if not (z >= near and z <= far):
                continue
            _screen_axes(view, K, m, x, y, z, _clamps(K, width, height), a)
            sxx, sxy, syy, det = _covariance(a, eps2d)
            if not (det > 0.0 and det < 1e300):
                continue
            u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
            rx, ry = math.sqrt(reach * sxx), math.sqrt(reach * syy)
            x0, x1 = max(math.ceil(u - rx - 0.5), 0.0), min(math.floor(u + rx - 0.5), width - 1.0)
            y0, y1 = max(math.ceil(v - ry - 0.5), 0.0), min(math.floor(v + ry - 0.5), height - 1.0)
            if not (x0 <= x1 and y0 <= y1):
                continue
            box[0], box[1] = int(x0) // TILE, int(x1) // TILE + 1
            box[2], box[3] = int(y0) // TILE, int(y1) // TILE + 1
            record = records[c, g]
            record[0], record[1] = u, v
            record[2] = math.sqrt(INV_2LN2 * syy / det)
            record[3] = -sxy * math.sqrt(INV_2LN2 / (syy * det))
            record[4] = math.sqrt(INV_2LN2 / syy)
            record[5] = math.log2(opacity)
            record[6] = z
            record[7] = 0.0


@njit(cache=True)
def _depth_order(records, ids, count, keys, spare_ids, spare_keys):
    """Sort ids[:count] by depth, ties by position: three stable counting passes over the bits of positive floats."""
    depth_bits = records.view(np.int32)
    for i in range(count):
        keys[i] = depth_bits[ids[i], 6]
    histogram = np.empty(2048, np.int64)
    for shift in (0, 11, 22):
        histogram[:] = 0
        for i in range(count):
            histogram[(keys[i] >> shift) & 2047] += 1
        position = 0
        for b in range(2048):
            size = histogram[b]
            histogram[b] = position
            position += size
        for i in range(count):
            b = (keys[i] >> shift) & 2047
            j = histogram[b]
            histogram[b] = j + 1
            spare_keys[j] = keys[i]
            spare_ids[j] = ids[i]
        keys, spare_keys = spare_keys, keys
        ids, spare_ids = spare_ids, ids
    return ids


@njit(cache=True)
def _count_tiles(boxes, ids, offsets, sizes, tiles_x):
    """Visible Gaussians → ids (returns how many); tiles of all Gaussians before each → offsets; sizes of the lists."""
    sizes[:] = 0
    count, position = 0, 0
    for g in range(boxes.shape[0]):
        offsets[g] = position
        x0, x1, y0, y1 = boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3]
        if x1 > x0:
            ids[count] = g
            count += 1
            position += (x1 - x0) * (y1 - y0)
            for ty in range(y0, y1):
                for tx in range(x0, x1):
                    sizes[ty * tiles_x + tx] += 1
    offsets[boxes.shape[0]] = position
    return count


@njit(cache=True)
def _fill_tiles(boxes, ids, count, starts, tiles_x, members):
    """Write each tile's members front to back."""
    cursor = starts[:-1].copy()
    flat = boxes.reshape(-1)
    for i in range(count):
        g = ids[i]
        prefetch(flat, ids[min(i + 16, count - 1)] * 4)
        for ty in range(boxes[g, 2], boxes[g, 3]):
            for tx in range(boxes[g, 0], boxes[g, 1]):
                t = ty * tiles_x + tx
                members[cursor[t]] = g
                cursor[t] += 1


@njit(parallel=True, nogil=True, cache=True)
def project_and_bin(
    means, quats, scales, opacities, colors, features, views, Ks, width, height, near, far, eps2d,
    table, records, boxes, offsets,
):  # fmt: skip
    """Fill ``table``, ``records``, ``boxes`` and ``offsets``; return the tile lists.

    Args:
        means .. features: float32, as in `Gaussians`; views [C, 4, 4] and Ks [C, 3, 3] are float64.
        table: [N · stride] out, per Gaussian 16 floats (r, g, b, 0, ...) and then its features, zero-padded to 16s.
        records: [C, N, 8] out. boxes: [C, N, 4] int32 out, tile ranges x0, x1, y0, y1 (empty: not visible).
        offsets: [C, N + 1] int64 out, how many tiles all Gaussians before one cover in that camera.

    Returns:
        starts [C · tiles + 1], where each tile's list begins in members, and members: Gaussians, front to back.
    """
    C, n = records.shape[0], records.shape[1]
    tiles_x, tiles_y = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    tiles = tiles_x * tiles_y
    for block in prange((n + BLOCK - 1) // BLOCK):
        _project_block(
            block * BLOCK, means, quats, scales, opacities, colors, features, views, Ks, width, height,
            near, far, eps2d, table, records, boxes,
        )  # fmt: skip
    sizes = np.empty((C, tiles), np.int64)
    ids = np.empty((C, 2, n), np.int32)
    keys = np.empty((C, 2, n), np.int32)
    counts = np.empty(C, np.int64)
    for c in prange(C):
        counts[c] = _count_tiles(boxes[c], ids[c, 0], offsets[c], sizes[c], tiles_x)
        _depth_order(records[c], ids[c, 0], counts[c], keys[c, 0], ids[c, 1], keys[c, 1])
    starts = np.empty(C * tiles + 1, np.int64)
    position = 0
    for c in range(C):
        for t in range(tiles):
            starts[c * tiles + t] = position
            position += sizes[c, t]
    starts[C * tiles] = position
    members = np.empty(position, np.int32)
    for c in prange(C):
        # Three passes leave the sorted ids in the second buffer.
        _fill_tiles(boxes[c], ids[c, 1], counts[c], starts[c * tiles : (c + 1) * tiles + 1], tiles_x, members)
    return starts, members


@njit(cache=True, error_model="numpy")
def project_backward(
    g, sums, v_depth, record, view, K, means, m, width, height, eps2d, v_mean, v_m, a, v_a
):  # fmt: skip
    """Add one camera's share to ``v_mean`` [3] and ``v_m`` [3, 3], the gradient of R · diag(scales).

    ``sums`` holds Σ vσ·(u, v, u², uv, v²) over the Gaussian's pixels, with u = p dx + q dy, v = r dy of the record and
    vσ the gradient of σ. With K = [[p, 0], [q, r]]: Σ⁻¹ = 2 ln2 · K Kᵀ and d σ = -½ dᵀ Σ⁻¹ (dΣ) Σ⁻¹ d.
    """
    p, q, r = float(record[2]), float(record[3]), float(record[4])
    su, sv, suu, suv, svv = sums
    v_u = -2.0 * LN2 * p * su
    v_v = -2.0 * LN2 * (q * su + r * sv)
    k = -2.0 * LN2 * LN2
    gxx = k * p * p * suu
    gxy = k * p * (q * suu + r * suv)
    gyy = k * (q * q * suu + 2.0 * q * r * suv + r * r * svv)

    x, y, z = _camera_point(view, means, g)
    lims = _clamps(K, width, height)
    _screen_axes(view, K, m, x, y, z, lims, a)
    for i in range(3):
        v_a[0, i] = 2.0 * (gxx * a[0, i] + gxy * a[1, i])
        v_a[1, i] = 2.0 * (gxy * a[0, i] + gyy * a[1, i])

    fx, fy = K[0, 0], K[1, 1]
    iz = 1.0 / z
    tx, ty = x * iz, y * iz
    cx, cy = min(max(tx, lims[0]), lims[1]), min(max(ty, lims[2]), lims[3])
    j00, j11 = fx * iz, fy * iz
    j02, j12 = -j00 * cx, -j11 * cy
    # v_J = v_a · (W m)ᵀ and v_m += (J W)ᵀ · v_a
    v00, v02, v11, v12 = 0.0, 0.0, 0.0, 0.0
    for i in range(3):
        c0 = view[0, 0] * m[0, i] + view[0, 1] * m[1, i] + view[0, 2] * m[2, i]
        c1 = view[1, 0] * m[0, i] + view[1, 1] * m[1, i] + view[1, 2] * m[2, i]
        c2 = view[2, 0] * m[0, i] + view[2, 1] * m[1, i] + view[2, 2] * m[2, i]
        v00 += v_a[0, i] * c0
        v02 += v_a[0, i] * c2
        v11 += v_a[1, i] * c1
        v12 += v_a[1, i] * c2
    for i in range(3):
        b0 = j00 * view[0, i] + j02 * view[2, i]
        b1 = j11 * view[1, i] + j12 * view[2, i]
        for j in range(3):
            v_m[i, j] += b0 * v_a[0, j] + b1 * v_a[1, j]
    v_x = v_u * j00
    v_y = v_v * j11
    # j00 = fx/z and j02 = -(fx/z)·clamp(x/z), likewise for y
    v_z = v_depth - (v_x * tx + v_y * ty) - iz * (v00 * j00 + v02 * j02 + v11 * j11 + v12 * j12)
    if cx == tx:
        v_x -= v02 * j00 * iz
        v_z += v02 * j00 * iz * tx
    if cy == ty:
        v_y -= v12 * j11 * iz
        v_z += v12 * j11 * iz * ty
    for i in range(3):
        v_mean[i] += view[0, i] * v_x + view[1, i] * v_y + view[2, i] * v_z


@njit(cache=True, error_model="numpy")
def axes_backward(g, quats, scales, v_m, v_quats, v_scales):
    """Gradient of m = R(q/|q|)·diag(s) → rows g of v_quats [N, 4] and v_scales [N, 3]."""
    w, x, y, z = float(quats[g, 0]), float(quats[g, 1]), float(quats[g, 2]), float(quats[g, 3])
    n = 1.0 / max(math.sqrt(w * w + x * x + y * y + z * z), 1e-12)
    w, x, y, z = w * n, x * n, y * n, z * n
    a, b, c = float(scales[g, 0]), float(scales[g, 1]), float(scales[g, 2])
    v_scales[g, 0] = (
        (1.0 - 2.0 * (y * y + z * z)) * v_m[0, 0]
        + 2.0 * (x * y + w * z) * v_m[1, 0]
        + 2.0 * (x * z - w * y) * v_m[2, 0]
    )
    v_scales[g, 1] = (
        2.0 * (x * y - w * z) * v_m[0, 1]
        + (1.0 - 2.0 * (x * x + z * z)) * v_m[1, 1]
        + 2.0 * (y * z + w * x) * v_m[2, 1]
    )
    v_scales[g, 2] = (
        2.0 * (x * z + w * y) * v_m[0, 2]
        + 2.0 * (y * z - w * x) * v_m[1, 2]
        + (1.0 - 2.0 * (x * x + y * y)) * v_m[2, 2]
    )
    r00, r01, r02 = v_m[0, 0] * a, v_m[0, 1] * b, v_m[0, 2] * c
    r10, r11, r12 = v_m[1, 0] * a, v_m[1, 1] * b, v_m[1, 2] * c
    r20, r21, r22 = v_m[2, 0] * a, v_m[2, 1] * b, v_m[2, 2] * c
    vw = 2.0 * (x * (r21 - r12) + y * (r02 - r20) + z * (r10 - r01))
    vx = 2.0 * (-2.0 * x * (r11 + r22) + y * (r01 + r10) + z * (r02 + r20) + w * (r21 - r12))
    vy = 2.0 * (x * (r01 + r10) - 2.0 * y * (r00 + r22) + z * (r12 + r21) + w * (r02 - r20))
    vz = 2.0 * (x * (r02 + r20) + y * (r12 + r21) - 2.0 * z * (r00 + r11) + w * (r10 - r01))
    dot = vw * w + vx * x + vy * y + vz * z
    v_quats[g, 0] = (vw - dot * w) * n
    v_quats[g, 1] = (vx - dot * x) * n
    v_quats[g, 2] = (vy - dot * y) * n
    v_quats[g, 3] = (vz - dot * z) * n
