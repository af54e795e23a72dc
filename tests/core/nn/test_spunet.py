"""SpUNet against the reference's own weights and outputs, and the dense U-Net."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.core.nn.stages import linear_of_stages
from gaussiancross.core.nn.unet3d import UNet3d
from helpers.paths import SHARED_DATA
from torch import Tensor, nn

SHARED = SHARED_DATA.parent
KEYS, GOLDEN = SHARED / "spec" / "spunet-keys.json", SHARED / "data" / "golden" / "spunet.npz"
SMALL = {"base_channels": 8, "channels": (8, 16, 16, 24, 24, 16, 16, 12), "layers": (1,) * 8}


def fill_from_keys(module: nn.Module) -> None:
    """The golden files' weights: every tensor drawn from a generator seeded by its key."""
    for key, tensor in module.state_dict().items():
        rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
        shape = tuple(tensor.shape)
        if key.endswith("num_batches_tracked"):
            value = np.zeros(shape)
        elif len(shape) >= 2:
            value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif key.endswith("running_mean"):
            value = 0.1 * rng.standard_normal(shape)
        elif key.endswith("running_var"):
            value = 0.5 + rng.random_sample(shape)
        elif key.endswith("weight"):
            value = 1 + 0.1 * rng.standard_normal(shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        tensor.copy_(torch.from_numpy(value.astype(np.float32)))


def scene(seed: int = 0, size: int = 24) -> Tensor:
    """[N, 3] the voxels of a floor and two walls with a hole, shuffled, far from the origin on the negative side."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randint(0, size, (3 * size * size, 3), generator=generator)
    for axis in range(3):
        points[axis * size * size : (axis + 1) * size * size, axis] = 0
    points = torch.unique(points, dim=0)
    return points[torch.randperm(len(points), generator=generator)] - 1000


def batch_of(*scenes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    coord = torch.cat(scenes)
    feat = torch.sin(coord.float() @ torch.randn(3, 6, generator=torch.Generator().manual_seed(0)))
    return coord, feat, torch.tensor([len(s) for s in scenes]).cumsum(0)


@pytest.fixture(scope="module")
def full() -> SpUNet:
    net = SpUNet()
    fill_from_keys(net)
    return net.eval()


def test_parameter_count(full):
    assert sum(p.numel() for p in full.parameters()) == 39_155_904


@pytest.mark.skipif(not KEYS.exists(), reason="the key list of the reference is not here")
def test_state_dict_is_the_references(full):
    assert {k: list(v.shape) for k, v in full.state_dict().items()} == json.loads(KEYS.read_text())


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden vectors are not here")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["torch", "spconv"])
def test_golden(full, backend, monkeypatch):
    """Outputs of the reference implementation with its weights, on both backends (spconv's on its CPU path)."""
    if backend == "spconv":
        pytest.importorskip("spconv.pytorch", reason="spconv is not installed")
        import spconv.pytorch.ops as ops

        monkeypatch.setattr(ops, "get_current_stream", lambda: 0)
    golden = np.load(GOLDEN)
    coord, feat, offset = (torch.from_numpy(golden[k]) for k in ("grid_coord", "feat", "offset"))
    monkeypatch.setattr(full, "backend", backend)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if backend == "spconv" else threads)  # spconv's CPU path is wrong with more
    try:
        with torch.no_grad():
            output = full(coord, feat, offset)
    finally:
        torch.set_num_threads(threads)
    assert np.abs(output.numpy() - golden["output"]).max() < 1e-5


def test_scenes_do_not_mix_and_place_does_not_matter():
    """In eval mode a batch gives what each scene alone gives, in the order of its rows, wherever the scene lies."""
    net = SpUNet(6, **SMALL).eval()
    a, b = scene(0), scene(1, 15)
    coord, feat, offset = batch_of(a, b)
    with torch.no_grad():
        together = net(coord, feat, offset)
        alone = net(b + torch.tensor([16, 4000, -160]), feat[len(a) :], torch.tensor([len(b)]))
        order = torch.randperm(len(b))
        shuffled = net(b[order], feat[len(a) :][order], torch.tensor([len(b)]))
    assert together.shape == (len(coord), 12)
    assert torch.allclose(together[len(a) :], alone, atol=1e-6)
    assert torch.allclose(alone[order], shuffled, atol=1e-6)


def test_fast_path_trains_like_the_reference():
    """Float32 kernels against the float64 reference through the whole network: output and every gradient."""
    torch.manual_seed(0)
    net = SpUNet(6, **SMALL)
    exact = SpUNet(6, **SMALL).double()
    exact.load_state_dict(net.state_dict())
    coord, feat, offset = batch_of(scene(0, 16), scene(1, 20))
    outputs = []
    for model, dtype in ((net, torch.float32), (exact, torch.float64)):
        y = model(coord, feat.to(dtype), offset)
        (y * torch.cos(torch.arange(y.numel(), dtype=dtype)).view_as(y)).sum().backward()
        outputs.append(y)
    assert torch.allclose(outputs[0].double(), outputs[1], atol=1e-4)
    for (name, p), q in zip(net.named_parameters(), exact.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None, name
        assert (p.grad.double() - q.grad).norm() <= 1e-3 * q.grad.norm() + 1e-6, name


def test_stages_are_constant_in_their_cells():
    net = SpUNet(6, **SMALL).eval()
    coord, feat, offset = batch_of(scene(0, 20), scene(1, 9))
    with torch.no_grad():
        whole = net.stages(coord, feat, offset)
        stages = whole.spread()
        output = net(coord, feat, offset)
        for level, parent in enumerate(whole.parents):
            assert len(parent) == whole.count(level) == int(whole.cells[level].max()) + 1
            assert torch.equal(parent[whole.cells[level]], whole.cells[level + 1])
    assert [s.shape[1] for s in stages] == [8, 8, 16, 16, 24, 24, 16, 16, 12]
    assert torch.equal(stages[-1], output)
    scene_of = (torch.arange(len(coord)) >= offset[0]).long()
    cells = torch.cat([scene_of[:, None], (coord + 1000) // 16], 1)  # both scenes start at −1000
    _, cell = torch.unique(cells, dim=0, return_inverse=True)
    for value in cell.unique():
        mine = stages[4][cell == value]
        assert torch.equal(mine, mine[:1].expand_as(mine))
    assert len(torch.unique(stages[4], dim=0)) == int(cell.max()) + 1


@pytest.mark.parametrize("which", [slice(None), slice(5)])
def test_a_linear_head_reads_stages_at_their_own_resolution(which):
    """Against the head on the whole hypercolumn: outputs, gradients and running statistics over three steps."""
    torch.manual_seed(0)
    net, width = SpUNet(6, **SMALL).train(), sum([8, 8, 16, 16, 24, 24, 16, 16, 12][which])
    plain = torch.nn.BatchNorm1d(width, affine=False), torch.nn.Linear(width, 5)
    fast = torch.nn.BatchNorm1d(width, affine=False), torch.nn.Linear(width, 5)
    fast[1].load_state_dict(plain[1].state_dict())
    for seed in range(3):
        coord, feat, offset = batch_of(scene(seed, 20), scene(seed + 7, 9))
        grads, outputs = [], []
        for norm, linear in (plain, fast):
            norm.momentum = None if seed == 2 else 0.3
            stages = net.stages(coord, feat, offset)[which]
            if norm is plain[0]:
                y = linear(norm(torch.cat(stages.spread(), 1)))
            else:
                y = linear_of_stages(stages, norm, linear)
            loss = (y * torch.cos(torch.arange(y.numel())).view_as(y)).sum()
            grads.append(torch.autograd.grad(loss, [*stages.features, linear.weight, linear.bias]))
            outputs.append(y)
        assert torch.allclose(*outputs, atol=1e-4)
        for a, b in zip(*grads, strict=True):
            assert (a - b).norm() <= 1e-4 * a.norm() + 1e-6
    for key, value in plain[0].state_dict().items():
        assert torch.allclose(value.double(), fast[0].state_dict()[key].double(), rtol=1e-4, atol=1e-5), key
    for norm in (plain[0], fast[0]):
        norm.eval()
    with torch.no_grad():
        stages = net.stages(*batch_of(scene(4, 12)))[which]
        expected = plain[1](plain[0](torch.cat(stages.spread(), 1)))
        assert torch.allclose(linear_of_stages(stages, *fast), expected, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.allclose(linear_of_stages(stages, *fast), expected, atol=1e-4)


def test_tiny_scenes_train():
    """One voxel at the deepest level has no variance; no voxel at all is a batch too."""
    net = SpUNet(6, **SMALL).train()
    coord = torch.tensor([[5, 5, 5]])
    y = net(coord, torch.ones(1, 6), torch.tensor([1]))
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert net(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 6), torch.tensor([0])).shape == (0, 12)
    room = scene(0, 8)
    n = len(room)
    between = net(torch.cat([room, coord]), torch.ones(n + 1, 6), torch.tensor([0, n, n, n + 1]))  # two empty scenes
    assert torch.isfinite(between).all()


def test_bad_input():
    net = SpUNet(6, **SMALL)
    coord, feat, offset = batch_of(scene(0, 8))
    with pytest.raises(InputError, match="feat"):
        net(coord, feat[:, :3], offset)
    with pytest.raises(InputError, match="cumulative counts"):
        net(coord, feat, offset - 1)
    with pytest.raises(InputError, match="one row per voxel"):
        net(torch.cat([coord, coord[:1]]), torch.cat([feat, feat[:1]]), offset + 1)
    with pytest.raises(InputError, match="channels and layers"):
        SpUNet(6, channels=(32, 64))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_unet3d(norm):
    torch.manual_seed(0)
    net = UNet3d(12, 5, (8, 16, 32), norm)
    x = torch.randn(2, 12, 8, 12, 4, requires_grad=True)
    y = net(x)
    y.square().mean().backward()
    assert y.shape == (2, 5, 8, 12, 4)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    alone = net(x[:1])
    assert torch.allclose(alone, y[:1], atol=1e-5) == (norm == "group")
    with pytest.raises(InputError, match="multiples of 4"):
        net(torch.zeros(1, 12, 8, 8, 6))


def test_unet3d_sees_far_and_keeps_detail():
    """A cell reaches its neighbours beyond one 3³ kernel (down and up), and the skips keep it sharp."""
    torch.manual_seed(0)
    net = UNet3d(4, 1, (8, 16), "batch").eval()
    x = torch.randn(1, 4, 16, 16, 16, requires_grad=True)
    net(x)[0, 0, 8, 8, 8].backward()
    assert x.grad is not None
    reach = x.grad[0].abs().sum((0, 2, 3)).nonzero()
    assert int(reach.max()) - int(reach.min()) >= 8


def test_unet3d_paper_widths():
    assert sum(p.numel() for p in UNet3d(96, 128).parameters()) > 5_000_000


def test_own_statistics_make_eval_equal_training_and_leave_the_running_ones():
    torch.manual_seed(0)
    net = SpUNet(channels=(16,) * 8, layers=(1,) * 8, base_channels=16, own_statistics=True)
    grid = torch.unique(torch.randint(0, 40, (500, 3)), dim=0)
    given = grid, torch.randn(len(grid), 6), torch.tensor([len(grid)])
    before = {k: v.clone() for k, v in net.state_dict().items()}
    evaluated = net.eval()(*given)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.allclose(evaluated, net.train()(*given), atol=1e-5)
