"""Requirements of the install extras that pyproject.toml declares."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def extra_requirements(extra: str) -> list[Requirement]:
    """Requirements of an install extra, markers included. Read without tomllib, which Python 3.10 lacks."""
    project = (ROOT / "pyproject.toml").read_text()
    found = re.search(rf"^{extra} = \[(.*?)\](?= *$)", project, re.M | re.S)
    assert found, f"pyproject.toml has no extra {extra!r}"
    return [Requirement(text) for text in re.findall(r'"([^"]+)"', re.sub(r"#.*", "", found[1]))]
