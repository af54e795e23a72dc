"""Installed packages, the import graph, file lengths and wording."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
TOP = ("app", "assets", "benchmarks", "core", "trainers")

OPTIONAL = {"gsplat", "spconv", "nerfstudio", "transformers"}
"""Packages that a plain install lacks."""

NERFSTUDIO_SIDE = ("trainers/ns/", "app/ns_method.py")
"""Code that only nerfstudio imports."""


def modules() -> list[Path]:
    return [ROOT / "__init__.py", *sorted(p for top in TOP for p in (ROOT / top).rglob("*.py"))]


def imported(path: Path, module_level: bool) -> set[str]:
    """Absolute names that a file imports: "gaussiancross.core.data.scene", "torch.nn". Imports for type checkers only
    do not count; with ``module_level`` neither do those inside functions."""
    package = ["gaussiancross", *path.relative_to(ROOT).parent.parts]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if module_level and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found.update(f"{name}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(parsed(path))
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def offenders(top: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        if path.relative_to(ROOT).parts[0] == top
        for name in sorted(imported(path, module_level=False))
        if any(name == f or name.startswith(f + ".") for f in forbidden)
    ]


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    on_disk = {
        ".".join(("gaussiancross", *p.parent.relative_to(ROOT).parts)) for p in modules() if p.stem == "__init__"
    }
    assert set(listed) == on_disk
    assert len(listed) == len(set(listed))


def test_every_module_is_in_a_package():
    assert [p for p in modules() if not (p.parent / "__init__.py").exists()] == []


def test_core_imports_neither_trainers_nor_viewer():
    forbidden = ("gaussiancross.trainers", "gaussiancross.app", "gaussiancross.benchmarks", "nerfstudio", "viser")
    assert offenders("core", forbidden) == []


def test_trainers_do_not_import_the_viewer():
    assert offenders("trainers", ("gaussiancross.app", "gaussiancross.benchmarks", "viser")) == []


def test_only_the_nerfstudio_side_imports_nerfstudio():
    found = [line for top in TOP for line in offenders(top, ("nerfstudio",))]
    assert [line for line in found if not line.startswith(NERFSTUDIO_SIDE)] == []


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_optional_packages_are_imported_where_used(path: Path):
    if str(path.relative_to(ROOT)).startswith(NERFSTUDIO_SIDE):
        return
    roots = {name.split(".")[0] for name in imported(path, module_level=True)}
    assert not roots & OPTIONAL


def test_the_import_reader_finds_all_forms(tmp_path, monkeypatch):
    """The reader above finds what the tests above rely on it to find."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "core" / "io" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from ...trainers import data\n"
        "from ..scene import Frame\n"
        "from . import ply\n"
        "if TYPE_CHECKING:\n    import viser\n"
        "class A:\n    import gsplat.cuda\n    def f(self):\n        import spconv\n"
    )
    shallow = imported(path, module_level=True)
    assert {"gaussiancross.trainers.data", "gaussiancross.core.scene.Frame", "gaussiancross.core.io.ply"} <= shallow
    assert "gsplat.cuda" in shallow and "spconv" not in shallow and "viser" not in shallow
    assert "spconv" in imported(path, module_level=False)


