"""Sparse tensors and convolutions: one interface, two backends, spconv's weight layout.

backend.py          the choice of backend
tensor.py           SparseTensor, Grid: voxels, features and the kernel maps that layers share
modules.py          SubMConv3d, SparseConv3d, SparseInverseConv3d
reference.py        backend "torch", any device and dtype: slow and obvious
maps.py kernels.py fast.py      backend "torch" on the CPU in float32: kernel maps, kernels, their autograd
spconv_backend.py   backend "spconv" (CUDA)
"""

from .backend import Backend, resolve_backend
from .modules import SparseConv3d, SparseInverseConv3d, SubMConv3d
from .tensor import Grid, SparseTensor

__all__ = ["Backend", "Grid", "SparseConv3d", "SparseInverseConv3d", "SparseTensor", "SubMConv3d", "resolve_backend"]
