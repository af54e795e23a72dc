"""No line mixes CPU tensors with another device's: runs `device_checks.py` in its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot pretend a device",
)
def test_everything_that_computes_on_a_device():
    """The pretended device stays in torch for as long as the process."""
    checks = Path(__file__).with_name("device_checks.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=checks.parents[1], timeout=900)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
