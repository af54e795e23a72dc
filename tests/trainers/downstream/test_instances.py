"""Instance segmentation runs: training, exact resume, results, pictures, and the command on a ScanNet folder."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.commands import instances as command
from gaussiancross.core.data.augment import NO_SCENE_AUGMENT
from gaussiancross.core.data.classes import SCANNET20, SCANNET200
from gaussiancross.core.errors import InputError
from gaussiancross.core.models import PointGroup, load_pretrained
from gaussiancross.core.models.pointgroup import ClusterConfig, PointGroupOutput, Proposals
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.trainers.downstream import LabelConfig, NetworkConfig, OptimConfig, SceneList
from gaussiancross.trainers.downstream.instance_config import INSTANCES
from gaussiancross.trainers.downstream.instance_pictures import match_proposals, palette, picture
from gaussiancross.trainers.downstream.instance_results import write_instances
from gaussiancross.trainers.downstream.instances import InstancePrediction, InstanceTrainer, instances_of
from gaussiancross.trainers.downstream.published import compare, find_results
from helpers.shelves import CLASS_NAMES, SMALL, shelves, write_scannet
from PIL import Image
from rich.console import Console

QUIET = Console(file=io.StringIO())


def test_it_learns_to_find_instances_in_scenes_it_has_not_seen(tmp_path):
    config = replace(SMALL, steps=50, augment=NO_SCENE_AUGMENT, crop=1.0, optim=OptimConfig(lr=1e-2))
    trainer = InstanceTrainer(config, tmp_path, shelves(), device="cpu")
    before = trainer.test().instances.mean_ap50
    scores = trainer.fit(console=QUIET)
    seen: list[InstancePrediction] = []
    results = trainer.test(seen.append)
    assert results.instances.mean_ap50 > 0.9 > 0.5 > before
    assert scores["val/ap50"] == results.instances.mean_ap50
    assert results.semantic.miou_present > 0.9
    assert results.scenes == 1 and results.proposals == len(seen[0].proposals) >= 3
    assert len(seen[0].segment) == len(seen[0].scene) == 1600
    assert trainer.model.config.ignored == (0, 1)  # the classes named floor and wall
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"loss/semantic", "loss/bias_l1", "loss/bias_cosine", "lr"} <= set(rows[0])
    assert rows[-1]["loss/bias_l1"] < rows[0]["loss/bias_l1"]


def test_a_continued_run_is_the_same_run(tmp_path):
    whole = InstanceTrainer(SMALL, tmp_path / "whole", shelves(), device="cpu")
    whole.fit(console=QUIET)
    parts = InstanceTrainer(SMALL, tmp_path / "parts", shelves(), device="cpu")
    for step in range(3):
        parts.train_step(parts.batch(step))
    parts.save()
    again = InstanceTrainer(replace(SMALL, save_every=3, workers=3), tmp_path / "parts", shelves(), device="cpu")
    assert again.resume() and again.step == 3
    again.fit(console=QUIET)
    assert again.finished
    other_cluster = replace(SMALL, cluster=ClusterConfig(radius=2.0), norm="train")
    assert InstanceTrainer(other_cluster, tmp_path / "parts", shelves(), device="cpu").resume()  # only tests differ
    with pytest.raises(InputError, match="another crop"):
        InstanceTrainer(replace(SMALL, crop=0.5), tmp_path / "parts", shelves(), device="cpu").resume()
    for (name, a), b in zip(whole.weights().items(), again.weights().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.gpu
def test_on_cuda_it_trains_and_proposes_as_on_the_cpu(tmp_path):
    trainer = InstanceTrainer(replace(SMALL, steps=40, crop=1.0), tmp_path, shelves(), device="cuda")
    trainer.fit(console=QUIET)
    points = trainer.batch(0).to("cuda")
    with torch.no_grad():
        output = trainer.model.eval()(points)
    there = trainer.model.proposals(output, points)
    here = trainer.model.proposals(PointGroupOutput(output.logits.cpu(), output.bias.cpu()), points.to("cpu"))
    for a, b in zip(there, here, strict=True):
        assert torch.equal(a.label.cpu(), b.label) and torch.equal(a.classes.cpu(), b.classes)
        assert torch.allclose(a.scores.cpu(), b.scores, atol=1e-5)


def test_it_starts_from_a_pretrained_backbone(tmp_path):
    torch.manual_seed(3)
    backbone = SpUNet(6, 8, (8,) * 8, (1,) * 8, own_statistics=True)
    backbone.save_pretrained(tmp_path / "spunet")
    config = replace(SMALL, init=str(tmp_path / "spunet"), network=NetworkConfig())
    trainer = InstanceTrainer(config, tmp_path / "run", shelves(), device="cpu")
    assert all(torch.equal(v, trainer.model.backbone.state_dict()[k]) for k, v in backbone.state_dict().items())
    assert trainer.model.config.channels == (8,) * 8 and trainer.title == "PointGroup"
    scratch = InstanceTrainer(SMALL, tmp_path / "scratch", shelves(), device="cpu")
    assert torch.equal(scratch.model.seg_head.weight, trainer.model.seg_head.weight)  # heads depend on the seed alone
    assert not torch.equal(scratch.model.backbone.conv_input[0].weight, trainer.model.backbone.conv_input[0].weight)


def test_scenes_without_instance_ids_are_refused(tmp_path):
    data = write_scannet(tmp_path / "data", 1, 1, instances=False)
    config = replace(SMALL, labels=LabelConfig(str(data)))
    with pytest.raises(InputError, match=r"instance ids to learn from \(instance.npy\)"):
        InstanceTrainer(config, tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="crop"):
        replace(SMALL, crop=0.0)


def test_presets_are_the_published_rows():
    scannet, scannet200 = INSTANCES["scannet"].config, INSTANCES["scannet200"].config
    assert (scannet.batch_size, scannet.optim.lr, scannet.epochs) == (12, 6e-3, 800)
    assert (scannet200.batch_size, scannet200.optim.lr, scannet200.epochs) == (24, 5e-3, 800)
    for config in (scannet, scannet200):
        assert config.cluster == ClusterConfig(radius=1.5, min_points=50, propose_points=100)
        assert config.optim.weight_decay == 0.05 and config.voxel_size == 0.02 and config.min_region == 100
        assert config.batches().mix == 0
    assert [[names.index(n) for n in scannet.without_instances] for names in (SCANNET20, SCANNET200)] == [
        [0, 1],
        [0, 2],
    ]


def options(data, run_dir, *more: str) -> list[str]:
    sizes = ["8"] * 8, ["1"] * 8
    small = ["--network.base-channels", "8", "--network.channels", *sizes[0], "--network.layers", *sizes[1]]
    small += ["--voxel-size", "0.08", "--cluster.min-points", "5", "--cluster.propose-points", "10"]
    small += ["--batch-size", "1", "--steps", "3", "--eval-every", "0", "--device", "cpu"]
    return ["--data", str(data), "--run-dir", str(run_dir), *small, *more]


def test_the_command_runs_end_to_end_on_a_scannet_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # tables of one line per row
    data = write_scannet(tmp_path / "scannet", 2, 2)
    run_dir = tmp_path / "runs" / "scratch"
    assert command.main(["scannet", *options(data, run_dir, "--pictures", "1")]) == 0
    printed = capsys.readouterr().out
    assert "not measured" in printed and "GaussianCross 40.8" in printed and "scratch 36.0" in printed
    content = json.loads((run_dir / "results.json").read_text())
    assert (content["task"], content["preset"], content["init"]) == ("instances", "scannet", "")
    assert content["classes"] == list(SCANNET20) and content["scenes"] == 2 and content["about"]["steps"] == 3
    assert [k for k, v in enumerate(content["class_ap"]) if v is not None] == [3, 4]  # beds and chairs
    assert 0 <= content["map"] <= content["ap25"] <= 1
    rows = list(csv.reader((run_dir / "instances.csv").open(encoding="utf-8")))
    assert rows[0][:4] == ["class", "AP", "AP50", "AP25"] and [r[0] for r in rows[1:]] == list(SCANNET20)
    assert rows[1][1] == "" and rows[4][1] != ""
    pictures = list((run_dir / "pictures").iterdir())
    assert [p.name for p in pictures] == ["scene0101_00.png"]
    assert Image.open(pictures[0]).size == (1920, 640)
    model = PointGroup.from_pretrained(run_dir / "model")
    assert model.config.classes == 20 and model.config.ignored == (0, 1)
    backbone = load_pretrained(run_dir).state_dict()  # to start something else from
    assert all(torch.equal(v, backbone[k]) for k, v in model.backbone.state_dict().items())

    weights = (run_dir / "checkpoints" / "step-000000003" / "model.safetensors").read_bytes()
    assert (
        command.main(["scannet", *options(data, run_dir, "--pictures", "0")]) == 0
    )  # scores again, and trains no further
    assert "Continuing" not in capsys.readouterr().out
    assert (run_dir / "checkpoints" / "step-000000003" / "model.safetensors").read_bytes() == weights

    backbone = tmp_path / "spunet"
    model.backbone.save_pretrained(backbone)
    tuned = tmp_path / "runs" / "tuned"
    assert command.main(["scannet200", *options(data, tuned, "--pictures", "0", "--init", str(backbone))]) == 0
    assert json.loads((tuned / "results.json").read_text())["classes"] == list(SCANNET200)
    found = find_results([tmp_path / "runs"])
    table = {(c.row.preset, c.row.metric): (c.pretrained, c.scratch) for c in compare(found)}
    pretrained, scratch = table["scannet", "map"]
    assert pretrained == () and scratch.percent == pytest.approx(100 * content["map"])
    assert scratch.changed and "steps" in content["about"]["changed"]  # not the published recipe
    assert [m.model for m in table["scannet200", "ap50"][0]] == ["spunet"] and table["scannet200", "ap50"][1] is None


def test_the_command_reports_input_errors(tmp_path):
    with pytest.raises(InputError, match=r"labels\.data"):
        command.main(["scannet", "--run-dir", str(tmp_path / "run"), "--device", "cpu"])
    with pytest.raises(InputError, match="scannet, scannet200, rooms"):
        command.main(["s3dis"])
    with pytest.raises(InputError, match="pictures"):
        command.main(["rooms", "--run-dir", str(tmp_path / "run"), "--pictures", "-1"])


def test_results_of_scenes_without_instances_are_valid_json(tmp_path):
    scenes = shelves(1, 1)
    nothing = replace(scenes.val.scene(0), instance=np.full(1600, -1))
    trainer = InstanceTrainer(SMALL, tmp_path, replace(scenes, val=SceneList([nothing], CLASS_NAMES)), device="cpu")
    write_instances(tmp_path, trainer.test(), CLASS_NAMES, "rooms", "")
    content = json.loads((tmp_path / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["map"] is None and content["class_ap"] == [None] * 4


def test_predictions_are_matched_by_overlap():
    truth = torch.tensor([0, 0, 0, 0, 1, 1, -1, -1])
    label = torch.tensor([1, 1, 1, -1, 0, 2, 0, 0])
    assert match_proposals(truth, label, 2, 3).tolist() == [1, 0, 1]  # IoU 1/4, 3/4 and 1/2
    assert match_proposals(truth, label, 2, 3, least=0.26).tolist() == [-1, 0, 1]
    assert match_proposals(truth, torch.full((8,), -1), 2, 0).tolist() == []
    colors = palette(60)
    assert len(torch.unique((colors * 255).round(), dim=0)) == 60 and float(colors.min()) >= 0


def test_right_predictions_look_like_the_truth():
    scene = shelves(1, 1).val.scene(0)
    ids, label = torch.unique(instances_of(scene), return_inverse=True)
    floor = ids.tolist().index(9)
    order = torch.tensor([2, 0, 1, -1]) if floor == 3 else torch.arange(4)
    proposals = Proposals(order[label], torch.tensor([2, 2, 3]), torch.ones(3))
    image = picture(InstancePrediction(scene, proposals, torch.zeros(1600)), ignored=(0, 1), size=160)
    _, truth, predicted = image[30:].reshape(130, 3, 160, 3).swapaxes(0, 1).astype(int)
    assert image.shape == (160, 480, 3)
    assert np.abs(truth - predicted).max() == 0
    assert len(np.unique(truth.reshape(-1, 3) // 32, axis=0)) > 4  # cubes, floor and background
    none = Proposals(torch.full((1600,), -1), torch.zeros(0), torch.zeros(0))
    empty = picture(InstancePrediction(scene, none, torch.zeros(1600)), ignored=(0, 1), size=160)
    assert (empty[30:, :320] == image[30:, :320]).all() and (empty[30:, 320:] != image[30:, 320:]).any()
