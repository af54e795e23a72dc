"""Targets of the Makefile, as far as they run without installing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_list_of_packages_names_what_is_installed(tmp_path):
    uv = ROOT / ".uv" / "bin" / "uv"
    if not uv.is_file() or not (ROOT / "uv.lock").is_file():
        pytest.skip("needs the uv and the uv.lock that `make install` makes")
    (command,) = (line for line in recipe("dist").replace("\\\n", " ").splitlines() if "cyclonedx" in line)
    words = [str(tmp_path / "x.json") if word.startswith("dist/") else word for word in command.split()]
    subprocess.run([uv, "--cache-dir", tmp_path / "cache", *words[1:]], cwd=ROOT, check=True, timeout=60)
    content = json.loads((tmp_path / "x.json").read_text())
    names = {component["name"] for component in content["components"]}
    assert content["bomFormat"] == "CycloneDX" and {"torch", "numpy", "nerfstudio", "viser"} <= names
    assert not names & {"pytest", "ruff"}


def test_an_audit_without_a_network_says_that_it_is_skipped():
    script = "if " + recipe("audit").rpartition("if ")[2].replace(".venv/bin/python", sys.executable)
    offline = script.replace('"api.osv.dev", 443', '"localhost", 1')
    done = subprocess.run(["sh", "-c", offline], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("audit: skipped, because"), done


def recipe(target: str) -> str:
    """Commands of a target, as `make -n` prints them; the same where this test runs under `make` itself."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "-n", target]
    return subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=True, timeout=60).stdout
