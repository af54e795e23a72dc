"""What is installed, and who may import whom."""

import ast
import subprocess
import sys
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

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


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


def test_every_module_lies_in_a_package():
    assert [p for p in modules() if not (p.parent / "__init__.py").exists()] == []


def test_core_knows_neither_trainers_nor_viewer():
    forbidden = ("gaussiancross.trainers", "gaussiancross.app", "gaussiancross.benchmarks", "nerfstudio", "viser")
    assert offenders("core", forbidden) == []


def test_trainers_do_not_know_the_viewer():
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


def test_imports_are_seen(tmp_path, monkeypatch):
    """The reader above finds what the tests above rely on it to find."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "core" / "io" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from ...trainers.pretraining import data\n"
        "from ..data.scene import Frame\n"
        "from . import ply\n"
        "if TYPE_CHECKING:\n    import viser\n"
        "class A:\n    import gsplat.cuda\n    def f(self):\n        import spconv\n"
    )
    shallow = imported(path, module_level=True)
    assert {
        "gaussiancross.trainers.pretraining.data",
        "gaussiancross.core.data.scene.Frame",
        "gaussiancross.core.io.ply",
    } <= shallow
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
