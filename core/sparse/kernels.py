"""The CPU kernels of sparse convolution: register-tiled products that gather and scatter rows by themselves.

A sparse convolution is, per kernel offset, ``y[dst] += x[src] @ w``. Copying the gathered rows into a buffer, calling a
GEMM and adding the product back moves every row six times through the cache. Here one micro-kernel reads `ROWS`
scattered rows of x, keeps their `ROWS` × tile products in vector registers over all input channels, and adds them to
the scattered rows of y. numba can emit such code only if the vectors are spelled out, so the two micro-kernels are
written in LLVM IR; the loops around them are ordinary numba. Everything is deterministic for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..kernels.llvm import call_function, host_features, intrinsic, ir, none, types

ROWS = 8
"""Rows per micro-kernel call; every list of a `KernelMap` is padded to a multiple of it."""
BLOCK = 256
"""Output rows per block: their part of the inputs and outputs stays in the second-level cache."""
SPILL = 16
"""Rows appended to every output that padded entries write to; blocks take turns, so threads seldom share one."""

_features = host_features()
LANES = 16 if "avx512f" in _features else 8 if "avx" in _features else 4
"""float32 values per vector register of this machine."""

_I32, _I64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)


class _Emitter:
    """The few instructions both micro-kernels are made of. Addresses and strides are integers, in bytes."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def at(self, base: Any, count: Any, size: Any) -> Any:
        count = ir.Constant(_I64, count) if isinstance(count, int) else count
        size = ir.Constant(_I64, size) if isinstance(size, int) else size
        return self.b.add(base, self.b.mul(count, size))

    def load(self, address: Any, kind: ir.Type) -> Any:
        return self.b.load(self.b.inttoptr(address, ir.PointerType(kind)), align=4)

    def store(self, value: Any, address: Any) -> None:
        self.b.store(value, self.b.inttoptr(address, ir.PointerType(value.type)), align=4)

    def row(self, base: Any, stride: Any, index: Any, i: Any) -> Any:
        """Address of row ``index[i]`` of a matrix."""
        return self.at(base, self.b.sext(self.load(self.at(index, i, 4), _I32), _I64), stride)

    def vectors(self, address: Any, count: int) -> list[Any]:
        return [self.load(self.at(address, v, 4 * LANES), _VECTOR) for v in range(count)]

    def splat(self, address: Any) -> Any:
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        one = self.b.insert_element(undefined, self.load(address, _FLOAT), ir.Constant(_I32, 0))
        return self.b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))

    def muladd(self, a: Any, b: Any, c: Any) -> Any:
        """a · b + c, fused where the machine can."""
        return call_function(self.b, f"llvm.fmuladd.v{LANES}f32", _VECTOR, [a, b, c])

    def accumulate(
        self, count: Any, outputs: list[Any], width: int, step: Callable[[Any], tuple[list[Any], list[Any]]]
    ) -> None:
        """``for i in range(count): acc[r] += scalars[r] * vectors`` with the accumulators, which are loaded from and
        stored to ``outputs``, in registers. ``step(i)`` emits the loads: (addresses of the scalars, vectors)."""
        b = self.b
        initial = [self.vectors(address, width) for address in outputs]
        before, loop, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
        b.branch(loop)
        b.position_at_end(loop)
        i = b.phi(_I64)
        i.add_incoming(ir.Constant(_I64, 0), before)
        acc = [[b.phi(_VECTOR) for _ in range(width)] for _ in outputs]
        scalars, vectors = step(i)
        new = []
        for address, row in zip(scalars, acc, strict=True):
            scalar = self.splat(address)
            new.append([self.muladd(scalar, w, a) for w, a in zip(vectors, row, strict=True)])
        following = b.add(i, ir.Constant(_I64, 1))
        i.add_incoming(following, loop)
        for phis, starts, values in zip(acc, initial, new, strict=True):
            for phi, start, value in zip(phis, starts, values, strict=True):
                phi.add_incoming(start, before)
                phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", following, count), loop, end)
        b.position_at_end(end)
        for address, values in zip(outputs, new, strict=True):
            for v, value in enumerate(values):
                self.store(value, self.at(address, v, 4 * LANES))


def _gemm_tile(width: int) -> Any:
    """y[dst[r], :tile] += x[src[r], :n] @ w[:n, :tile] for `ROWS` pairs; tile = width · LANES; n ≥ 1."""

    @intrinsic
    def tile(typing_context, x, x_stride, src, w, w_stride, y, y_stride, dst, n):
        def codegen(context, builder, signature, arguments):
            x, x_stride, src, w, w_stride, y, y_stride, dst, n = arguments
            e = _Emitter(builder)
            inputs = [e.row(x, x_stride, src, r) for r in range(ROWS)]
            outputs = [e.row(y, y_stride, dst, r) for r in range(ROWS)]

            def step(i):
                return [e.at(row, i, 4) for row in inputs], e.vectors(e.at(w, i, w_stride), width)

            e.accumulate(n, outputs, width, step)
            return none(context)

        return types.void(*[types.intp] * 9), codegen

    return tile


