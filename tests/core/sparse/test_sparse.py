"""Sparse convolutions: the CPU kernels against the reference, the reference against dense convolutions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.sparse import (
    SparseConv3d,
    SparseInverseConv3d,
    SparseTensor,
    SubMConv3d,
    maps,
    reference,
    resolve_backend,
)
from gaussiancross.core.sparse.kernels import ROWS
from gaussiancross.core.sparse.reference import ReferenceConv
from torch import Tensor
from torch.nn import functional as F

SHAPE = (9, 10, 11)  # odd on two axes: the last plane belongs to no 2³ cell
DTYPES = [torch.float32, torch.float64]  # CPU kernels, reference


def voxels(seed: int = 0, density: float = 0.3, shape=SHAPE, batch: int = 2) -> Tensor:
    """Random unique voxels of a batch, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    indices = (torch.rand(batch, *shape, generator=generator) < density).nonzero()
    return indices[torch.randperm(len(indices), generator=generator)]


def dense(features: Tensor, indices: Tensor, shape=SHAPE, batch: int = 2) -> Tensor:
    """[B, C, X, Y, Z] with zeros where there is no voxel."""
    volume = features.new_zeros(batch, *shape, features.shape[1])
    return volume.index_put(tuple(indices.T), features).permute(0, 4, 1, 2, 3)


def at(volume: Tensor, indices: Tensor) -> Tensor:
    return volume.permute(0, 2, 3, 4, 1)[tuple(indices.long().T)]


def close(a: Tensor, b: Tensor, scale: float = 1e-5) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= scale * (1 + b.abs().max()))


def gradients(output: Tensor, x: Tensor, weight: Tensor, seed: int = 1) -> tuple[Tensor, Tensor]:
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).to(output.dtype)
    dx, dw = torch.autograd.grad(output, (x, weight), g)
    return dx, dw


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "inputs", "outputs"), [(1, 5, 7), (3, 6, 20), (3, 32, 32), (5, 6, 16), (3, 17, 48)])
def test_submanifold_equals_dense(dtype, kernel, inputs, outputs):
    torch.manual_seed(0)
    indices = voxels()
    x = torch.randn(len(indices), inputs, dtype=dtype, requires_grad=True)
    conv = SubMConv3d(inputs, outputs, kernel).to(dtype)
    y = conv(SparseTensor.create(x, indices, SHAPE, 2)).features
    weight = conv.weight.permute(0, 4, 1, 2, 3)
    if kernel == 1:  # spconv reads the memory of a 1³ kernel as [in, out]
        weight = conv.weight.view(inputs, outputs).T[..., None, None, None]
    expected = at(F.conv3d(dense(x, indices), weight, padding=kernel // 2), indices)
    assert close(y, expected)
    for ours, theirs in zip(gradients(y, x, conv.weight), gradients(expected, x, conv.weight), strict=True):
        assert close(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [2, 3])
def test_strided_equals_dense(dtype, stride):
    torch.manual_seed(0)
    indices = voxels(density=0.1)
    x = torch.randn(len(indices), 6, dtype=dtype, requires_grad=True)
    conv = SparseConv3d(6, 20, stride, stride, bias=True).to(dtype)
    y = conv(SparseTensor.create(x, indices, SHAPE, 2))
    assert y.spatial_shape == tuple(s // stride for s in SHAPE)
    occupied = F.max_pool3d(dense(torch.ones(len(indices), 1), indices), stride)
    assert torch.equal(y.indices.long(), occupied[:, 0].nonzero())
    expected = F.conv3d(dense(x, indices), conv.weight.permute(0, 4, 1, 2, 3), conv.bias, stride=stride)
    expected = at(expected, y.indices)
    assert close(y.features, expected)
    for ours, theirs in zip(gradients(y.features, x, conv.weight), gradients(expected, x, conv.weight), strict=True):
        assert close(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse_equals_dense_transposed(dtype):
    torch.manual_seed(0)
    indices = voxels(density=0.1)
    fine = SparseTensor.create(torch.randn(len(indices), 4, dtype=dtype), indices, SHAPE, 2)
    coarse = SparseConv3d(4, 4).to(dtype)(fine)
    x = torch.randn(len(coarse.features), 12, dtype=dtype, requires_grad=True)
    conv = SparseInverseConv3d(12, 24).to(dtype)
    y = conv(coarse.with_features(x))
    assert y.grid is fine.grid
    volume = dense(x, coarse.indices.long(), coarse.spatial_shape)
    up = F.conv_transpose3d(volume, conv.weight.permute(4, 0, 1, 2, 3), stride=2)
    expected = at(F.pad(up, (0, 1, 0, 0, 0, 1)), indices)
    assert close(y.features, expected)
    for ours, theirs in zip(gradients(y.features, x, conv.weight), gradients(expected, x, conv.weight), strict=True):
        assert close(ours, theirs)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 64), (6, 16)])
def test_kernels_equal_reference_on_many_blocks(threads, inputs, outputs, monkeypatch):
    """Several row blocks, a surface, rows in any order; the answer does not depend on the number of threads."""
    torch.manual_seed(0)
    shape = (40, 40, 40)
    grid = torch.arange(40)
    x, y = (a.reshape(-1) for a in torch.meshgrid(grid, grid, indexing="ij"))
    height = (20 + 8 * torch.sin(x / 5.0) + 6 * torch.cos(y / 7.0)).long()
    indices = torch.stack([torch.zeros_like(x), x, y, height], 1)[torch.randperm(1600)]
    features = torch.randn(1600, inputs, requires_grad=True)
    conv = SubMConv3d(inputs, outputs, 3)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: threads)
        out = conv(SparseTensor.create(features, indices, shape, 1)).features
        ours = gradients(out, features, conv.weight)
    pairs = reference.submanifold_pairs(indices, shape, 3)
    expected = ReferenceConv.apply(features, conv.weight.flatten(1, 3), pairs, 1600)
    assert close(out, expected)
    for a, b in zip(ours, gradients(expected, features, conv.weight), strict=True):
        assert close(a, b)


