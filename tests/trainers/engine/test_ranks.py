"""Two processes on the CPU (gloo) train what one process trains with the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.checkpoint import list_checkpoints
from gaussiancross.trainers.downstream.scenes import SemanticData
from gaussiancross.trainers.engine import ranks
from gaussiancross.trainers.engine.ranks import Ranks, joined_ranks
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.box_room import SMALL, write_box_room
from helpers.clipgs import write_shape_triplets
from helpers.labelled_scenes import SMALL as SEMANTIC
from helpers.labelled_scenes import labelled_scenes
from helpers.two_processes import QUIET, first_gradients, run_both


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two scenes per step, batch norms in backbone and dense network."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        model = replace(SMALL.model, lattice="ponder", lattice_shape=(8, 8, 8), unet_norm="batch")
        data = replace(SMALL.data, data=str(write_box_room(folder / "room")), batch_size=2)
        yield replace(SMALL, model=model, data=data, steps=4, eval_every=0)


@pytest.fixture(scope="module")
def both(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return folder, run_both(config, folder)


def test_batch_norms_take_the_statistics_of_all_processes(both):
    for found in both[1]:
        assert max(found["norms"].values()) < 2e-5, found["norms"]


def test_gradients_are_those_of_one_process(config, both, tmp_path):
    expected = first_gradients(Pretrainer(config, tmp_path, device="cpu"))
    first, second = (found["gradients"] for found in both[1])
    assert [found["scenes"] for found in both[1]] == [1, 1] and len(expected) > 100
    for name, value in expected.items():
        assert torch.allclose(first[name], second[name], atol=1e-7), name
        assert float((first[name] - value).norm()) <= 2e-3 * float(value.norm()) + 1e-6, name


def test_one_process_writes_and_all_have_its_weights(both):
    folder, (first, second) = both
    assert [step for step, _ in list_checkpoints(folder / "shared" / "checkpoints")] == [2]
    assert "eval/psnr" in (folder / "shared" / "metrics.jsonl").read_text()
    for name, value in first["weights"].items():
        assert torch.allclose(value, second["weights"][name], atol=1e-6), name


def test_evaluations_and_probe_of_one_process_change_none(both):
    """Rank 0 alone learns a probe and evaluates; the other process waits, and neither's state shows it."""
    folder, ranks = both
    rows = [json.loads(line) for line in (folder / "with" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2] and all({"probe/miou", "eval/psnr"} <= row.keys() for row in rows)
    assert [(found["probe with"], found["probe without"]) for found in ranks] == [(True, False), (False, False)]
    for found in ranks:
        assert found["with"].keys() == found["without"].keys()
        for name, value in found["without"].items():
            assert torch.equal(found["with"][name], value), name


def test_a_run_continues_with_another_number_of_processes(config, both, tmp_path):
    straight, continued = (Pretrainer(config, path, device="cpu") for path in (tmp_path, both[0] / "shared"))
    straight.fit(console=QUIET)
    assert continued.resume() and continued.step == 2
    continued.fit(console=QUIET)
    ends = [torch.cat([p.detach().flatten() for p in run.model.parameters()]) for run in (straight, continued)]
    start = torch.cat([p.detach().flatten() for p in Pretrainer(config, tmp_path, device="cpu").model.parameters()])
    # Adam's first steps follow the signs of gradients, also of those that are rounding errors.
    assert float((ends[1] - ends[0]).norm()) < 0.1 * float((ends[0] - start).norm())


def test_the_failure_of_one_ends_all_with_its_sentence(both):
    first, second = (found["failure"] for found in both[1])
    assert second == "InputError: scene 7: expected points, found none."
    assert first == "RunError: process 1 stopped: scene 7: expected points, found none."


def test_shares_are_equal(monkeypatch):
    assert [list(Ranks(rank, 3).share(6, "batch_size")) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(InputError, match="batch_size: expected a multiple of 4"):
        Ranks(0, 4).share(6, "batch_size")


def test_labelled_scenes_are_shared(monkeypatch):
    config, scenes = replace(SEMANTIC, batch_size=2, mix=0.0), labelled_scenes()
    whole = SemanticData(config, scenes).batch(3)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(Ranks, "current", classmethod(lambda cls, rank=rank: cls(rank, 2)))
        parts.append(SemanticData(config, scenes).batch(3))
    assert torch.equal(torch.cat([p.grid_coord for p in parts]), whole.grid_coord)
    assert torch.equal(torch.cat([p.segment for p in parts]), whole.segment)


def test_processes_that_are_not_joined_are_refused(monkeypatch, tmp_path):
    """Each would train alone, into one run folder."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="torchrun: expected pretrain"):
        Pretrainer(SMALL, tmp_path, device="cpu")


def test_a_gpu_for_every_process(monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="a GPU for every process"), joined_ranks("auto"):
        pass


def test_kernels_are_tried_on_the_device_of_the_process(monkeypatch):
    """They run on the current device, which is that of process 0 until it is set."""
    called = []
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: called.append(("set", device)))
    monkeypatch.setattr(ranks, "pick_device", lambda name: called.append(("try", name)) or torch.device("cuda"))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda kind, timeout: called.append(("join", kind)))
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: None)
    monkeypatch.setattr(Ranks, "current", classmethod(lambda cls: cls()))
    with joined_ranks("auto") as device:
        assert device == torch.device("cuda", 1)
    assert called == [("set", 1), ("try", "auto"), ("join", "nccl")]


def test_cells_of_many_shapes_have_no_batch_norms(config, monkeypatch, tmp_path):
    """Scenes of other extents pass the dense network one by one: processes would run it a different number of times."""
    monkeypatch.setattr(Ranks, "current", classmethod(lambda cls: cls(0, 2)))
    with pytest.raises(InputError, match="unet_norm"):
        Pretrainer(replace(config, model=replace(config.model, lattice="cuboid")), tmp_path, device="cpu")


FAILING = """
import os, sys
from gaussiancross.app.cli import main
from gaussiancross.core.errors import InputError
from gaussiancross.trainers.pretraining.data import PretrainData

def fail(self, step):
    raise InputError("scene 7", "points", "none")

if os.environ["RANK"] == "1":
    PretrainData.batch = fail
sys.exit(main())
"""


def torchrun(folder, *words):
    """Start two processes as a user does."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*launch, *words], env=environment, capture_output=True, text=True, check=False, cwd=folder)


def test_under_torchrun_the_failure_of_one_ends_all(config, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    options = ["--data", config.data.data, "--no-view", "--data.teacher", "none", "--model.unet-norm", "group"]
    size = ["--model.lattice-cells", "512", "--data.width", "24", "--data.height", "18", "--data.views", "2"]
    run = ["--data.batch-size", "2", "--steps", "2", "--run-dir", "run", "--device", "cpu"]
    done = torchrun(tmp_path, "failing.py", "pretrain", "tiny", *options, *size, *run)
    assert done.returncode != 0
    assert "\nscene 7: expected points, found none.\n" in done.stderr
    assert "process 1 stopped: scene 7: expected points, found none.\n" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pretrain", "probe", "finetune", "instances", "clipgs"])
def test_torchrun(command, config, tmp_path):
    """The commands, started as a user starts them."""
    rooms = ["rooms", "--data", "rooms:4", "--labels.val-scenes", "1", "--batch-size", "2", "--steps", "2"]
    tiny = ["tiny", "--data", config.data.data, "--no-view", "--data.teacher", "none", "--data.batch-size", "2"]
    options = {
        "pretrain": [*tiny, "--steps", "2"],
        "probe": rooms,
        "finetune": rooms,
        "instances": [*rooms, "--pictures", "0"],
        "clipgs": ["train", "cpu", "--data", str(tmp_path), "--batch-size", "6", "--epochs", "1"],
    }[command]
    if command == "clipgs":
        write_shape_triplets(tmp_path)
    words = [command, *options, "--run-dir", str(tmp_path / "run"), "--device", "cpu"]
    done = torchrun(tmp_path, "-m", "gaussiancross", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps[0] == 1 and steps[-1] == 2
