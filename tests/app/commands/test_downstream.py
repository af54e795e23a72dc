"""`gaussiancross` from raw ScanNet and S3DIS folders to the table of downstream results, on tiny scenes."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.app.cli import main
from gaussiancross.core.data.classes import S3DIS, SCANNET20, SCANNET200
from gaussiancross.trainers.downstream.presets import AREAS
from gaussiancross.trainers.downstream.published import compare, find_results
from gaussiancross.trainers.downstream.results import read_results
from helpers.raw_data import write_label_table, write_s3dis_room, write_scannet_scene

TINY_NETWORK = ["--model.base-channels", "8", "--model.channels", *["8"] * 8]
TINY_NETWORK += ["--model.lattice-cells", "512", "--model.lattice-channels", "8", "--model.unet-widths", "8", "8"]

PRETRAIN = [*TINY_NETWORK, "--no-view", "--device", "cpu", "--steps", "2", "--no-probe", "--timeline-mb", "0"]
PRETRAIN += ["--data.teacher", "none", "--data.width", "24", "--data.height", "18", "--data.views", "2"]

SHORT = ["--steps", "2", "--batch-size", "2", "--device", "cpu", "--voxel-size", "0.05"]

SIZES = ["--network.base-channels", "8", "--network.channels", *["8"] * 8, "--network.layers", *["1"] * 8]

TEST = ["--test.passes", "one", "--test.no-fragments"]

QUICK = [*SHORT, *TEST]


class TestEndToEnd:
    """prepare → pretrain → probe → finetune, on downloads in the real layout."""

    @pytest.fixture(autouse=True)
    def wide(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "160")

    @pytest.fixture(scope="class")
    @classmethod
    def scannet(cls, tmp_path_factory):
        root = tmp_path_factory.mktemp("scannet")
        (root / "raw").mkdir()
        write_label_table(root / "raw" / "scannetv2-labels.combined.tsv")
        for name in ("scene0000_00", "scene0001_00", "scene0011_00"):  # the last one validates
            write_scannet_scene(root / "raw", name)
        args = ["prepare", "scannet", str(root / "raw"), "--out", str(root / "data"), "--workers", "1"]
        assert main([*args, "--frames", "3", "--color-width", "64"]) == 0
        assert (
            main(["pretrain", "tiny", "--data.data", str(root / "data"), "--run-dir", str(root / "pre"), *PRETRAIN])
            == 0
        )
        return root

    def test_scannet(self, scannet, capsys):
        data, model = ["--data", str(scannet / "data")], ["--init", str(scannet / "pre")]
        assert main(["probe", "scannet", *data, *model, *QUICK, "--run-dir", str(scannet / "runs/probe")]) == 0
        printed = capsys.readouterr().out
        assert "GaussianCross 23.3" in printed and "not measured" in printed
        assert "Differs from the preset in" in printed
        args = ["scannet-scenes1", *data, *SHORT]
        assert main(["finetune", *args, *model, "--run-dir", str(scannet / "runs/one")]) == 0
        assert main(["finetune", *args, *TEST, *SIZES, "--run-dir", str(scannet / "runs/scratch")]) == 0
        printed = capsys.readouterr().out
        assert "GaussianCross 32.1" in printed and "scratch 26.0" in printed
        assert f"model/ (--init or --model {scannet / 'runs/one'})" in printed
        one = read_results(scannet / "runs/one")
        assert one.class_names == SCANNET20 and one.about["scenes"] == 1
        assert int(one.confusion.sum()) > 0 and one.init.endswith("pre")
        assert "labels (drawn)" in one.about["changed"]  # by prepare
        rows = {(c.row.task, c.row.preset): c for c in compare(find_results([scannet / "runs"]))}
        row = rows["finetune", "scannet-scenes1"]
        assert len(row.pretrained) == 1 and row.pretrained[0].model == "pre" and row.scratch is not None
        assert main(["probe", "table", str(scannet / "runs")]) == 0
        assert "PointGroup AP50" in capsys.readouterr().out

    def test_scannet200_with_few_points_and_field(self, scannet):
        data, model = ["--data", str(scannet / "data")], ["--init", str(scannet / "pre")]
        assert main(["probe", "scannet200", *data, *model, *QUICK, "--run-dir", str(scannet / "runs/200")]) == 0
        assert read_results(scannet / "runs/200").class_names == SCANNET200
        run = ["--run-dir", str(scannet / "runs/20")]
        assert main(["finetune", "scannet-points20", *data, *model, *QUICK, *run]) == 0
        run = ["--run-dir", str(scannet / "runs/field"), "--features", "field"]
        assert main(["probe", "scannet", *data, *model, *QUICK, *run]) == 0
        assert "features" in read_results(scannet / "runs/field").about["changed"]

    def test_six_folds_of_s3dis(self, tmp_path, capsys):
        for k in range(1, 7):
            write_s3dis_room(tmp_path / "raw", f"Area_{k}", "office_1")
        assert main(["prepare", "s3dis", str(tmp_path / "raw"), "--out", str(tmp_path / "data"), "--workers", "1"]) == 0
        run = tmp_path / "runs" / "six"
        args = ["probe", "s3dis-6fold", "--data", str(tmp_path / "data"), *QUICK, *SIZES, "--run-dir", str(run)]
        assert main(args) == 0
        assert "GaussianCross 35.9" in capsys.readouterr().out
        total, parts = read_results(run), [read_results(run / area) for area in AREAS]
        assert total.class_names == S3DIS
        assert torch.equal(total.confusion, sum(p.confusion for p in parts))
        assert [p.about["config"]["labels"]["val"] for p in parts] == list(AREAS)

    def test_unknown_presets_are_listed(self, capsys):
        assert main(["finetune", "scanet"]) == 2
        assert "scannet-points20" in capsys.readouterr().err

    def test_data_is_required(self, capsys):
        assert main(["probe", "scannet", "--device", "cpu"]) == 2
        assert "labels.data" in capsys.readouterr().err
