"""CLIP-GS: Uni3D's numbers at the start, the tokenizer's branches, checkpoints, presets."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.models.clipgs import ClipGS, ClipGSConfig
from gaussiancross.core.models.clipgs_config import BASE, LARGE, SMALL, TINY
from gaussiancross.core.models.uni3d import UNUSED, load_uni3d
from gaussiancross.core.nn.gs_tokenizer import (
    CHANNELS,
    PatchEncoder,
    RefineEncoder,
    linear_and_norm,
    make_patches,
    patch_maximum,
)
from gaussiancross.core.nn.point_transformer import EvaBlock
from torch.nn import functional as F

GOLDEN_CONFIG = replace(TINY, gaussians=2048, groups=128, group_size=32)
SMALLEST = ClipGSConfig(width=24, depth=2, heads=2, embed_dim=16, gaussians=128, groups=8, group_size=16)


class Constant(torch.nn.Module):
    """Gives a constant in the shape of its input."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, self.value)


def drawn(key, shape):
    """The golden vectors' weight of a name."""
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_mean"):
        values = 0.1 * rng.standard_normal(shape)
    elif key.endswith("running_var"):
        values = 0.5 + rng.random_sample(shape)
    elif len(shape) == 0:
        values = np.ones(())
    elif len(shape) >= 2:
        values = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif key.endswith("weight"):
        values = 1 + 0.1 * rng.standard_normal(shape)
    else:
        values = 0.1 * rng.standard_normal(shape)
    return torch.from_numpy(np.asarray(values, np.float32))


@pytest.fixture(scope="module")
def golden(shared_data):
    path = shared_data / "golden" / "uni3d_tiny.npz"
    if not path.exists():
        pytest.skip("no golden vectors of Uni3D")
    card = json.loads(path.with_suffix(".json").read_text())
    state = {e["key"]: drawn(e["key"], tuple(e["shape"])) for e in card["state_dict"]}
    return np.load(path), state


@pytest.fixture(scope="module")
def checkpoint(golden, tmp_path_factory):
    """A file as Uni3D released it."""
    path = tmp_path_factory.mktemp("uni3d") / "model.pt"
    torch.save({"module": golden[1], "epoch": 3}, path)
    return path


def as_gaussians(points, seed=0):
    """Coloured points [B, N, 6] with drawn opacities, scales and rotations: [B, N, 14]."""
    rest = torch.randn(*points.shape[:2], 8, generator=torch.Generator().manual_seed(seed))
    return torch.cat([torch.as_tensor(points), rest], -1)


