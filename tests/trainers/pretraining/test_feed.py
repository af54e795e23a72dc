"""Batches prepared by pools of threads and processes, and copied ahead."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from gaussiancross.core.data.packed import PackedViews, map_tensors
from gaussiancross.core.teachers.shards import stack_packed, unpack
from gaussiancross.trainers.pretraining import feed as module
from gaussiancross.trainers.pretraining.data import PretrainData, join
from gaussiancross.trainers.pretraining.feed import copied_ahead, feed
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.box_room import SMALL, write_box_room
from helpers.waiting import wait_for
from rich.console import Console

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    room = write_box_room(tmp_path_factory.mktemp("capture") / "room")
    folder = str(tmp_path_factory.mktemp("features"))
    return replace(
        SMALL, data=replace(SMALL.data, data=str(room), teacher="builtin", teacher_cache=folder, batch_size=3)
    )


def data_of(config, **options) -> PretrainData:
    return PretrainData(replace(config.data, **options), config.model.input, config.seed)


def assert_same(one, other):
    tensors = [[], []]
    for batch, found in zip((one, other), tensors, strict=True):
        map_tensors(batch, lambda t, found=found: found.append(t) or t)
    assert len(tensors[0]) == len(tensors[1]) > 10
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(*tensors, strict=True))


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 3}, {"workers": 2, "processes": True}])
def test_batches_do_not_depend_on_the_workers(config, options):
    expected = data_of(config)
    with closing(feed(data_of(config, **options), 5, CPU)) as batches:
        for step, batch in zip((5, 6, 7), batches, strict=False):
            assert_same(batch, expected.batch(step))


def test_an_error_of_a_worker_arrives(config, monkeypatch):
    data = data_of(config, workers=2)
    monkeypatch.setattr(data, "_train_scene", lambda index: 1 / 0)
    with closing(feed(data, 0, CPU)) as batches, pytest.raises(ZeroDivisionError):
        next(batches)


KILLED = """
import multiprocessing, os, threading, time
from gaussiancross.trainers.pretraining.feed import _end_with_parent

def work(ready):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(os.getpid(), flush=True)
    ready.set()
    time.sleep(60)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    context.Process(target=work, args=(ready,)).start()
    ready.wait()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(KILLED)
    printed = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60).stdout
    wait_for(lambda: not _runs(int(printed)), "the worker's end", 10)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_packed_views_are_the_same_numbers_in_a_third_of_the_bytes(config):
    data = data_of(config)
    plain, packed = data.batch(2), join([data.slot(2, slot, packed=True) for slot in range(3)])
    views = packed.views[0]
    assert isinstance(views, PackedViews)
    types = views.color.dtype, views.depth.dtype, views.teacher.dtype
    assert types == (torch.uint8, torch.uint16, torch.float16)
    assert_same(packed.to("cpu"), plain)
    held_out = data.val.frames(0).subset([1, 0])  # subsets of subsets stay packed
    color, depth, unit = held_out.packed([0, 1], 24, 18)
    floats = held_out.stack([0, 1], 24, 18)
    assert color.dtype == torch.uint8 and torch.equal(depth.float() * unit, floats[1])


def test_features_in_int8_are_unpacked_on_the_device():
    features = torch.randint(-127, 128, (2, 3, 4, 5)).to(torch.int8)
    frames = [{"features": features[i : i + 1].numpy(), "scale": torch.rand(1, 3, 4).numpy()} for i in range(2)]
    stacked, scale = stack_packed(frames)
    assert stacked.dtype == torch.int8 and scale is not None
    expected = torch.cat([torch.from_numpy(unpack(frame)) for frame in frames])
    assert torch.equal(stacked.float() * scale[..., None], expected)
    mixed = [frames[0], {"features": features[1:].numpy().astype("float16")}]
    assert stack_packed(mixed)[0].dtype == torch.float32


def test_a_run_with_workers_resumes_exactly(config, tmp_path):
    def run(folder, workers, steps):
        options = replace(config, steps=4, save_every=2, eval_every=0, data=replace(config.data, workers=workers))
        trainer = Pretrainer(options, tmp_path / folder, device="cpu")
        trainer.resume()
        trainer.should_stop = lambda *_: trainer.step >= steps
        trainer.fit(console=Console(quiet=True))
        return trainer.model.state_dict()

    whole = run("one", 1, 4)
    run("parts", 3, 2)
    parts = run("parts", 3, 4)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_a_batch_is_copied_while_the_one_before_is_used(config, monkeypatch):
    events = []

    class Stream:
        def __init__(self, device=None):
            pass

        def record_event(self):
            return "copied"

        def wait_event(self, event):
            events.append("wait")

    @contextmanager
    def stream(_):
        events.append("copy")
        yield

    monkeypatch.setattr(module.torch.cuda, "Stream", Stream)
    monkeypatch.setattr(module.torch.cuda, "stream", stream)
    monkeypatch.setattr(module.torch.cuda, "current_stream", lambda device: Stream())
    data = data_of(config)
    batches = [data.batch(step) for step in range(3)]
    for batch, expected in zip(islice(copied_ahead(iter(batches), CPU), 2), batches, strict=False):
        events.append("step")
        assert_same(batch.to(CPU), expected)
    assert events == ["copy", "copy", "step", "wait", "copy", "step", "wait"]


def test_on_cuda_all_cores_but_one_prepare_batches_that_are_pinned(config, monkeypatch):
    pinned, pools = [], []
    joined = module._joined

    def watched(data, pool, joiner, start, workers, cuda):
        pools.append(workers)
        return joined(data, pool, joiner, start, workers, cuda)

    monkeypatch.setattr(module, "_joined", watched)
    monkeypatch.setattr(module, "_cores", lambda: 4)
    monkeypatch.setattr(module, "copied_ahead", lambda batches, device: batches)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(id(tensor)) or tensor)
    with closing(feed(data_of(config), 0, torch.device("cuda"))) as batches:
        batch = next(batches)
    assert pools == [3] and isinstance(batch.views[0], PackedViews)
    assert {id(batch.points.feat), id(batch.views[0].color), id(batch.views[2].teacher)} <= set(pinned)
