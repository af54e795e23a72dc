"""Fixtures of the benchmarks' tests: a tiny capture and a small network on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.box_room import small_config, write_box_room, write_random_features


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_box_room(tmp_path_factory.mktemp("capture") / "box")


@pytest.fixture(scope="module")
def config(capture, tmp_path_factory):
    return small_config(capture, write_random_features(tmp_path_factory.mktemp("teacher")))
