"""`gaussiancross convert`: weights of other layouts in and out."""

from __future__ import annotations

import torch
from gaussiancross.app import cli
from gaussiancross.core.nn.pointcept import read_pointcept
from gaussiancross.core.nn.spunet import SpUNet
from helpers.networks import same_weights, small_backbone, small_model


# --- the commands -----------------------------------------------------------------------------------------------------
class TestConvert:
    def test_in_and_out_again(self, tmp_path, capsys):
        net = small_backbone()
        weights = {f"module.backbone.{k}": v for k, v in net.state_dict().items()}
        weights["module.backbone.final.bias"] = torch.zeros(20)
        torch.save({"state_dict": weights}, tmp_path / "in.pth")
        out, back = str(tmp_path / "model"), str(tmp_path / "back.pth")
        assert cli.main(["convert", str(tmp_path / "in.pth"), "--out", out]) == 0
        said = capsys.readouterr().out
        assert "'module.backbone.'" in said and "(1): module.backbone.final.bias" in said
        assert cli.main(["convert", out, "--to-pointcept", back]) == 0
        assert same_weights(read_pointcept(back).backbone, net)

    def test_the_backbone_of_a_model(self, tmp_path):
        model = small_model()
        model.save_pretrained(tmp_path / "model")
        args = ["convert", str(tmp_path / "model"), "--backbone", "--out", str(tmp_path / "net")]
        assert cli.main([*args, "--to-pointcept", str(tmp_path / "net.pth")]) == 0
        assert same_weights(SpUNet.from_pretrained(tmp_path / "net"), model.backbone)
        assert same_weights(read_pointcept(tmp_path / "net.pth").backbone, model.backbone)

    def test_somewhere_to_write_is_needed(self, tmp_path, capsys):
        small_backbone().save_pretrained(tmp_path)
        assert cli.main(["convert", str(tmp_path)]) == 2
        assert cli.main(["convert", str(tmp_path), "--to-pointcept", str(tmp_path / "no" / "x.pth")]) == 2
        assert "expected a file to write to" in capsys.readouterr().err