class TestUni3D:
    @pytest.mark.parametrize("tokenizer", ["gs", "all", "points"])
    def test_equals_uni3d_before_training(self, golden, checkpoint, tokenizer):
        arrays, _ = golden
        model = ClipGS(replace(GOLDEN_CONFIG, tokenizer=tokenizer)).eval()
        load_uni3d(model, checkpoint)
        given = as_gaussians(arrays["points"])
        with torch.no_grad():
            embed = model.point_encoder(given).numpy()
            np.testing.assert_allclose(embed, arrays["embed"], atol=5e-5)
            np.testing.assert_allclose(model(given).numpy(), arrays["embed_norm"], atol=2e-6)
            # embeddings of these weights are nearly parallel: what sets the clouds apart must be right, too
            np.testing.assert_allclose(embed[1] - embed[0], arrays["embed"][1] - arrays["embed"][0], atol=5e-5)

    def test_equals_uni3d_inside(self, golden, checkpoint):
        arrays, _ = golden
        model = ClipGS(GOLDEN_CONFIG).eval()
        load_uni3d(model, checkpoint)
        encoder = model.point_encoder
        with torch.no_grad():
            patches = make_patches(as_gaussians(arrays["points"]), 128, 32)
            np.testing.assert_array_equal(patches.centers.numpy(), arrays["center"])
            tokens = encoder.tokens(patches.values)
            np.testing.assert_allclose(tokens.numpy(), arrays["tokens"], atol=1e-5)
            np.testing.assert_allclose(encoder.encoder2trans(tokens).numpy(), arrays["tokens_trans"], atol=1e-5)
            np.testing.assert_allclose(encoder.pos_embed(patches.centers).numpy(), arrays["pos"], atol=1e-5)
            start = (encoder.cls_token + encoder.cls_pos).expand(3, -1, -1)
            given = torch.from_numpy(arrays["tokens_trans"] + arrays["pos"])
            block = encoder.visual.blocks[0](torch.cat([start, given], 1))
            np.testing.assert_allclose(block.numpy(), arrays["block0"], atol=1e-5)

    def test_names_are_uni3ds(self, golden):
        own = {k: tuple(v.shape) for k, v in ClipGS(GOLDEN_CONFIG).state_dict().items()}
        added = {k for k in own if k.startswith("point_encoder.refine.")}
        theirs = {k: tuple(v.shape) for k, v in golden[1].items() if not k.startswith(UNUSED)}
        assert {k: v for k, v in own.items() if k not in added} == theirs
        assert added

    @pytest.mark.parametrize(("name", "config"), [("tiny", TINY), ("small", SMALL), ("base", BASE), ("large", LARGE)])
    def test_sizes(self, shared_data, name, config):
        """Names and shapes of every released size; of repeated blocks the list has the first."""
        keys = shared_data.parent / "spec" / "uni3d-keys.txt"
        if not keys.exists():
            pytest.skip("no list of Uni3D's keys")
        section = keys.read_text().split(f"===== {name} ")[1].split("=====")[0]
        listed = {}
        for line in section.splitlines():
            key, _, shape = line.strip().partition(" ")
            if key == "logit_scale" or key.startswith("point_encoder."):
                listed[key] = tuple(json.loads(shape.replace("(", "[").replace(",)", ")").replace(")", "]")))
        with torch.device("meta"):
            model = ClipGS(replace(config, tokenizer="points"))
        own = {k: tuple(v.shape) for k, v in model.state_dict().items()}
        first = {k: v for k, v in own.items() if ".blocks." not in k or ".blocks.0." in k}
        assert first == {k: v for k, v in listed.items() if not k.startswith(UNUSED)}
        assert sum(".blocks." in k for k in own) == config.depth * sum(".blocks.0." in k for k in own)
        used = float(section.split(" used ")[1].split()[0])
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(used, abs=0.02)

    def test_released_files_are_half_precision(self, golden, tmp_path):
        path = tmp_path / "model.pt"
        torch.save({"module": {f"module.{k}": v.half() for k, v in golden[1].items()}}, path)
        model = ClipGS(GOLDEN_CONFIG)
        load_uni3d(model, path)
        weight = golden[1]["point_encoder.trans2embed.weight"]
        assert model.point_encoder.trans2embed.weight.dtype == torch.float32
        torch.testing.assert_close(model.point_encoder.trans2embed.weight.detach(), weight.half().float())

    def test_bad_checkpoints_are_named(self, golden, checkpoint, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            load_uni3d(ClipGS(SMALLEST), tmp_path / "none.pt")
        with pytest.raises(InputError, match="choose the preset of its size"):
            load_uni3d(ClipGS(SMALLEST), checkpoint)
        cut = tmp_path / "cut.pt"
        cut.write_bytes(checkpoint.read_bytes()[:5000])
        with pytest.raises(InputError, match="cannot be read"):
            load_uni3d(ClipGS(SMALLEST), cut)
        torch.save({"module": {"a": torch.zeros(1)}}, cut)
        with pytest.raises(InputError, match="1 tensors of other names"):
            load_uni3d(ClipGS(SMALLEST), cut)
        state = dict(golden[1])
        state.pop("point_encoder.cls_pos")
        torch.save({"module": state}, cut)
        with pytest.raises(InputError, match=r"no point_encoder\.cls_pos"):
            load_uni3d(ClipGS(GOLDEN_CONFIG), cut)

    def test_code_in_a_checkpoint_does_not_run(self, tmp_path):
        path, mark = tmp_path / "evil.pt", tmp_path / "ran"

        class Evil:
            def __reduce__(self):
                return (Path.touch, (mark,))

        torch.save({"module": Evil()}, path)
        with pytest.raises(InputError, match="cannot be read"):
            load_uni3d(ClipGS(SMALLEST), path)
        assert not mark.exists()


class TestTokenizer:
    def test_network_input_of_the_tokenizer(self):
        given = torch.tensor([0.1, 0.2, 0.3, 1, 0.5, 0, 0.0, 0, -20, 2, 0, 0, 0, 3])
        seen = linear_and_norm(given)
        expected = [0.1, 0.2, 0.3, 1, 0.5, 0, 0.5, 0.5, 0, 0.880797]
        torch.testing.assert_close(seen[:10], torch.tensor(expected), atol=1e-5, rtol=0)
        half_turn = torch.tensor([-1.0, 0, 0, 0, -1, 0, 0, 0, 1])
        torch.testing.assert_close(seen[10:], half_turn)

    @pytest.mark.parametrize("training", [True, False])
    def test_rows_equal_convolutions(self, training):
        """Both branches against torch's own convolutions and batch norms, forward and backward."""
        torch.manual_seed(0)
        for branch, channels in ((PatchEncoder(6), 6), (RefineEncoder(), CHANNELS)):
            for module in branch.modules():
                if isinstance(module, torch.nn.BatchNorm1d):
                    torch.nn.init.normal_(module.weight, 1, 0.2)
                    torch.nn.init.normal_(module.bias, 0, 0.2)
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.5, 1.5)
            branch.train(training).double()
            patches = torch.randn(5, 16, channels, dtype=torch.float64)
            before = {k: v.clone() for k, v in branch.state_dict().items()}
            a = branch(patches)
            a.square().sum().backward()
            # A bias before batch norm in training has none instead of rounding errors.
            grads = {k: torch.zeros_like(p) if p.grad is None else p.grad for k, p in branch.named_parameters()}
            after = {k: v.clone() for k, v in branch.state_dict().items()}
            branch.load_state_dict(before)
            branch.zero_grad(set_to_none=True)
            x = patches.transpose(1, 2)
            if isinstance(branch, PatchEncoder):
                local = branch.first_conv(x)
                pooled = local.amax(2, keepdim=True).expand_as(local)
                b = branch.second_conv(torch.cat([pooled, local], 1)).amax(2)
            else:
                for i, (conv, norm) in enumerate(zip(branch.convs, branch.norms, strict=True)):
                    x = norm(conv(x))
                    x = F.relu(x) if i < 3 else x
                b = x.amax(2)
            torch.testing.assert_close(a, b)
            b.square().sum().backward()
            for name, parameter in branch.named_parameters():
                torch.testing.assert_close(grads[name], parameter.grad, atol=1e-9, rtol=1e-7, msg=name)
            for name, value in branch.state_dict().items():  # running statistics, too
                torch.testing.assert_close(after[name], value)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_equal_maxima_share_their_gradient(self, dtype):
        x = torch.randint(0, 4, (6, 5, 7)).to(dtype).requires_grad_()
        weight = torch.randint(-8, 8, (6, 7)).to(dtype)
        (patch_maximum(x) * weight).sum().backward()
        found, x.grad = x.grad, None
        (x.amax(1) * weight).sum().backward()
        torch.testing.assert_close(found, x.grad)

    def test_parts_equal_the_whole(self):
        branch = PatchEncoder(6).eval()
        patches = torch.randn(300, 32, 6)
        with torch.no_grad():
            parts = branch(patches)
        torch.testing.assert_close(parts, branch(patches).detach(), atol=1e-5, rtol=1e-5)

    def test_refinement_starts_at_zero_and_learns(self):
        torch.manual_seed(0)
        model = ClipGS(SMALLEST).train()
        given = as_gaussians(torch.rand(4, 128, 6) - 0.5)
        (model(given) * torch.randn(4, 16)).sum().backward()
        refine = model.point_encoder.refine
        assert float(refine.norms[-1].weight.grad.abs().max()) > 0
        values = make_patches(given, 8, 16).values.flatten(0, 1)
        assert float(refine(values).detach().abs().max()) == 0
        torch.optim.SGD(model.parameters(), 1.0).step()
        assert float(refine(values).detach().abs().max()) > 0

    def test_every_attribute_and_the_order_count_once_trained(self):
        torch.manual_seed(0)
        model = ClipGS(SMALLEST).eval()
        torch.nn.init.ones_(model.point_encoder.refine.norms[-1].weight)
        given = as_gaussians(torch.rand(1, 128, 6) - 0.5)
        base = model(given)
        for column in range(14):
            other = given.clone()
            other[..., column] += 0.3
            assert float((model(other) - base).detach().abs().max()) > 1e-6, column
        assert torch.allclose(model(given * torch.tensor([1.0] * 10 + [2.0] * 4)), base, atol=1e-5)  # quaternion length
        xyz = ClipGS(replace(SMALLEST, order="xyz")).eval()
        xyz.load_state_dict(model.state_dict())
        assert float((xyz(given) - base).detach().abs().max()) > 1e-6

    def test_order_of_the_gaussians_does_not_matter_much(self):
        """Only the first point, where sampling starts, does."""
        model = ClipGS(SMALLEST).eval()
        given = as_gaussians(torch.rand(1, 128, 6) - 0.5)
        mixed = given[:, torch.cat([torch.tensor([0]), 1 + torch.randperm(127)])]
        torch.testing.assert_close(model(mixed), model(given), atol=1e-5, rtol=1e-4)


