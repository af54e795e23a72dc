"""Kernels of `store.FeatureStore`: dot products of int8 rows with int16 vectors, and packing of such rows.

A plain numba loop widens to 32 bits before it multiplies and takes about four times as long as reading the rows. Here
the products are written in LLVM as "multiply 16-bit pairs, add neighbours", which compiles to one instruction
(vpmaddwd or vpdpwssd on x86, its equivalent on NEON). Sixteen sums, of four rows by four vectors, stay in registers, so
that each loaded chunk serves four products. Integer sums are exact, hence equal on every machine.
"""

from __future__ import annotations

import numba
import numpy as np

from ..kernels.llvm import array_data, call_function, cast, intrinsic, ir, none, register_primitive, types

CHUNK = 32
"""Row lengths are padded with zeros to a multiple of this."""

TILE = 4
"""Numbers of rows and of vectors are padded to a multiple of this."""

_AHEAD = 8192
"""Prefetch distance in bytes. The hardware does not predict reading four rows at a time; without prefetching the kernel
takes more than twice as long."""

_LANES = CHUNK // 2  # products of a chunk, added in pairs; equals TILE², which the reduction below relies on
_sums = ir.VectorType(ir.IntType(32), _LANES)
_tile_ir = ir.ArrayType(_sums, TILE * TILE)


