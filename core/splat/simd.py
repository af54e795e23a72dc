"""Vectors of sixteen float32 lanes inside numba kernels.

numba leaves vectorisation to LLVM, which gives up on short loops, possible aliases and early exits: all that a tile
splatter consists of. Here a vector is a value, written to a register. LLVM maps the sixteen lanes onto whatever the
machine has (one AVX-512, two AVX2 or four NEON registers), so the same source is fast everywhere and gives the same
bits whatever the width.

Inside ``@njit`` functions::

    v = load(array, i)              # array: 1-D contiguous float32; lanes array[i : i + 16]
    v = muladd(v, splat(x), v * v)  # v * x + v * v; also + - * /
    m = (v > w) & mask              # comparisons give a mask; `bits(m)` is an int64, lane 0 the lowest bit
    store(array, i, select(m, v, w))

Nothing is bounds-checked: callers own their index arithmetic.
"""

from __future__ import annotations

import operator

import numpy as np

from ..kernels.llvm import array_data, call_function, cast, intrinsic, ir, none, overload, register_primitive, types

LANES = 16


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float32x16")


class _Mask(types.Type):
    def __init__(self) -> None:
        super().__init__(name="boolx16")


_vector, _mask = _Vector(), _Mask()
_f32, _i32, _i64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_v16f, _v16i, _v16b = (ir.VectorType(t, LANES) for t in (_f32, _i32, ir.IntType(1)))


register_primitive(_Vector, _v16f)
register_primitive(_Mask, _v16b)


def _constant(x: float) -> ir.Constant:
    return ir.Constant(_v16f, [float(np.float32(x))] * LANES)


def _pointer(context, builder, array_type, array, index):
    """float* at array[index], without wrap-around or bounds."""
    return builder.gep(array_data(context, builder, array_type, array), [index])


def _broadcast(builder, x):
    first = builder.insert_element(ir.Constant(_v16f, ir.Undefined), x, ir.Constant(_i32, 0))
    return builder.shuffle_vector(first, ir.Constant(_v16f, ir.Undefined), ir.Constant(_v16i, [0] * LANES))


@intrinsic
def load(typingctx, array, index):
    """Lanes array[index : index + 16]."""

    def codegen(context, builder, signature, args):
        index = cast(context, builder, args[1], signature.args[1], types.intp)
        pointer = _pointer(context, builder, signature.args[0], args[0], index)
        return builder.load(builder.bitcast(pointer, _v16f.as_pointer()), align=4)

    return _vector(array, index), codegen


@intrinsic
def store(typingctx, array, index, value):
    """array[index : index + 16] = value."""

    def codegen(context, builder, signature, args):
        index = cast(context, builder, args[1], signature.args[1], types.intp)
        pointer = _pointer(context, builder, signature.args[0], args[0], index)
        builder.store(args[2], builder.bitcast(pointer, _v16f.as_pointer()), align=4)
        return none(context)

    return types.void(array, index, value), codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of array[index]; any index is safe."""

    def codegen(context, builder, signature, args):
        index = cast(context, builder, args[1], signature.args[1], types.intp)
        pointer = _pointer(context, builder, signature.args[0], args[0], index)
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        read, keep, data = ir.Constant(_i32, 0), ir.Constant(_i32, 3), ir.Constant(_i32, 1)
        call_function(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, read, keep, data])
        return none(context)

    return types.void(array, index), codegen


@intrinsic
def splat(typingctx, x):
    """The scalar ``x`` (rounded to float32) in every lane."""

    def codegen(context, builder, signature, args):
        return _broadcast(builder, cast(context, builder, args[0], signature.args[0], types.float32))

    return _vector(x), codegen


@intrinsic
def insert(typingctx, v, lane, x):
    """``v`` with ``x`` in one lane."""

    def codegen(context, builder, signature, args):
        lane = cast(context, builder, args[1], signature.args[1], types.int32)
        return builder.insert_element(args[0], cast(context, builder, args[2], signature.args[2], types.float32), lane)

    return _vector(v, lane, x), codegen


@intrinsic
def muladd(typingctx, a, b, c):
    """a * b + c, fused where the machine can."""

    def codegen(context, builder, signature, args):
        return call_function(builder, "llvm.fmuladd.v16f32", _v16f, args)

    return _vector(a, b, c), codegen


@intrinsic
def total(typingctx, v):
    """Sum of the lanes, by halves (the same order on every machine)."""

    def codegen(context, builder, signature, args):
        (v,) = args
        half = LANES // 2
        while half:
            order = ir.Constant(_v16i, [(i + half) % LANES for i in range(LANES)])
            v = builder.fadd(v, builder.shuffle_vector(v, v, order))
            half //= 2
        return builder.extract_element(v, ir.Constant(_i32, 0))

    return types.float32(v), codegen


@intrinsic
def select(typingctx, mask, a, b):
    """a where the mask holds, else b."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return _vector(mask, a, b), codegen


