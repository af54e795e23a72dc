"""The published protocol: its presets, results, tables and scene lists."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app.cli import main
from gaussiancross.app.commands.finetune import class_table, published_table
from gaussiancross.core.datasets.scenes.splits import mark_sampled, write_names
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.checkpoint import load_weights
from gaussiancross.core.models import load_pretrained
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.trainers.downstream import CachedFeatureProbe, LabelConfig, LabelledScenes, SemanticTrainer
from gaussiancross.trainers.downstream.presets import AREAS, FINETUNE, PRESETS, PROBE, held_out
from gaussiancross.trainers.downstream.protocol import labels_were_sampled
from gaussiancross.trainers.downstream.published import ROWS, compare, find_results, results_beside, rows_of
from gaussiancross.trainers.downstream.results import (
    SemanticResult,
    confusion_picture,
    read_results,
    sum_results,
    write_results,
)
from gaussiancross.trainers.downstream.run import SemanticRun, changed_options, run_semantic
from gaussiancross.trainers.downstream.scenes import uses_sampled_labels
from gaussiancross.trainers.engine.log import read_metrics
from helpers.labelled_scenes import CLASSES, SMALL, labelled_scenes
from rich.console import Console

QUIET = Console(quiet=True)


def result(seed: int = 0, task: str = "probe", preset: str = "scannet", init: str = "", **about) -> SemanticResult:
    confusion = torch.from_numpy(np.random.default_rng(seed).integers(0, 50, (4, 4)))
    return SemanticResult(task, preset, init, CLASSES, confusion, {"changed": [], "scenes": 2, **about})


class TestPresets:
    def test_every_row_of_the_protocol_is_there(self):
        areas = [f"s3dis-area{k}" for k in range(1, 7)]
        efficient = [f"scannet-scenes{p}" for p in (1, 5, 10, 20)] + [f"scannet-points{n}" for n in (20, 50, 100, 200)]
        common = {"scannet", "scannet200", "s3dis", "s3dis-6fold", "rooms", *areas}
        assert set(PROBE) == common
        assert set(FINETUNE) == common | set(efficient)

    @pytest.mark.parametrize(
        ("name", "batch", "lr", "epochs"),
        [
            ("scannet", 32, 0.005, 800),
            ("scannet200", 32, 0.005, 800),
            ("scannet-scenes1", 24, 0.003, 800),
            ("scannet-points20", 24, 0.003, 800),
            ("s3dis", 24, 0.003, 3000),
            ("s3dis-area2", 24, 0.003, 3000),
        ],
    )
    def test_recipe(self, name, batch, lr, epochs):
        config = FINETUNE[name].config
        assert (config.batch_size, config.optim.lr, config.epochs) == (batch, lr, epochs)
        assert (config.optim.weight_decay, config.optim.warmup, config.mix, config.lovasz) == (0.05, 0.05, 0.8, 1.0)
        assert config.voxel_size == 0.02 and config.test.passes == "thirteen" and config.test.fragments

    def test_probes_are_the_same_with_a_frozen_backbone(self):
        for name in set(PROBE) - {"rooms"}:
            assert PROBE[name].config == replace(FINETUNE[name].config, frozen=True)
            assert PROBE[name].config.features == "last" and PROBE[name].config.norm == "train"

    def test_areas_train_on_the_others(self):
        config = held_out(FINETUNE["s3dis"].config, "Area_2")
        assert (config.labels.train, config.labels.val) == ("Area_1-3-4-5-6", "Area_2")
        assert held_out(FINETUNE["s3dis"].config, "Area_5") == FINETUNE["s3dis"].config
        assert FINETUNE["s3dis-6fold"].folds == AREAS

    def test_published_rows_are_presets(self):
        for row in ROWS:
            if row.task != "instances":
                assert row.preset in PRESETS[row.task]

    def test_departures_from_the_protocol_are_named(self):
        config = PROBE["scannet"].config
        allowed = replace(config, init="model", seed=3, labels=replace(config.labels, data="there"))
        assert changed_options("probe", "scannet", allowed) == []
        other = replace(config, features="hypercolumn", optim=replace(config.optim, lr=0.1))
        assert changed_options("probe", "scannet", other) == ["features", "optim.lr"]

    def test_fewer_test_scenes_other_data_and_smaller_networks_leave_it_too(self):
        config = PROBE["scannet"].config
        few = replace(config, labels=replace(config.labels, val_scenes=3))
        assert changed_options("probe", "scannet", few) == ["labels.val_scenes"]
        rooms = replace(config, labels=replace(config.labels, data="rooms:9"))
        assert changed_options("probe", "scannet", rooms) == ["labels.data"]
        small = replace(config, network=replace(config.network, base_channels=8))
        assert changed_options("probe", "scannet", small) == ["network.base_channels"]
        assert changed_options("probe", "scannet", replace(small, init="model")) == []
        assert changed_options("probe", "scannet", small, SpUNet(6, 8, (8,) * 8, (1,) * 8)) == []


class TestResults:
    def test_come_back_as_they_were(self, tmp_path):
        write_results(tmp_path, result(init="model"))
        back = read_results(tmp_path)
        assert torch.equal(back.confusion, result().confusion)
        assert (back.task, back.preset, back.init, back.class_names) == ("probe", "scannet", "model", CLASSES)

    def test_files(self, tmp_path):
        write_results(tmp_path, result())
        content = json.loads((tmp_path / "results.json").read_text())
        assert content["miou"] == pytest.approx(result().scores.miou)
        rows = list(csv.DictReader((tmp_path / "classes.csv").open()))
        assert [row["class"] for row in rows] == list(CLASSES)
        assert float(rows[1]["IoU"]) == pytest.approx(float(result().scores.iou[1]), abs=1e-6)
        assert sum(int(row["points"]) for row in rows) == int(result().confusion.sum())
        matrix = list(csv.reader((tmp_path / "confusion.csv").open()))
        assert [[int(v) for v in row[1:]] for row in matrix[1:]] == result().confusion.tolist()
        assert (tmp_path / "confusion.png").read_bytes()[:4] == b"\x89PNG"

    def test_folds_are_summed_before_they_are_divided(self):
        parts = [result(0), result(1)]
        total = sum_results(parts, {})
        assert torch.equal(total.confusion, parts[0].confusion + parts[1].confusion)
        assert total.scores.miou != pytest.approx(sum(p.scores.miou for p in parts) / 2, abs=1e-9)

    @pytest.mark.parametrize("text", ["", "{}", '{"format": "gaussiancross-results", "version": 99}', "[1]"])
    def test_damaged_files_are_named(self, tmp_path, text):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(InputError, match=r"results\.json"):
            read_results(tmp_path)

    @pytest.mark.parametrize("classes", [20, 200])
    def test_picture_has_the_matrix_in_it(self, classes):
        picture = confusion_picture(torch.eye(classes, dtype=torch.int64) * 9, [f"class {i}" for i in range(classes)])
        pixels = np.asarray(picture).astype(int)
        blue = (pixels == (23, 78, 166)).all(-1)
        rows, columns = np.nonzero(blue)
        assert picture.width == picture.height <= 2000
        assert np.corrcoef(rows, columns)[0, 1] > 0.98


class TestTable:
    def test_not_measured_where_it_was_not(self):
        (row,) = [c for c in compare([]) if c.row.preset == "scannet" and c.row.task == "probe"]
        assert row.pretrained == () and row.scratch is None
        assert "not measured" in text_of(published_table(compare([])))

    def test_rows_take_only_runs_of_their_own_settings(self, tmp_path):
        write_results(tmp_path / "a", result(0, init="model"))
        write_results(tmp_path / "b", result(1, init="model"))
        write_results(tmp_path / "c", result(2))
        write_results(tmp_path / "d", result(3, init="model", changed=["features"]))
        write_results(tmp_path / "e", result(4, preset="s3dis-6fold", init="model", fold="Area_1"))
        rows = {(c.row.task, c.row.preset): c for c in compare(find_results([tmp_path]))}
        found = rows["probe", "scannet"]
        (mean,) = found.pretrained
        assert mean.runs == 2 and not mean.changed and mean.others == 1
        assert mean.percent == pytest.approx(50 * sum(result(s).scores.miou for s in (0, 1)))
        assert found.scratch.percent == pytest.approx(100 * result(2).scores.miou)
        assert rows["probe", "s3dis-6fold"].pretrained == ()
        assert rows["finetune", "scannet"].pretrained == ()

    def test_models_and_recipes_are_never_averaged(self, tmp_path):
        def run(seed, init, written, changed=(), **config):
            about = {"changed": list(changed), "config": {"seed": seed, "workers": seed, "init": init} | config}
            folder = tmp_path / f"{written}"
            write_results(folder, result(seed, init=init, **about))
            os.utime(folder / "results.json", (written, written))

        run(0, "runs/a/model", 1, optim={"lr": 1})
        run(1, "runs/a/model/", 2, optim={"lr": 1})  # the same model, another seed
        run(2, "runs/b/model", 3, ["optim.lr"], optim={"lr": 2})
        run(3, "runs/b/model", 4, ["optim.lr"], optim={"lr": 3})  # newer, and another recipe
        run(4, "runs/b/model", 0, ["optim.lr"], optim={"lr": 3}, network={"base_channels": 9})  # not of its own size
        run(5, "", 6, network={"base_channels": 9})
        run(6, "", 7, network={"base_channels": 8})
        (row,) = [c for c in compare(find_results([tmp_path])) if (c.row.task, c.row.preset) == ("probe", "scannet")]
        score = [100 * result(s).scores.miou for s in range(7)]
        assert [m.model for m in row.pretrained] == ["a/model", "b/model"]
        assert [m.runs for m in row.pretrained] == [2, 2] and [m.others for m in row.pretrained] == [0, 1]
        assert row.pretrained[0].percent == pytest.approx((score[0] + score[1]) / 2)
        assert row.pretrained[1].percent == pytest.approx((score[3] + score[4]) / 2)
        assert row.scratch.percent == pytest.approx(score[6]) and row.scratch.others == 1
        text = text_of(published_table([row]))
        assert f"a/model {row.pretrained[0].percent:.1f} (mean of 2)" in text
        assert f"b/model {row.pretrained[1].percent:.1f}* (mean of 2, 1 other recipe)" in text

    def test_area_5_is_the_row_of_s3dis(self):
        about = {"changed": []}
        run = {"task": "probe", "preset": "s3dis-area5", "init": "", "miou": 0.5, "about": about}
        (row,) = compare([run], rows_of("probe", "s3dis-area5"))
        assert row.row.preset == "s3dis" and row.scratch.percent == 50.0
        assert rows_of("probe", "s3dis-area4") == []

    def test_beside_a_run_nothing_deep_is_read(self, tmp_path):
        write_results(tmp_path / "mine", result(0))
        write_results(tmp_path / "other", result(1))
        write_results(tmp_path / "deep" / "down", result(2))
        found = results_beside(tmp_path / "mine")
        assert [Path(r["path"]).parent.name for r in found] == ["mine", "other"]
        assert len(find_results([tmp_path])) == 3

    def test_changed_runs_are_marked(self):
        content = [{"task": "probe", "preset": "scannet", "init": "", "miou": 0.5, "about": {"changed": ["mix"]}}]
        assert "50.0*" in text_of(published_table(compare(content)))

    def test_classes(self):
        text = text_of(class_table(result()))
        assert "floor" in text and "mean of 4" in text

    def test_instances_have_their_rows(self):
        content = [{"task": "instances", "preset": "scannet", "init": "x", "ap50": 0.6, "about": {}}]
        (row,) = [c for c in compare(content) if c.pretrained]
        assert row.row.metric == "ap50" and row.row.published["GaussianCross"] == 62.7


def text_of(table) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


class TestRun:
    def test_goes_on_where_it_was_stopped_and_writes_results(self, tmp_path):
        scenes = labelled_scenes(2, 1)
        run = SemanticRun("finetune", "rooms", SMALL, tmp_path / "run")
        assert run_semantic(run, seconds=0.0, console=QUIET, scenes=scenes) is None
        done = run_semantic(run, console=QUIET, scenes=scenes)
        assert done.about["steps"] == 6 and done.init == ""
        assert torch.equal(read_results(tmp_path / "run").confusion, done.confusion)
        again = run_semantic(run, console=QUIET, scenes=scenes)
        assert torch.equal(again.confusion, done.confusion)

        # What it made of the network can be used like any model.
        (checkpoint,) = (run.run_dir / "checkpoints").glob("*6")
        trained = load_weights(checkpoint / "model.safetensors")
        model = load_pretrained(run.run_dir)
        assert isinstance(model, SpUNet) and model.voxel_size == SMALL.voxel_size
        assert all(torch.equal(v, trained[f"backbone.{k}"]) for k, v in model.state_dict().items())
        assert main(["convert", str(run.run_dir), "--out", str(tmp_path / "out")]) == 0
        with pytest.raises(InputError, match=r"the network that the run trained is in .*run.model"):
            load_pretrained(checkpoint)

    def test_a_probe_of_fixed_features_is_tested_once_and_trains_no_network(self, tmp_path, monkeypatch):
        tests, test = [], CachedFeatureProbe.test
        monkeypatch.setattr(
            CachedFeatureProbe, "test", lambda self, *args: tests.append(self.step) or test(self, *args)
        )
        config = replace(SMALL, frozen=True, cache=True, norm="own", steps=4, eval_every=2)
        run = SemanticRun("probe", "rooms", config, tmp_path / "run")
        for expected in ([2, 4], [2, 4, 4]):
            done = run_semantic(run, console=QUIET, scenes=labelled_scenes(2, 1))
            assert tests == expected
            rows = [row for row in read_metrics(run.run_dir / "metrics.jsonl") if "val/miou" in row]
            assert [row["step"] for row in rows] == [2, 4]
            assert rows[-1]["val/miou"] == pytest.approx(done.scores.miou)
        with pytest.raises(InputError, match="one of kind fixed-probe without"):
            load_pretrained(run.run_dir)

    def test_folds_have_their_own_scenes(self, tmp_path):
        run = SemanticRun("probe", "s3dis-6fold", SMALL, tmp_path, AREAS)
        with pytest.raises(InputError, match="folds"):
            run_semantic(run, console=QUIET, scenes=labelled_scenes(2, 1))


class TestLists:
    def test_lists_of_the_folder_decide(self, tmp_path):
        """ScanNet's own lists win over drawn ones."""
        for scene in ("train/scene0000_00", "train/scene0001_00", "val/scene0011_00"):
            _write_scene(tmp_path / scene)
        write_names(tmp_path / "tasks" / "scenes" / "5.txt", ["scene0001_00"])
        torch.save(
            {f"scene000{i}_00": torch.tensor([3, 4]) for i in range(2)},
            _made(tmp_path / "tasks" / "points") / "points20",
        )
        by_scenes = LabelledScenes.open(LabelConfig(str(tmp_path), scenes=5))
        assert by_scenes.train.names == ("scene0001_00",)
        assert by_scenes.val.names == ("scene0011_00",)
        by_points = LabelledScenes.open(LabelConfig(str(tmp_path), points=20))
        assert np.flatnonzero(by_points.train.scene(0).segment == 0).tolist() == [3, 4]
        assert (by_points.val.scene(0).segment == 0).all()
        drawn = LabelledScenes.open(LabelConfig(str(tmp_path), points=7))
        assert (drawn.train.scene(1).segment == 0).sum() == 7

    def test_random_scene_lists_are_marked(self, tmp_path):
        few = LabelConfig(str(tmp_path), scenes=5)
        assert not uses_sampled_labels(LabelConfig(str(tmp_path))) and uses_sampled_labels(few)
        path = tmp_path / "tasks" / "scenes" / "5.txt"
        write_names(path, ["scene0001_00"])
        assert not uses_sampled_labels(few) and uses_sampled_labels(replace(few, points=20))
        mark_sampled(tmp_path / "tasks", [path], seed=0)
        assert uses_sampled_labels(few)
        assert labels_were_sampled(few, None) and not labels_were_sampled(few, labelled_scenes(1, 1))
        write_names(path, ["scene0000_00"])  # the benchmark's, put in its place
        assert not uses_sampled_labels(few)

    def test_learning_from_scenes_that_are_tested_on_is_refused(self, tmp_path):
        for area in (1, 2, 5):
            _write_scene(tmp_path / f"Area_{area}" / "office_1", "segment")
        labels = replace(FINETUNE["s3dis"].config.labels, data=str(tmp_path), train="Area_1-2", val="Area_5")
        assert LabelledScenes.open(labels).val.names == ("Area_5_office_1",)
        with pytest.raises(InputError, match="found 1 in both, such as Area_1_office_1"):
            LabelledScenes.open(replace(labels, val="Area_1"))

    @pytest.mark.parametrize(("split", "purpose"), [("train", "to learn from"), ("val", "to be tested with")])
    @pytest.mark.parametrize("trainer", [SemanticTrainer, CachedFeatureProbe])
    def test_scenes_without_labels_are_refused(self, tmp_path, split, purpose, trainer):
        for scene in ("train/scene0000_00", "val/scene0011_00"):
            _write_scene(tmp_path / scene, "segment200" if scene.startswith(split) else "segment20")
        config = replace(SMALL, labels=LabelConfig(str(tmp_path), scenes=99))
        if trainer is CachedFeatureProbe:
            config = replace(config, frozen=True, cache=True, norm="own")
        with pytest.raises(InputError, match=rf"scene00\d1?\d?_00: expected labels {purpose} \(segment20\.npy\)"):
            trainer(config, tmp_path / "run", device="cpu")

    def test_data_must_be_named(self):
        with pytest.raises(InputError, match=r"labels\.data"):
            LabelledScenes.open(LabelConfig())


def _write_scene(folder: Path, labels: str = "segment20") -> None:
    folder.mkdir(parents=True)
    np.save(folder / "coord.npy", np.random.default_rng(0).random((50, 3)).astype(np.float32))
    np.save(folder / "color.npy", np.full((50, 3), 9, np.uint8))
    np.save(folder / f"{labels}.npy", np.zeros(50, np.int64))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
