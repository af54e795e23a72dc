"""Weights of Pointcept's checkpoints and of other files, in and out."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.torch_files import read_weights
from gaussiancross.core.nn.pointcept import read_pointcept, to_pointcept
from gaussiancross.core.nn.spunet import SpUNet
from helpers.networks import same_weights, small_backbone
from safetensors.torch import save_file


class Scheduler:
    """Stands for a class that a training framework pickles beside the weights."""

    def __init__(self) -> None:
        self.best = np.float64(0.7)

    def __reduce__(self):
        return (print, ("this file was run",), self.__dict__)


# --- Pointcept's files ----------------------------------------------------------------------------------------------
class TestPointcept:
    @pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone.", "module.student.backbone."])
    def test_backbone_is_found_under_any_prefix(self, tmp_path, prefix):
        net = small_backbone()
        weights = {prefix + k: v for k, v in net.state_dict().items()}
        extra = {prefix + "final.weight": torch.zeros(20, 1, 1, 1, 12), "module.mask_token": torch.zeros(1, 6)}
        torch.save({"epoch": 3, "state_dict": weights | extra}, tmp_path / "model.pth")
        found = read_pointcept(tmp_path / "model.pth")
        assert found.prefix == prefix and set(found.left_out) == set(extra) and not found.filled
        assert same_weights(found.backbone, net) and not found.backbone.training

    def test_code_pickled_beside_the_weights_is_not_run(self, tmp_path, capsys):
        net = small_backbone()
        content = {"best": np.float64(0.5), "scheduler": {"s": Scheduler()}, "time": np.datetime64("2025-01-01")}
        torch.save(content | {"state_dict": net.state_dict()}, tmp_path / "model_last.pth")
        assert same_weights(read_pointcept(tmp_path / "model_last.pth").backbone, net)
        assert "this file was run" not in capsys.readouterr().out

    def test_every_wrong_key_is_named(self, tmp_path):
        weights = {f"backbone.{k}": v for k, v in small_backbone().state_dict().items()}
        del weights["backbone.enc.0.block0.conv1.weight"], weights["backbone.dec.3.block0.bn2.bias"]
        weights["backbone.enc.1.block0.norm.gain"] = torch.zeros(3)
        weights["backbone.up.0.1.bias"] = torch.zeros(5)
        torch.save(weights, tmp_path / "model.pth")
        with pytest.raises(InputError) as caught:
            read_pointcept(tmp_path / "model.pth")
        assert "2 missing (enc.0.block0.conv1.weight, dec.3.block0.bn2.bias)" in str(caught.value)
        assert "1 unexpected (enc.1.block0.norm.gain)" in str(caught.value)
        assert "1 of another shape (up.0.1.bias [5] instead of [12])" in str(caught.value)

    def test_counters_of_older_files_are_filled(self, tmp_path):
        net = small_backbone()
        weights = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
        torch.save(weights, tmp_path / "model.pth")
        found = read_pointcept(tmp_path / "model.pth")
        assert same_weights(found.backbone, net) and len(found.filled) == len(net.state_dict()) - len(weights)

    def test_several_backbones_need_a_choice(self, tmp_path):
        teacher, student = small_backbone(), small_backbone(in_channels=3)
        weights = {f"teacher.{k}": v for k, v in teacher.state_dict().items()}
        weights |= {f"student.{k}": v for k, v in student.state_dict().items()}
        torch.save({"state_dict": weights}, tmp_path / "model.pth")
        with pytest.raises(InputError, match=r"found 2 at the prefixes \['student.', 'teacher.'\]; choose one"):
            read_pointcept(tmp_path / "model.pth")
        assert same_weights(read_pointcept(tmp_path / "model.pth", "student.").backbone, student)
        with pytest.raises(InputError, match=r"a weight other\.conv_input"):
            read_pointcept(tmp_path / "model.pth", "other.")

    def test_the_layout_of_spconv_1_is_refused(self, tmp_path):
        weights = small_backbone().state_dict()
        weights["conv_input.0.weight"] = weights["conv_input.0.weight"].permute(1, 2, 3, 4, 0)
        torch.save(weights, tmp_path / "model.pth")
        with pytest.raises(InputError, match="layout of spconv 1"):
            read_pointcept(tmp_path / "model.pth")

    def test_half_precision_becomes_single(self, tmp_path):
        torch.save({k: v.half() for k, v in small_backbone().state_dict().items()}, tmp_path / "model.pth")
        net = read_pointcept(tmp_path / "model.pth").backbone
        assert {p.dtype for p in net.parameters()} == {torch.float32}

    def test_an_export_has_the_layout_of_pointcept(self, tmp_path):
        net = small_backbone()
        torch.save(to_pointcept(net), tmp_path / "out.pth")
        content = torch.load(tmp_path / "out.pth", weights_only=True)
        assert set(content["state_dict"]) == {f"backbone.{k}" for k in net.state_dict()}
        assert same_weights(read_pointcept(tmp_path / "out.pth").backbone, net)

    def test_features_are_those_of_pointcept(self, tmp_path, shared_data):
        """The recorded weights, written as a release is, through `convert` and back, give the recorded output."""
        weights = {}
        for key, shape in json.loads((shared_data.parent / "spec" / "spunet-keys.json").read_text()).items():
            weights[f"module.backbone.{key}"] = recorded_weight(key, tuple(shape))
        torch.save({"epoch": 1, "best_metric_value": np.float64(0.7), "state_dict": weights}, tmp_path / "last.pth")
        out = tmp_path / "converted"
        assert cli.main(["convert", str(tmp_path / "last.pth"), "--out", str(out)]) == 0
        net = SpUNet.from_pretrained(out)
        assert sum(p.numel() for p in net.parameters()) == 39_155_904
        golden = np.load(shared_data / "golden" / "spunet.npz", allow_pickle=False)
        with torch.no_grad():
            output = net(*(torch.from_numpy(golden[name]) for name in ("grid_coord", "feat", "offset")))
        assert np.abs(output.numpy() - golden["output"]).max() < 1e-4


def recorded_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if len(shape) >= 2:
        value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif key.endswith("running_var"):
        value = 0.5 + rng.random_sample(shape)
    else:
        value = float(key.endswith("weight")) + 0.1 * rng.standard_normal(shape)
    return torch.from_numpy(value.astype(np.float32))


class TestReadWeights:
    @pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
    def test_containers(self, tmp_path, key):
        torch.save({key: {"a": torch.ones(2)}, "lr": 0.1}, tmp_path / "x.pth")
        assert read_weights(tmp_path / "x.pth")["a"].tolist() == [1, 1]

    def test_safetensors(self, tmp_path):
        save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
        assert read_weights(tmp_path / "x.safetensors")["a"].tolist() == [1, 1]

    def test_files_without_weights_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_weights(tmp_path / "none.pth")
        (tmp_path / "text.pth").write_text("hello")
        with pytest.raises(InputError, match=r"written by torch\.save"):
            read_weights(tmp_path / "text.pth")
        torch.save({"epoch": 3}, tmp_path / "empty.pth")
        with pytest.raises(InputError, match="a mapping of names to tensors"):
            read_weights(tmp_path / "empty.pth")
        torch.save({"a": torch.ones(100)}, tmp_path / "cut.pth")
        whole = (tmp_path / "cut.pth").read_bytes()
        for length in (0, 10, len(whole) // 2, len(whole) - 5):
            (tmp_path / "cut.pth").write_bytes(whole[:length])
            with pytest.raises(InputError):
                read_weights(tmp_path / "cut.pth")
        (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0")
        with pytest.raises(InputError, match="safetensors"):
            read_weights(tmp_path / "cut.safetensors")
