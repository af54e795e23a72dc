"""`gaussiancross bench feed` and `bench memory`: small, and the budgets of memory."""

from __future__ import annotations

import json

import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.benchmarks.memory import BATCHES, Memory, account, kept_bytes, peak_bytes, viewer


def test_feed_prints_ceilings(tmp_path, capsys):
    small = ["--points", "3000", "--dim", "16", "--frames", "5", "--scenes", "2", "--out", str(tmp_path)]
    assert cli.main(["bench", "feed", *small]) == 0
    report = json.loads((tmp_path / "feed.json").read_text())
    assert report["bytes"][1] < report["bytes"][0] / 2 and 0 < report["packed"] < 60
    assert set(report["ceilings"]) == {"2", "8", "16"} and "ceiling of 16 cores" in capsys.readouterr().out


def test_kept_bytes_are_those_of_autograd():
    layer = torch.nn.Linear(8, 4)
    x = torch.rand(10, 8, requires_grad=True)
    assert kept_bytes(lambda: layer(x).relu(), layer) == 4 * (10 * 8 + 10 * 4)  # input of the layer, output of the ReLU


def test_peak_bytes_are_those_alive_at_a_time():
    assert peak_bytes(lambda: torch.zeros(10).add(1).mul(2).sum()) == 2 * 40


@pytest.fixture(scope="module")
def table():
    return {batch: account(Memory(), batch) for batch in (1, 4, 8)}


def test_the_paper_s_scale_fits_into_24_and_40_gb(table):
    assert table[4]["sum and working memory"] < 24e9 and table[8]["sum and working memory"] < 40e9


@pytest.mark.parametrize("dim", [512, 1280])
def test_a_viewer_adds_at_most_1_gb(dim):
    parts = viewer(Memory(dim=dim))
    assert 0.5e9 < parts["sum"] <= 1e9 and parts["network"] > parts["weights"] > 1e8


def test_every_part_grows_with_the_batch_at_most(table):
    assert set(table) <= set(BATCHES)
    for part, size in table[8].items():
        assert 0 < table[1][part] <= size <= 8.5 * table[1][part]


def test_memory_prints_a_table(tmp_path, capsys):
    assert cli.main(["bench", "memory", "--voxels", "1000", "--dim", "16", "--out", str(tmp_path)]) == 0
    assert "| dense U-Net |" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "memory.json").read_text())["batches"]) == {"1", "2", "4", "8"}
