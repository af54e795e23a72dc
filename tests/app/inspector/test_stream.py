"""The render thread's CUDA stream, on a simulated device."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from gaussiancross.app.inspector.stream import RenderStream
from gaussiancross.app.inspector.worker import RenderWorker


@pytest.fixture
def events(monkeypatch):
    """What happens to the streams, in order."""
    seen = []

    class Stream:
        def __init__(self, device, priority):
            seen.append(("made", str(device), priority))

        def wait_stream(self, other):
            seen.append(("waits for", other))

        def synchronize(self):
            seen.append(("finished",))

    @contextmanager
    def current(stream):
        seen.append(("entered",))
        yield
        seen.append(("left",))

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", current)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: f"default of {device}")
    return seen


def test_jobs_run_on_a_stream_of_low_priority_that_is_made_once(events):
    worker = RenderWorker(context=RenderStream(torch.device("cuda", 1)))
    for name in ("first", "second"):
        worker.submit(name, lambda name=name: events.append((name,)))
        worker.run_one()
    job = [("waits for", "default of cuda:1"), ("entered",), ("first",), ("left",), ("finished",)]
    assert events == [("made", "cuda:1", 0), *job, *job[:2], ("second",), *job[3:]]


def test_a_job_that_fails_still_finishes_its_kernels(events):
    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError), RenderStream(torch.device("cuda"))():
        fail()
    assert events[-1] == ("finished",)


def test_the_cpu_has_no_streams(events):
    with RenderStream(torch.device("cpu"))():
        pass
    assert events == []