def _outer_tile(width: int) -> Any:
    """dw[:ROWS, :tile] += Σ_p x[src[p], :ROWS]ᵀ g[dst[p], :tile] over n ≥ 1 pairs; tile = width · LANES."""

    @intrinsic
    def tile(typing_context, x, x_stride, src, g, g_stride, dst, dw, dw_stride, n):
        def codegen(context, builder, signature, arguments):
            x, x_stride, src, g, g_stride, dst, dw, dw_stride, n = arguments
            e = _Emitter(builder)
            outputs = [e.at(dw, r, dw_stride) for r in range(ROWS)]

            def step(i):
                row = e.row(x, x_stride, src, i)
                return [e.at(row, r, 4) for r in range(ROWS)], e.vectors(e.row(g, g_stride, dst, i), width)

            e.accumulate(n, outputs, width, step)
            return none(context)

        return types.void(*[types.intp] * 9), codegen

    return tile


_gemm_narrow, _gemm_wide = _gemm_tile(1), _gemm_tile(2)
_outer_narrow, _outer_wide = _outer_tile(1), _outer_tile(2)


def tile_width(channels: int) -> int:
    """Output channels that one micro-kernel call makes; matrices are padded to a multiple of it."""
    return 2 * LANES if channels % (2 * LANES) == 0 else LANES


@numba.njit(nogil=True, cache=True)
def gather_gemm(
    worker: int,
    workers: int,
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    y: NDArray[np.float32],
    rows: NDArray[np.int32],
    ptr: NDArray[np.int64],
    src: NDArray[np.int32],
    dst: NDArray[np.int32],
) -> None:
    """``y[dst] = Σ_k x[src] @ w[k]`` over the lists of a `KernelMap`: this worker's share of the blocks.

    Args:
        x: [num_in, I]. w: [K, T, I, tile], output channels in T tiles. y: [num_out + SPILL, T · tile], overwritten.
        rows: [num_out] the output rows in block order. ptr, src, dst: see `KernelMap`.
    """
    volume, tiles, channels, tile = w.shape
    n = rows.size
    items = (n + BLOCK - 1) // BLOCK * tiles
    x_at, y_at, w_at, src_at, dst_at = x.ctypes.data, y.ctypes.data, w.ctypes.data, src.ctypes.data, dst.ctypes.data
    x_stride, y_stride, w_stride = 4 * x.shape[1], 4 * y.shape[1], 4 * tile
    for item in range(items * worker // workers, items * (worker + 1) // workers):
        block, column = item // tiles, item % tiles
        for i in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            y[rows[i], column * tile : (column + 1) * tile] = 0
        y_tile = y_at + 4 * column * tile
        for k in range(volume):
            w_tile = w_at + (k * tiles + column) * channels * w_stride
            for p in range(ptr[block * volume + k], ptr[block * volume + k + 1], ROWS):
                s, d = src_at + 4 * p, dst_at + 4 * p
                if tile == LANES:
                    _gemm_narrow(x_at, x_stride, s, w_tile, w_stride, y_tile, y_stride, d, channels)
                else:
                    _gemm_wide(x_at, x_stride, s, w_tile, w_stride, y_tile, y_stride, d, channels)


@numba.njit(nogil=True, cache=True)
def gather_outer(
    worker: int,
    workers: int,
    x: NDArray[np.float32],
    g: NDArray[np.float32],
    dw: NDArray[np.float32],
    ptr: NDArray[np.int64],
    count: NDArray[np.int64],
    src: NDArray[np.int32],
    dst: NDArray[np.int32],
    tile: int,
) -> None:
    """``dw[k] += Σ x[src]ᵀ g[dst]`` over the lists of a `KernelMap`: this worker's share of the offsets.

    Args:
        x: [num_in, I], I a multiple of ROWS. g: [num_out, O], O a multiple of ``tile``. dw: [K, I, O].
        ptr, count, src, dst: see `KernelMap`.
    """
    volume, channels, width = dw.shape
    tiles = width // tile
    blocks = count.size // volume
    load = np.zeros(volume, np.int64)
    for i in range(count.size):
        load[i % volume] += count[i]
    total = max(1, load.sum() * tiles)
    x_at, g_at, dw_at, src_at, dst_at = x.ctypes.data, g.ctypes.data, dw.ctypes.data, src.ctypes.data, dst.ctypes.data
    x_stride, g_stride = 4 * channels, 4 * width
    done = 0
    for item in range(volume * tiles):
        k, column = item // tiles, item % tiles
        mine = (2 * done + load[k]) * workers // (2 * total) == worker  # by the middle of the item's share
        done += load[k]
        if not mine:
            continue
        g_tile = g_at + 4 * column * tile
        for block in range(blocks):
            pairs = count[block * volume + k]
            if pairs == 0:
                continue
            s, d = src_at + 4 * ptr[block * volume + k], dst_at + 4 * ptr[block * volume + k]
            for c in range(0, channels, ROWS):
                dw_tile = dw_at + 4 * ((k * channels + c) * width + column * tile)
                if tile == LANES:
                    _outer_narrow(x_at + 4 * c, x_stride, s, g_tile, g_stride, d, dw_tile, g_stride, pairs)
                else:
                    _outer_wide(x_at + 4 * c, x_stride, s, g_tile, g_stride, d, dw_tile, g_stride, pairs)