class _Tile(types.Type):
    """Partial sums of TILE rows by TILE vectors in registers, each of sixteen int32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="int32x16tile")


register_primitive(_Tile, _tile_ir)


def _lanes(order) -> ir.Constant:
    return ir.Constant(_sums, list(order))


def _add_halves(builder, a, b, first, second):
    """Lanes ``first`` of the 32 lanes (a, b) plus lanes ``second``."""
    return builder.add(builder.shuffle_vector(a, b, _lanes(first)), builder.shuffle_vector(a, b, _lanes(second)))


_EVEN, _ODD = range(0, CHUNK, 2), range(1, CHUNK, 2)


@intrinsic
def _zero(typingctx):
    def codegen(context, builder, signature, args):
        return ir.Constant(_tile_ir, [_lanes([0] * _LANES)] * TILE**2)

    return _Tile()(), codegen


@intrinsic
def _add_products(typingctx, tile, codes, i, vectors, j, dim):
    """tile + products of the chunk at codes[i] and the TILE − 1 rows after it (``dim`` apart) with that at vectors[j].

    Both arrays are flat and contiguous; nothing is bounds-checked.
    """

    def codegen(context, builder, signature, args):
        tile, dim = args[0], cast(context, builder, args[5], signature.args[5], types.intp)

        def chunks(array, index, lane):
            array_type, wide = signature.args[array], ir.VectorType(ir.IntType(32), CHUNK)
            data = array_data(context, builder, array_type, args[array])
            start = cast(context, builder, args[index], signature.args[index], types.intp)
            pointer = ir.VectorType(ir.IntType(lane), CHUNK).as_pointer()
            loaded = []
            for _ in range(TILE):
                chunk = builder.load(builder.bitcast(builder.gep(data, [start]), pointer), align=1)
                loaded.append(builder.sext(chunk, wide))
                start = builder.add(start, dim)
            return loaded

        rows, columns = chunks(1, 2, 8), chunks(3, 4, 16)
        for k in range(TILE**2):
            products = builder.mul(rows[k // TILE], columns[k % TILE], flags=("nsw",))
            pairs = _add_halves(builder, products, ir.Constant(products.type, ir.Undefined), _EVEN, _ODD)
            tile = builder.insert_value(tile, builder.add(builder.extract_value(tile, k), pairs), k)
        return tile

    return tile(tile, codes, i, vectors, j, dim), codegen


@intrinsic
def _write_totals(typingctx, tile, out):
    """out[TILE · row + vector] = the sum of that lane group; ``out`` is int32 with TILE² entries."""

    def codegen(context, builder, signature, args):
        # Adding even lanes to odd lanes of two vectors halves both into one; four rounds leave one lane per sum.
        level = [builder.extract_value(args[0], k) for k in range(TILE**2)]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [_add_halves(builder, a, b, _EVEN, _ODD) for a, b in pairs]
        data = array_data(context, builder, signature.args[1], args[1])
        builder.store(level[0], builder.bitcast(data, _sums.as_pointer()), align=4)
        return none(context)

    return types.void(tile, out), codegen


@intrinsic
def _prefetch(typingctx, array, index):
    """Prefetch the cache line of array[index]; an index past the end is harmless."""

    def codegen(context, builder, signature, args):
        data = array_data(context, builder, signature.args[0], args[0])
        pointer = builder.gep(data, [cast(context, builder, args[1], signature.args[1], types.intp)])
        i32 = ir.IntType(32)
        read, keep, data_cache = (ir.Constant(i32, v) for v in (0, 3, 1))
        call_function(builder, "llvm.prefetch", ir.VoidType(), [pointer, read, keep, data_cache])
        return none(context)

    return types.void(array, index), codegen


@numba.njit(nogil=True, cache=True)
def int8_scores(codes, scale, vectors, vector_scale, vector_offset, out):
    """out[q, n] = scale[n] · vector_scale[q] · (codes[n] · vectors[q]) + vector_offset[q].

    Args:
        codes: [N, D] int8, N a multiple of TILE, D of CHUNK, contiguous. scale: [N] float32.
        vectors: [Q, D] int16, Q a multiple of TILE, contiguous. vector_scale, vector_offset: [Q] float32.
        out: [Q, N] float32, written.

    The caller guarantees that every sum fits 32 bits.
    """
    count, dim = codes.shape
    rows, columns = codes.reshape(-1), vectors.reshape(-1)
    totals = np.empty(TILE * TILE, np.int32)
    for n in range(0, count, TILE):
        for k in range(0, TILE * dim, 64):
            _prefetch(rows, n * dim + k + _AHEAD)  # pyright: ignore[reportCallIssue]
        for q in range(0, vectors.shape[0], TILE):
            tile = _zero()  # pyright: ignore[reportCallIssue] numba supplies the typing context
            for k in range(0, dim, CHUNK):
                tile = _add_products(tile, rows, n * dim + k, columns, q * dim + k, dim)
            _write_totals(tile, totals)
            for b in range(TILE):
                for a in range(TILE):
                    value = scale[n + a] * np.float32(totals[TILE * a + b])
                    out[q + b, n + a] = value * vector_scale[q + b] + vector_offset[q + b]


_REASSOCIATE = {"reassoc", "contract", "nsz"}  # lets sums use all lanes; NaN and infinity keep their meaning


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def _square_length(row):
    total = 0.0  # float64: squares of the longest and shortest float32 rows fit
    for k in range(len(row)):
        total += np.float64(row[k]) * np.float64(row[k])
    return total


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE | {"nnan"})
def _largest(row):
    largest = np.float32(0)
    for k in range(len(row)):
        largest = max(largest, abs(row[k]))
    return largest


@numba.njit(nogil=True, cache=True, fastmath=_REASSOCIATE)
def int8_pack(features, mean, codes, scale, square_error):
    """Quantise each row x: x / |x| ≈ mean + scale · code. A row that is zero or not finite gets scale −1.

    Args:
        features: [N, D] float32. mean: [D] float32.
        codes: [N, ≥ D] int8, zero; scale, square_error: [N] float32; all written.
    """
    dim = features.shape[1]
    rest = np.empty(dim, np.float32)
    for n in range(len(features)):
        row = features[n]
        square = _square_length(row)
        if not (square > 0 and square < np.inf):
            scale[n], square_error[n] = -1, 0
            continue
        shrink = 1 / np.sqrt(square)
        for k in range(dim):
            rest[k] = np.float32(row[k] * shrink) - mean[k]
        step = _largest(rest) / np.float32(127)
        inverse = np.float32(1) / step if step > 1e-30 else np.float32(0)
        error = np.float32(0)
        for k in range(dim):
            # The offset makes the value positive, so that truncation rounds; this vectorises.
            code = np.float32(np.int32(rest[k] * inverse + np.float32(127.5))) - np.float32(127)
            codes[n, k] = np.int8(code)
            difference = code * step - rest[k]
            error += difference * difference
        scale[n], square_error[n] = step, error
