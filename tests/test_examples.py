"""Every script and notebook in examples/ runs, as a user runs it, on small data."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.docs_workspace import Workspace

EXAMPLES = Path(__file__).parents[1] / "examples"

RUNS = {
    "01_embed_points": ("scene.ply", "3,000 points, 400 features", ("features.npy", "features.ply")),
    "02_splat_gaussians_cpu": ("--steps 20 --count 200 --size 32", "step   19", ("splats.png",)),
    "03_pretrain_own_capture": ("path/to/capture --steps 2 --width 32", "eval/psnr", ("runs/own/checkpoints",)),
    "04_query_scene": ("path/to/capture floor unicorn --frames 4", "floor: ", ()),
    "05_retrieve_objects": ("MESHES lamp", "tall_lamp.glb: ", ()),
    "06_inspector_from_python": ("path/to/capture --port 7107 --seconds 1", "Inspector: http://127.0.0.1:71", ()),
    "07_custom_teacher": ("path/to/capture --steps 2", "cosine to the teacher", ("runs/teacher/checkpoints",)),
}
"""Script -> arguments, text that it prints, files that it writes."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("examples"))


def test_every_example_is_run_is_short_and_is_listed():
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in scripts] == list(RUNS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 60, path.name
        assert text.startswith('"""') and f"({path.name})" in readme
        assert "import _" not in text and "._" not in text, "public names only"


@pytest.mark.parametrize("name", RUNS)
def test_example(name, workspace, tmp_path, monkeypatch, capfd):
    """In this process, which has imported what takes most of a script's time; the first in one of its own."""
    arguments, printed, written = RUNS[name]
    command = [str(EXAMPLES / f"{name}.py"), *arguments.split()]
    for needed in workspace.needed(command, set()):
        workspace.add(needed, tmp_path)
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    if name == next(iter(RUNS)):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert printed in done.stdout
    else:
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path(command[0], run_name="__main__")
        assert printed in capfd.readouterr().out
    for file in written:
        assert (tmp_path / file).exists(), file


# --- the notebook ------------------------------------------------------------------------------------------------


def cells() -> list[dict]:
    return json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]


def test_the_notebook_is_stored_without_outputs():
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Through Jupyter's client where it is installed, else its code cells as one script."""
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError:
        source = "\n".join("".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code")
        subprocess.run([sys.executable, "-c", source], cwd=tmp_path, check=True, timeout=600)
        return
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", ()))
    assert "floor      present: True" in printed and "'apple'" in printed
