"""Fixtures of the pre-training tests: a tiny capture and runs on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.box_room import SMALL, write_box_room


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """`SMALL` on the box room; fused points are cached in a folder of this test's own."""
    folder = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        room = write_box_room(folder / "room")
        yield replace(SMALL, data=replace(SMALL.data, data=str(room)))


@pytest.fixture(scope="module")
def data(config):
    return PretrainData(config.data, config.model.input, seed=0)


@pytest.fixture
def make_run(config, data, tmp_path):
    """Pretrainers on the box room, in one run folder unless told otherwise."""

    def make(folder="run", feed=None, **changes):
        return Pretrainer(replace(config, **changes), tmp_path / folder, data=data, device="cpu", feed=feed)

    return make
