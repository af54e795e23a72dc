"""The wheel and the source archive hold what an installation needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".*", "docs/_build", "build", "dist", "*.egg-info", "__pycache__", "runs", "outputs", "shared")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Folder with the source archive and the wheel that is built from it, as `make dist` does, without downloads."""
    pytest.importorskip("build", reason="needs the package build")
    tree = tmp_path_factory.mktemp("dist") / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    subprocess.run([sys.executable, "-m", "build", "--no-isolation"], cwd=tree, check=True, timeout=600)
    return tree / "dist"


@pytest.fixture(scope="module")
def python(built, tmp_path_factory) -> Path:
    """Python of an empty environment with the wheel alone.

    Its dependencies (torch, numpy, viser, ...) are those of this environment, through a .pth file: nothing is
    downloaded. Only the project itself is tested to be complete.
    """
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, timeout=300)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, *words: str, folder: Path) -> str:
    done = subprocess.run([python, *words], cwd=folder, env={"PATH": ""}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_archives_are_accepted_by_the_index(built):
    pytest.importorskip("twine", reason="needs the package twine")
    files = map(str, sorted(built.iterdir()))
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True, timeout=120)


def test_the_source_archive_holds_everything_that_the_wheel_holds(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        installed = {n.removeprefix("gaussiancross/") for n in wheel.namelist() if n.startswith("gaussiancross/")}
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    assert installed and installed <= sources
    assert {"__init__.py", "assets/rooms/model.safetensors", "app/cli.py"} <= installed
    assert {"LICENSE", "README.md", "pyproject.toml"} <= sources
    assert not [n for n in installed if n.startswith(("tests/", "docs/", "examples/"))]


def test_the_wheel_works_in_an_empty_environment(python, tmp_path):
    code = (
        "import gaussiancross, numpy as np; "
        "print(gaussiancross.__file__, gaussiancross.__version__); "
        "model = gaussiancross.load('bundled-rooms'); "
        "gaussiancross.load('bundled-clipgs'); "
        "print(model.encode(np.random.rand(500, 3), np.zeros((500, 3), np.uint8)).shape)"
    )
    printed = run(python, "-c", code, folder=tmp_path)
    assert str(python.parents[1]) in printed.splitlines()[0] and "torch.Size([500, 48])" in printed


def test_the_command_is_installed(python, tmp_path):
    script = str(python.with_name("gaussiancross"))
    assert "usage: gaussiancross COMMAND" in run(python, script, "--help", folder=tmp_path)
    assert run(python, script, "--version", folder=tmp_path).startswith("gaussiancross 0.")