def test_plain_install_imports_without_the_optional_packages():
    blocked = ["nerfstudio", "gsplat", "spconv", "transformers"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "import gaussiancross.core, gaussiancross.core.models, gaussiancross.core.splat, gaussiancross.core.sparse\n"
        "import gaussiancross.core.datasets, gaussiancross.core.io, gaussiancross.core.teachers\n"
        "import gaussiancross.trainers.pretraining.trainer, gaussiancross.trainers.pretraining.presets\n"
        "import gaussiancross.app.cli, gaussiancross.app.doctor.checks, gaussiancross.app.scenes.source\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


LAZY = {
    "gaussiancross.core": {"Cameras", "ClipGS", "GaussianCross", "Gaussians", "PointScene", "PosedFrames"},
    "gaussiancross.core.nn": {"SpUNet"},
}
"""Package → public names that it imports when they are first used."""


@pytest.mark.parametrize("package", LAZY)
def test_public_names_are_imported_when_used(package: str):
    names = sorted(LAZY[package])
    code = (
        f"import sys, {package} as package\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert not {'torch', 'numpy', 'scipy', 'numba'} & loaded, loaded\n"
        f"assert set(package.__all__) == set({names}) and set({names}) <= set(dir(package))\n"
        f"from {package} import {', '.join(names)}\n"
        f"assert all(isinstance(value, type) for value in ({', '.join(names)},))\n"
        f"assert [value.__name__ for value in ({', '.join(names)},)] == {names}\n"
        "assert not hasattr(package, 'Nothing')\n"
        "import gaussiancross.core.models\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# ── the import graph ─────────────────────────────────────────────────────────────────────────────────────────────


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["gaussiancross", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def import_graph(module_level: bool = False) -> dict[str, set[str]]:
    """Module → the modules of this package that it imports, without those for type checkers only."""
    known = {module_name(path): path for path in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = set()
        for target in imported(path, module_level):
            while target and target not in known:  # a name in a module: the module
                target = target.rpartition(".")[0]
            if target and target != name:
                graph[name].add(target)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module, the largest first (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def import_chain(graph: dict[str, set[str]], start: str, package: str) -> list[str]:
    """The shortest chain of imports from ``start`` to a module that imports ``package``; empty without one.

    The packages above a module are imported with it, so they count.
    """
    direct = {name for path in modules() for name in [module_name(path)] if _imports(path, package)}
    seen: set[str] = set()
    chains: list[list[str]] = []

    def reach(name: str, chain: list[str]) -> None:
        parts = name.split(".")
        for loaded in (".".join(parts[:k]) for k in range(len(parts), 1, -1)):
            if loaded in graph and loaded not in seen:
                seen.add(loaded)
                chains.append([*chain, loaded])

    reach(start, [])
    for chain in chains:
        if chain[-1] in direct:
            return chain
        for target in sorted(graph[chain[-1]]):
            reach(target, chain)
    return []


def _imports(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(package + ".") for name in imported(path, module_level=True))


def test_circles_and_chains_are_found():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]
    assert import_chain(import_graph(module_level=True), "gaussiancross.app.inspector.inspector", "viser")


def test_no_more_than_three_modules_import_each_other():
    assert [circle for circle in circles(import_graph()) if len(circle) > 3] == []


def test_of_the_application_only_the_command_bench_imports_benchmarks():
    assert offenders("app", ("gaussiancross.benchmarks",)) == ["app/commands/bench.py imports gaussiancross.benchmarks"]


@pytest.mark.parametrize("folder", ["render", "query", "scenes", "export"])
def test_images_queries_scenes_and_exports_need_no_viser(folder: str):
    graph = import_graph(module_level=True)
    starts = [name for name in graph if f"{name}.".startswith(f"gaussiancross.app.{folder}.")]
    assert [chain for name in starts if (chain := import_chain(graph, name, "viser"))] == []


# ── files and words ──────────────────────────────────────────────────────────────────────────────────────────────


def test_no_file_is_longer_than_400_lines():
    files = [*modules(), *(ROOT / "tests").rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


PRIVATE_NAMES = (
    *("Painted", "Placing", "Pace", "_purse", "_Watch", "_tell", "ObjectDesk", "TextModels", "FoundPanel", "Lexicon"),
    *("KeptTeacher", "keep_features", "Rhythm", "must_match", "_harmed", "try_save", "FixedProbe", "FOR_TESTS"),
    *("Workplace", "_meant", "whole_files", "load_inert", "any_object"),
)
"""Names of classes and functions that the field's terms have replaced."""

PRIVATE_DEFINITIONS = ("Look", "Turn", "Words", "Question", "Found", "Finding", "Setting", "Chosen", "Kept", "told")
"""Such names that are English words, too: no class and no function may be called so."""

PRIVATE_PHRASES = (
    "an honest word",
    "are no work for a CPU",
    "fast, because the features move",
    "has a roof",
    "is believed",
    "is mostly a picture",
    "points hang together",
    "point listens to",
    "pose_check` doubts",
    "purse of seconds",
    "rub off",
    "that ships",
    "the representation any good",
    "things to take home",
    "wear the same",
    "wearing the features",
    "what is like them",
    "who looks or asks",
)
"""Phrases that a newcomer cannot read; CONTRIBUTING.md says what to write instead."""


def texts() -> list[Path]:
    """Source and documentation, without the record of changes and this file."""
    folders = [ROOT / name for name in (*TOP, "tests", "docs", "examples")]
    found = [path for folder in folders for end in ("py", "md", "html") for path in folder.rglob(f"*.{end}")]
    return sorted({*found, *ROOT.glob("*.md"), ROOT / "pyproject.toml"} - {ROOT / "CHANGELOG.md", Path(__file__)})


def occurrences(patterns: list[str], flags: int = 0) -> list[str]:
    search = re.compile("|".join(patterns), flags).finditer
    out = []
    for path in texts():
        text = path.read_text(encoding="utf-8")
        lines = (text.count("\n", 0, match.start()) + 1 for match in search(text))
        out += [f"{path.relative_to(ROOT)}:{line}" for line in lines]
    return out


def test_replaced_names_are_gone():
    names = [rf"\b{re.escape(name)}\b" for name in PRIVATE_NAMES]
    definitions = [rf"^[ \t]*(class|def) {name}\b" for name in PRIVATE_DEFINITIONS]
    assert occurrences([*names, *definitions], re.MULTILINE) == []


def test_replaced_phrases_are_gone():
    words = [re.escape(phrase).replace(r"\ ", r"[\s#]+") for phrase in PRIVATE_PHRASES]  # also across lines
    assert occurrences(words, re.IGNORECASE) == []
