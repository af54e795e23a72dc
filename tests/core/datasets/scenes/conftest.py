"""Fixtures of the scene tests: a cache per test and an RGB-D export."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.capture import write_export


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "room")
