"""The interfaces of numba and llvmlite that `core.kernels.llvm` and the kernels rely on."""

import ast
import inspect
from pathlib import Path

import llvmlite
import llvmlite.binding
import llvmlite.ir
import numba
import numba.extending
import numpy as np
import pytest
from gaussiancross.core.kernels import llvm
from gaussiancross.core.query import dot
from gaussiancross.core.sparse import kernels
from gaussiancross.core.splat import simd
from numba.core.cpu import CPUContext

ROOT = Path(llvm.__file__).parents[2]

BUILDER = """
add and_ append_basic_block bitcast block branch call cbranch cttz extract_element extract_value fadd fcmp_ordered fdiv
fmul fsub gep icmp_signed insert_element insert_value inttoptr load module mul phi position_at_end select sext shl
shuffle_vector store zext
"""
NAMES = {
    numba.extending: "intrinsic models overload register_model",
    numba.extending.models: "PrimitiveModel",
    numba.types: "Type float32 int32 int64 intp void",
    CPUContext: "cast get_dummy_value make_array",
    llvmlite.binding: "get_host_cpu_features",
    llvmlite.ir: "ArrayType Constant FloatType Function FunctionType IntType PointerType Undefined VectorType VoidType",
    llvmlite.ir.IRBuilder: BUILDER,
    llvmlite.ir.VectorType: "as_pointer",
}
ATTRIBUTES = [(owner, name) for owner, names in NAMES.items() for name in names.split()]


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_the_attribute_exists(owner, name):
    versions = f"numba {numba.__version__} and llvmlite {llvmlite.__version__}"
    assert hasattr(owner, name), f"{owner.__name__}.{name} is gone in {versions}: adapt core/kernels/llvm.py"


def test_every_builder_method_of_the_kernels_is_listed():
    used = set()
    for module in (llvm, simd, dot, kernels):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("b", "builder", "self.b"):
                used.add(node.attr)
    assert used == set(BUILDER.split())


def test_no_other_module_imports_llvmlite_or_private_parts_of_numba():
    found = []
    for path in (p for top in ("core", "trainers", "app", "benchmarks") for p in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else names
            private = [n for n in names if n.startswith(("llvmlite", "numba.core", "numba.extending"))]
            found += [f"{path.relative_to(ROOT)}: {name}" for name in private]
    assert [line for line in found if not line.startswith("core/kernels/llvm.py")] == []


@llvm.intrinsic
def _square_root_of_entry(typingctx, array, index):
    """sqrt(array[index]) by LLVM's own function; the entry is read without bounds checks."""

    def codegen(context, builder, signature, args):
        data = llvm.array_data(context, builder, signature.args[0], args[0])
        index = llvm.cast(context, builder, args[1], signature.args[1], llvm.types.intp)
        value = builder.load(builder.gep(data, [index]))
        return llvm.call_function(builder, "llvm.sqrt.f32", llvm.ir.FloatType(), [value])

    return llvm.types.float32(array, index), codegen


@numba.njit
def _roots(array, out):
    for i in range(len(array)):
        out[i] = _square_root_of_entry(array, i) + _square_root_of_entry(array, i)


def test_a_function_is_declared_once_and_called_on_array_entries():
    out = np.empty(4, np.float32)
    _roots(np.array([0, 1, 4, 9], np.float32), out)
    assert out.tolist() == [0, 2, 4, 6]


def test_features_of_this_machine_are_names():
    features = llvm.host_features()
    assert all(isinstance(name, str) and name == name.strip() for name in features)
    expected = 16 if "avx512f" in features else 8 if "avx" in features else 4
    assert expected == kernels.LANES
