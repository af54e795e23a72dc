"""`gaussiancross bench`: the benchmarks in `gaussiancross.benchmarks`, by name."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ... import benchmarks
from ...core.errors import InputError


def main(args: Sequence[str]) -> int:
    known = list_benchmarks()
    if not args or args[0] in ("-h", "--help"):
        print("usage: gaussiancross bench NAME [options]\n")
        for name, summary in known.items():
            print(f"  {name:<12} {summary}")
        return 0
    name = args[0].replace("-", "_")
    if name not in known:
        raise InputError(f"gaussiancross bench {args[0]}", "one of " + ", ".join(known), "an unknown benchmark")
    before = sys.argv
    sys.argv = [f"gaussiancross bench {args[0]}", *args[1:]]
    try:
        return importlib.import_module(f"{benchmarks.__name__}.{name}").main() or 0
    finally:
        sys.argv = before


def list_benchmarks() -> dict[str, str]:
    """Name → one line of help. Sources are read, not imported: they pull in everything."""
    found = {}
    for folder in benchmarks.__path__:
        for path in sorted(Path(folder).glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            has_main = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
            if has_main and not path.stem.startswith("_"):
                found[path.stem] = (ast.get_docstring(tree) or "").split("\n")[0]
    return found
