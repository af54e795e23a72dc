"""What the compiled CPU kernels of `core.splat`, `core.sparse` and `core.query` share.

llvm    numba's and llvmlite's interfaces for kernels that are written in LLVM IR
"""
