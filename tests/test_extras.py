"""The extra `cuda` can be installed on every platform: it asks only for wheels that exist there."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from helpers.install_extras import ROOT, extra_requirements

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "x86_64-manylinux_2_28": {"sys_platform": "linux", "platform_machine": "x86_64"},
    "aarch64-manylinux_2_28": {"sys_platform": "linux", "platform_machine": "aarch64"},
    "aarch64-apple-darwin": {"sys_platform": "darwin", "platform_machine": "arm64"},
}
"""uv's name of a platform → values of its environment markers."""
HAS_SPCONV = {(python, "x86_64-manylinux_2_28") for python in PYTHONS[:-1]}
HAS_COMPILER = {(python, platform) for python in PYTHONS for platform in PLATFORMS if "linux" in platform}
CASES = [(python, platform) for python in PYTHONS for platform in PLATFORMS]


@pytest.mark.parametrize(("python", "platform"), CASES)
def test_markers_name_the_platforms_of_the_wheels(python, platform):
    environment = PLATFORMS[platform] | {"python_version": python}
    asked = {r.name for r in extra_requirements("cuda") if r.marker is None or r.marker.evaluate(environment)}
    expected = {"gsplat"}
    expected |= {"spconv-cu126"} if (python, platform) in HAS_SPCONV else set()
    expected |= {"cuda-toolkit"} if (python, platform) in HAS_COMPILER else set()
    assert asked == expected


@pytest.mark.slow
@pytest.mark.parametrize(("python", "platform"), CASES)
def test_the_extra_resolves_to_wheels_alone(python, platform):
    own = ROOT / ".uv" / "bin" / "uv"
    uv = str(own) if own.is_file() else shutil.which("uv")
    if uv is None:
        pytest.skip("uv is neither in .uv nor on PATH")
    target = ("--python-version", python, "--python-platform", platform)
    command = [uv, "pip", "compile", "-q", "--no-header", "--no-annotate", "pyproject.toml", "--extra", "cuda", *target]
    done = subprocess.run([*command, "--only-binary", ":all:"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and re.search(r"(error sending request|dns error|[Cc]onnect|timed out|fetch)", done.stderr):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found = dict(line.split("==") for line in done.stdout.split() if "==" in line)
    assert ("spconv-cu126" in found) == ((python, platform) in HAS_SPCONV)
    assert ("nvidia-cuda-nvcc" in found) == ((python, platform) in HAS_COMPILER)
    if "nvidia-cuda-nvcc" in found:  # of the CUDA version that torch is built for
        runtime = found["nvidia-cuda-runtime"].split(".")[:2]
        assert found["nvidia-cuda-nvcc"].split(".")[:2] == runtime