class TestModel:
    def test_training_draws(self):
        config = replace(SMALLEST, drop_path=0.5, patch_dropout=0.5)
        model, given = ClipGS(config).train(), as_gaussians(torch.rand(3, 128, 6) - 0.5)
        torch.manual_seed(1)
        first = model(given)
        torch.manual_seed(1)
        assert torch.equal(first, model(given))
        assert not torch.equal(first, model(given))
        model.eval()
        assert torch.equal(model(given), model(given))

    def test_drop_path_keeps_the_mean(self):
        torch.manual_seed(0)
        block = EvaBlock(8, 2, True, 0.3).train()
        block.attn, block.mlp = Constant(1), Constant(0)  # what the branches add to the input
        dropped = block(torch.zeros(20_000, 1, 8))[..., :1]
        assert dropped.unique().numel() == 2 and float(dropped.mean()) == pytest.approx(1, abs=0.02)

    def test_temperature_is_clamped(self):
        model = ClipGS(SMALLEST)
        assert float(model.temperature()) == pytest.approx(1 / 0.07, rel=1e-5)
        for value, expected in ((-3.0, 1.0), (9.0, 100.0)):
            torch.nn.init.constant_(model.logit_scale, value)
            assert float(model.temperature()) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("shape", [(2, 128, 13), (128, 14), (1, 5, 14)])
    def test_refuses(self, shape):
        with pytest.raises(InputError, match="attributes"):
            ClipGS(SMALLEST)(torch.zeros(shape))

    @pytest.mark.parametrize("changes", [{"heads": 5}, {"gaussians": 8}, {"patch_dropout": 1.0}, {"groups": 0}])
    def test_refuses_configs(self, changes):
        with pytest.raises(InputError):
            replace(SMALLEST, **changes)

    def test_half_precision_embeds_alike(self, golden, checkpoint):
        model = ClipGS(GOLDEN_CONFIG).eval()
        load_uni3d(model, checkpoint)
        given = as_gaussians(golden[0]["points"])
        with torch.no_grad():
            with torch.autocast("cpu", torch.bfloat16):
                half = model(given)
            assert half.dtype == torch.float32
            assert float(F.cosine_similarity(half, model(given)).min()) > 0.999


@pytest.mark.gpu
def test_cuda_embeds_as_the_cpu_does():
    torch.manual_seed(0)
    model, given = ClipGS(GOLDEN_CONFIG).eval(), as_gaussians(torch.rand(2, 2048, 6) - 0.5)
    with torch.no_grad():
        expected = model(given)
        torch.testing.assert_close(model.cuda()(given.cuda()).cpu(), expected, atol=1e-3, rtol=0)
