"""Source files that the documentation names exist, and hold the functions that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md"))))

SOURCE = re.compile(r"`((?:app|core|trainers|benchmarks|tests|examples)/[\w./-]+\.py)`(?:: `(\w+)`)?")
"""A source file in backticks, optionally followed by the name of something in it."""


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    for path, name in SOURCE.findall(text):
        assert (ROOT / path).is_file(), f"{page} names {path}"
        if name:
            assert re.search(rf"\b(def|class) {name}\b|^{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.M)


def test_architecture_names_the_files_of_a_training_step():
    assert len(SOURCE.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))) >= 20
