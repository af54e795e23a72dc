"""numba's and llvmlite's interfaces for kernels that are written in LLVM IR.

numba documents `intrinsic`, `register_model` and `overload`, but not the methods of the objects that it hands to their
code generators, and none of this is promised to last. Kernels import it from here alone: a new version of numba is
adapted to in this file, and ``tests/core/kernels/test_llvm.py`` names every attribute that must exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _numba_intrinsic
from numba.extending import models, overload, register_model

__all__ = [
    "array_data",
    "call_function",
    "cast",
    "host_features",
    "intrinsic",
    "ir",
    "none",
    "overload",
    "register_primitive",
    "types",
]


def intrinsic(function: Callable[..., Any]) -> Any:
    """numba's decorator for functions that emit IR.

    Callers leave out the first parameter, the typing context, which type checkers cannot know.
    """
    return _numba_intrinsic(function)


def register_primitive(kind: type[types.Type], llvm_type: ir.Type) -> None:
    """Let numba hold values of a numba type as values of an LLVM type, in registers."""

    class Model(models.PrimitiveModel):
        def __init__(self, dmm: Any, fe_type: Any) -> None:
            super().__init__(dmm, fe_type, llvm_type)

    register_model(kind)(Model)


def host_features() -> set[str]:
    """Names of the CPU's features that LLVM knows, such as "avx512f"."""
    return {name for name, present in binding.get_host_cpu_features().items() if present}


# --- inside code generators -----------------------------------------------------------------------------------


def array_data(context: Any, builder: Any, array_type: types.Type, array: Any) -> Any:
    """Pointer to the first element of an array argument."""
    return context.make_array(array_type)(context, builder, array).data


def cast(context: Any, builder: Any, value: Any, source: types.Type, target: types.Type) -> Any:
    """Convert a value between numba types."""
    return context.cast(builder, value, source, target)


def none(context: Any) -> Any:
    """The value of an intrinsic that returns nothing (`types.void`)."""
    return context.get_dummy_value()


def call_function(
    builder: Any, name: str, result: ir.Type, arguments: Sequence[Any], fastmath: Sequence[str] = ()
) -> Any:
    """Call a function by name, declaring it on first use; names that start with ``llvm.`` are LLVM's own."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments, fastmath=fastmath)