@pytest.mark.parametrize("kernel", [3, 5])
def test_map_holds_exactly_the_reference_pairs(kernel):
    indices = voxels(seed=3)
    made = maps.submanifold(indices.int().numpy(), SHAPE, kernel)
    assert (made.ptr % ROWS == 0).all()
    for k, (src, dst) in enumerate(reference.submanifold_pairs(indices, SHAPE, kernel)):
        lists = range(k, len(made.count), made.volume)
        ours = [np.stack([made.src, made.dst])[:, made.ptr[i] : made.ptr[i] + made.count[i]] for i in lists]
        assert {tuple(p) for p in np.concatenate(ours, 1).T} == set(zip(src.tolist(), dst.tolist(), strict=True))
    padding = np.concatenate([made.dst[made.ptr[i] + c : made.ptr[i + 1]] for i, c in enumerate(made.count)])
    assert (padding >= made.num_out).all()


def test_gradcheck():
    torch.manual_seed(0)
    indices = voxels(density=0.3, shape=(3, 3, 3), batch=1)
    x = torch.randn(len(indices), 2, dtype=torch.float64, requires_grad=True)
    down, up, subm = SparseConv3d(2, 3).double(), SparseInverseConv3d(3, 2).double(), SubMConv3d(2, 2, 3).double()

    def network(x, *weights):
        tensor = SparseTensor.create(x, indices, (3, 3, 3), 1)
        for module, weight in zip((down, up, subm), weights, strict=True):
            tensor = torch.func.functional_call(module, {"weight": weight}, (tensor,))
        return tensor.features

    assert torch.autograd.gradcheck(network, (x, down.weight, up.weight, subm.weight))


def test_maps_are_shared_by_layers_and_by_both_directions(monkeypatch):
    built = []
    original = maps.submanifold
    monkeypatch.setattr(maps, "submanifold", lambda *a: built.append(a[2]) or original(*a))
    indices = voxels()
    x = SparseTensor.create(torch.randn(len(indices), 4), indices, SHAPE, 2)
    conv, down, up = SubMConv3d(4, 4), SparseConv3d(4, 4), SparseInverseConv3d(4, 4)
    conv(up(conv(conv(down(conv(x))))))
    assert built == [3, 3]  # once per resolution


@pytest.mark.parametrize("count", [0, 1])
def test_no_voxel_and_one_voxel(count):
    indices = torch.tensor([[0, 2, 3, 4]])[:count]
    x = torch.randn(count, 6, requires_grad=True)
    subm, down, up = SubMConv3d(6, 16, 3), SparseConv3d(16, 32), SparseInverseConv3d(32, 8)
    y = up(down(subm(SparseTensor.create(x, indices, SHAPE, 1)))).features
    y.sum().backward()
    assert y.shape == (count, 8)
    assert x.grad is not None
    assert subm.weight.grad is not None
    assert torch.isfinite(subm.weight.grad).all()
    if count:
        only = x @ subm.weight[:, 1, 1, 1].T @ down.weight[:, 0, 1, 0].T @ up.weight[:, 0, 1, 0].T
        assert close(y, only)


