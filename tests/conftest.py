"""Fixtures and options that every test file shares."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.paths import SHARED_DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--fuzz-files", type=int, default=2500, help="damaged files for the readers, in all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = pytest.mark.skip(reason="takes minutes: run with --run-slow")
    gpu = pytest.mark.skip(reason="needs a CUDA device")
    without_gpu = any(item.get_closest_marker("gpu") for item in items) and not _cuda()
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--run-slow"):
            item.add_marker(slow)
        if item.get_closest_marker("gpu") and without_gpu:
            item.add_marker(gpu)


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample data (captures, golden vectors); its tests skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no sample data at {SHARED_DATA} (set GAUSSIANCROSS_TEST_DATA to where it is)")
    return SHARED_DATA


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """An empty GAUSSIANCROSS_CACHE for the tests of one file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
