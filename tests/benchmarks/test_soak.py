"""`gaussiancross bench soak`: windows of made-up samples, and a short run."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest
from gaussiancross.app import cli
from gaussiancross.benchmarks.soak import Sample, compare, table, take_sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def steady(minutes: int) -> list[Sample]:
    """Samples every 5 s: half a step per core second, after a slow minute."""
    return [Sample(s, 2_000_000_000, 20, 17, busy=2.0 * s, step=max(0, s - 60)) for s in range(0, minutes * 60 + 1, 5)]


def test_a_steady_run_is_flat():
    rows, flat = table(*compare(steady(60), 600))
    assert flat and [row[1:3] for row in rows] == [("2", "2"), ("20", "20"), ("17", "17"), ("0.5", "0.5")]


@pytest.mark.parametrize("name, factor", [("memory", 1.06), ("handles", 1.1), ("threads", 1.1), ("busy", 1.06)])
def test_growth_and_slowing_down_are_noticed(name, factor):
    samples = steady(60)
    for i, sample in enumerate(samples):
        if sample.seconds > 1800:
            before = samples[i - 1].busy
            value = before + 10.0 * factor if name == "busy" else getattr(sample, name) * factor
            samples[i] = replace(sample, **{name: value})
    rows, flat = table(*compare(samples, 600))
    assert not flat and sum(row[3] == "+0.0%" for row in rows) == 3


def test_a_sample_is_of_the_process_named(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1, "loss/total": 1.0}\n{"step": 12, "loss/total": 0.5}\n')
    before = take_sample(os.getpid(), metrics, 0.0)
    with metrics.open():
        after = take_sample(os.getpid(), metrics, 1.0)
    assert after.handles == before.handles + 1 and after.step == 12
    assert after.threads >= 1 and after.memory > 1e7 and after.busy >= before.busy > 0


def test_windows_that_overlap_are_refused(capsys):
    assert cli.main(["bench", "soak", "--minutes", "20"]) == 2
    assert "a third of --minutes" in capsys.readouterr().err


@pytest.mark.slow
def test_a_short_run_loses_no_step(tmp_path):
    command = ["bench", "soak", "--minutes", "1.5", "--window", "0.4", "--pages", "2", "--every", "1"]
    assert cli.main([*command, "--data", "rooms:2", "--out", str(tmp_path)]) in (0, 1)  # it is too short to be flat
    report = json.loads((tmp_path / "soak.json").read_text())
    assert report["missing_steps"] == 0 and report["exit_status"] == 130
    assert report["samples"][-1]["step"] > 10 and (tmp_path / "soak.png").is_file()