@intrinsic
def bits(typingctx, mask):
    """The mask as an int64, lane 0 the lowest bit."""

    def codegen(context, builder, signature, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), _i64)

    return types.int64(mask), codegen


@intrinsic
def lowest_bit(typingctx, x):
    """Index of the lowest set bit of an int64 that is not 0."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


# 2^f on [-1/2, 1/2]: minimax fit of degree 6; with rounding the relative error stays under 1e-7.
_EXP2 = (1.0, 0.6931472057, 0.2402264689, 0.0555032878, 0.0096184890, 0.0013399931, 0.0001534581)


@intrinsic
def exp2(typingctx, v):
    """2^v for v ≤ 100; everything under -20, and NaN, counts as -20 (far below any alpha that is drawn)."""

    def codegen(context, builder, signature, args):
        floor = _constant(-20.0)
        v = builder.select(builder.fcmp_ordered(">", args[0], floor), args[0], floor)
        # Adding 1.5·2²³ leaves round(v) in the low mantissa bits.
        magic = _constant(12582912.0)
        shifted = builder.fadd(v, magic)
        f = builder.fsub(v, builder.fsub(shifted, magic))
        y = _constant(_EXP2[-1])
        for coefficient in _EXP2[-2::-1]:
            y = call_function(builder, "llvm.fmuladd.v16f32", _v16f, [y, f, _constant(coefficient)])
        exponent = builder.shl(builder.bitcast(shifted, _v16i), ir.Constant(_v16i, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(y, _v16i), exponent), _v16f)

    return _vector(v), codegen


def _binary(emit, result):
    @intrinsic
    def function(typingctx, a, b):
        def codegen(context, builder, signature, args):
            return emit(builder, *args)

        return result(a, b), codegen

    return function


_add = _binary(lambda b, x, y: b.fadd(x, y), _vector)
_sub = _binary(lambda b, x, y: b.fsub(x, y), _vector)
_mul = _binary(lambda b, x, y: b.fmul(x, y), _vector)
_div = _binary(lambda b, x, y: b.fdiv(x, y), _vector)
_gt = _binary(lambda b, x, y: b.fcmp_ordered(">", x, y), _mask)
_ge = _binary(lambda b, x, y: b.fcmp_ordered(">=", x, y), _mask)
_and = _binary(lambda b, x, y: b.and_(x, y), _mask)


def _overload(op, function, kind):
    def typing(a, b):
        if isinstance(a, kind) and isinstance(b, kind):
            return lambda a, b: function(a, b)
        return None

    overload(op)(typing)


for _op, _function, _kind in [
    (operator.add, _add, _Vector),
    (operator.sub, _sub, _Vector),
    (operator.mul, _mul, _Vector),
    (operator.truediv, _div, _Vector),
    (operator.gt, _gt, _Vector),
    (operator.ge, _ge, _Vector),
    (operator.and_, _and, _Mask),
]:
    _overload(_op, _function, _kind)
