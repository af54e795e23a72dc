"""Folders of core/synthetic import downwards, and none of them imports data sets."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from gaussiancross.core import synthetic

ROOT = Path(synthetic.__file__).parent
BELOW = {
    "geometry": set(),
    "materials": set(),
    "render": set(),
    "furniture": {"geometry", "materials"},
    "rooms": {"geometry", "materials", "render", "furniture"},
    "objects": {"geometry", "materials", "render", "furniture", "rooms"},
}
"""Folders that each folder may import besides itself."""


def imports(path: Path) -> set[tuple[str, ...]]:
    """Modules and names that a file imports from ``core``, as paths from there."""
    here = ("synthetic", *path.relative_to(ROOT).parent.parts)
    out: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1]
            names = node.module.split(".") if node.module else []
            out |= {(*base, *names, alias.name) for alias in node.names}
    return out


@pytest.mark.parametrize("folder", BELOW)
def test_imports_go_downwards(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for module in imports(path):
            assert module[0] != "datasets", f"{path} imports {'.'.join(module)}"
            if module[0] == "synthetic":
                assert module[1] in BELOW[folder] | {folder}, f"{path} imports {'.'.join(module)}"