def test_half_precision_on_the_cpu_computes_in_float32():
    indices = voxels()
    x, conv = torch.randn(len(indices), 16), SubMConv3d(16, 16)
    tensor = SparseTensor.create(x, indices, SHAPE, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(tensor.with_features(x.bfloat16())).features
    assert y.dtype == torch.float32
    assert close(y, conv(tensor).features, 2e-2)


def test_nan_stays_in_its_neighbourhood():
    """Padded list entries read row 0: a NaN there must not reach voxels that do not see it."""
    indices = torch.tensor([[0, 0, 0, 0], [0, 5, 5, 5], [0, 5, 5, 6]])
    x = torch.ones(3, 16)
    x[0] = torch.nan
    y = SubMConv3d(16, 16)(SparseTensor.create(x, indices, SHAPE, 1)).features
    assert torch.isnan(y[0]).all()
    assert torch.isfinite(y[1:]).all()


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([[0, 1, 2, 3], [0, 4, 4, 4], [0, 1, 2, 3]]), "one row per voxel, found 1 repeated"),
        (torch.tensor([[0, 1, 2, 3], [0, -1, 4, 4], [0, 1, 2, 4]]), "0 ≤"),
        (torch.tensor([[0, 1, 2, 3], [1, 1, 4, 4], [0, 1, 2, 4]]), "0 ≤"),
        (torch.tensor([[0, 1, 2, 3], [0, 9, 4, 4], [0, 1, 2, 4]]), "0 ≤"),
        (torch.zeros(3, 3, dtype=torch.long), "batch, x, y, z"),
        (torch.zeros(3, 4), "integers"),
    ],
)
def test_bad_indices(indices, message):
    with pytest.raises(InputError, match=message):
        SparseTensor.create(torch.zeros(3, 4), indices, SHAPE, 1)


def test_bad_layers_and_tensors():
    with pytest.raises(InputError, match="shape"):
        SparseTensor.create(torch.zeros(2, 4), torch.zeros(1, 4, dtype=torch.long), SHAPE, 1)
    for checked in (False, True):
        with pytest.raises(InputError, match="63 bits"):
            one = torch.zeros(1, 4, dtype=torch.long)
            SparseTensor.create(torch.zeros(1, 4), one, (2**31, 2**31, 2**31), 1, checked=checked)
    with pytest.raises(InputError, match="odd"):
        SubMConv3d(4, 4, 2)
    with pytest.raises(InputError, match="stride"):
        SparseConv3d(4, 4, 3, 2)
    with pytest.raises(InputError, match="output of a SparseConv3d"):
        SparseInverseConv3d(4, 4)(SparseTensor.create(torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.long), SHAPE, 1))
    with pytest.raises(InputError, match="auto, torch or spconv"):
        resolve_backend("cuda", torch.device("cpu"))


def test_missing_spconv_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spconv.pytorch", None)
    with pytest.raises(InputError, match=r"pip install gaussiancross\[cuda\]"):
        resolve_backend("spconv", torch.device("cpu"))
    assert resolve_backend("auto", torch.device("cpu")) == "torch"


@pytest.fixture
def spconv_on_cpu(monkeypatch):
    """spconv's CPU path: for tests only, and in one thread (with more its results are wrong)."""
    pytest.importorskip("spconv.pytorch", reason="spconv is not installed")
    import spconv.pytorch.ops as ops

    monkeypatch.setattr(ops, "get_current_stream", lambda: 0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("spconv_on_cpu")
@pytest.mark.filterwarnings("ignore")
def test_spconv_equals_torch():
    """Every layer kind in one small pyramid with shared maps: outputs, input and weight gradients, state dict."""
    torch.manual_seed(0)
    indices = voxels(density=0.15)
    inward = [SubMConv3d(6, 16, 5), SubMConv3d(16, 16), SparseConv3d(16, 24), SparseConv3d(24, 24)]
    outward = [SparseInverseConv3d(24, 24), SparseInverseConv3d(24, 8), SubMConv3d(8, 8, 1, bias=True)]
    layers = torch.nn.ModuleList([*inward, SubMConv3d(24, 24), *outward])
    results = []
    for backend in ("torch", "spconv"):
        x = torch.randn(len(indices), 6, generator=torch.Generator().manual_seed(5), requires_grad=True)
        y = SparseTensor.create(x, indices, SHAPE, 2, backend)
        for layer in layers:
            y = layer(y)
        gradient = torch.cos(torch.arange(y.features.numel())).view_as(y.features)
        results.append([y.features, *torch.autograd.grad(y.features, [x, *layers.parameters()], gradient)])
    for ours, theirs in zip(*results, strict=True):
        assert close(ours, theirs, 1e-4)
    assert set(layers.state_dict()) == {f"{i}.weight" for i in range(8)} | {"7.bias"}


@pytest.mark.usefixtures("spconv_on_cpu")
@pytest.mark.filterwarnings("ignore")
def test_spconv_layer_follows_a_copied_module():
    indices = voxels(density=0.1)
    x = SparseTensor.create(torch.randn(len(indices), 8), indices, SHAPE, 2, "spconv")
    conv = SubMConv3d(8, 8)
    first = conv(x).features
    twin = copy.deepcopy(conv)
    with torch.no_grad():
        twin.weight.mul_(2)
    assert close(conv(x).features, first)
    assert close(twin(x).features, 2 * first)
