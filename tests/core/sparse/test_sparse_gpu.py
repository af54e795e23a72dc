"""On a CUDA device: spconv against the reference, forward and backward, in full and in mixed precision."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.core.sparse import SparseConv3d, SparseInverseConv3d, SparseTensor, SubMConv3d
from torch import Tensor, nn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
SMALL = {"base_channels": 16, "channels": (16, 32, 32, 48, 48, 32, 32, 32), "layers": (1,) * 8}


@pytest.fixture(autouse=True)
def exact_products():
    """Full float32 in every matrix product; spconv does so by default."""
    pytest.importorskip("spconv.pytorch", reason="spconv is not installed")
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def voxels(shape: tuple[int, int, int] = (33, 34, 35), density: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    indices = (torch.rand(2, *shape, generator=generator) < density).nonzero()
    return indices[torch.randperm(len(indices), generator=generator)].cuda()


def surface() -> tuple[Tensor, Tensor, Tensor]:
    """grid_coord, feat, offset of two wavy sheets."""
    a, b = (v.reshape(-1) for v in torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij"))
    coord = torch.stack([a, b, (10 + 5 * torch.sin(a / 7) + 4 * torch.cos(b / 5)).long()], 1)
    coord = torch.cat([coord, coord - 500]).cuda()
    feat = torch.randn(len(coord), 6, generator=torch.Generator().manual_seed(0)).cuda()
    return coord, feat, torch.tensor([len(a), 2 * len(a)]).cuda()


def relative(a: Tensor, b: Tensor) -> float:
    return float((a.double().cpu() - b.double().cpu()).norm() / b.double().norm().cpu().clamp_min(1e-12))


def test_layers_equal_the_reference():
    """All layer kinds in one pyramid: outputs, input and weight gradients. Rows of coarse grids may differ in order;
    the way back up restores it."""
    torch.manual_seed(0)
    indices = voxels()
    layers = nn.ModuleList(
        [
            SubMConv3d(6, 16, 5),
            SubMConv3d(16, 16),
            SparseConv3d(16, 32),
            SubMConv3d(32, 32),
            SparseInverseConv3d(32, 16),
            SubMConv3d(16, 8, 1, bias=True),
        ]
    ).cuda()
    results = []
    for backend in ("torch", "spconv"):
        x = torch.randn(len(indices), 6, generator=torch.Generator().manual_seed(5)).cuda().requires_grad_()
        y = SparseTensor.create(x, indices, (33, 34, 35), 2, backend)
        for layer in layers:
            y = layer(y)
        g = torch.cos(torch.arange(y.features.numel(), device="cuda")).view_as(y.features)
        results.append([y.features, *torch.autograd.grad(y.features, [x, *layers.parameters()], g)])
    for torch_result, spconv_result in zip(*results, strict=True):
        assert relative(spconv_result, torch_result) < 1e-4


def test_cpu_kernels_equal_spconv():
    """The network on the CPU and on the device, same weights."""
    torch.manual_seed(0)
    net = SpUNet(6, **SMALL).eval()
    coord, feat, offset = surface()
    with torch.no_grad():
        on_cpu = net(coord.cpu(), feat.cpu(), offset.cpu())
        on_device = net.cuda()(coord, feat, offset)
    assert relative(on_device, on_cpu) < 1e-4


@pytest.mark.parametrize("backend", ["torch", "spconv"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.03), (torch.bfloat16, 0.15)])
def test_autocast_trains(backend, dtype, tolerance):
    """Forward and backward run in mixed precision, stay finite and near float32; parameters get float32 gradients."""
    torch.manual_seed(0)
    net = SpUNet(6, **SMALL, backend=backend).cuda()
    coord, feat, offset = surface()
    exact = net(coord, feat, offset)
    with torch.autocast("cuda", dtype):
        y = net(coord, feat, offset)
    y.float().square().mean().backward()
    assert relative(y, exact) < tolerance
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32, name
        assert torch.isfinite(parameter.grad).all(), name


def test_gradients_after_inference_on_the_same_voxels():
    """Maps made in eval mode serve a backward pass too."""
    indices = voxels()
    conv = SubMConv3d(8, 8).cuda().eval()
    x = SparseTensor.create(torch.randn(len(indices), 8, device="cuda"), indices, (33, 34, 35), 2)
    with torch.no_grad():
        conv(x)
    conv(x).features.sum().backward()
    assert conv.weight.grad is not None
    assert torch.isfinite(conv.weight.grad).all()
