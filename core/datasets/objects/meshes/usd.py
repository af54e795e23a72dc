"""Read USD files (USDZ and the layers in it), converted to GLB by `usd_worker.py` in a process with limits.

Pixar's library reads what a damaged file says: it would take all memory, never end, or end the whole program.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ....errors import InputError
from ....io.plain_files import check_plain

USD = (".usdz", ".usdc", ".usda", ".usd")
"""Endings of USD files: an archive, binary, text, and any of the last two."""

_WORKER = Path(__file__).with_name("usd_worker.py")
_MEMORY, _MEMORY_PER_BYTE = 8 << 30, 40
"""Most address space (bytes) of the process: in any case, and by size of the file."""
_SECONDS, _SECONDS_PER_BYTE = 30.0, 1e-6
"""Longest time of the process, by size of the file likewise."""


def usd_as_glb(path: Path, most_faces: int) -> bytes:
    """The visible meshes of a USD stage at its first time as GLB, in metres and y up, with their preview materials.

    Polygons become triangles. Subdivision surfaces are taken as their cages. Shapes other than meshes (spheres, cubes,
    curves) are left out.

    Raises:
        InputError: usd-core is not installed, the file is damaged, a texture is missing or damaged, or there are more
            than ``most_faces`` triangles.
    """
    if ("pxr" not in sys.modules and find_spec("pxr") is None) or sys.modules.get("pxr", True) is None:
        hint = 'run `pip install "gaussiancross[objects]"`'
        raise InputError(path, "the package usd-core, to read USD", "no such package", hint)
    check_plain(path)
    size = path.stat().st_size
    seconds = _SECONDS + _SECONDS_PER_BYTE * size
    limits = [str(most_faces), str(_MEMORY + _MEMORY_PER_BYTE * size), str(round(seconds))]
    damaged = InputError(path, "a readable USD file", f"{size} bytes that are not")
    with tempfile.TemporaryDirectory(prefix="gaussiancross-usd-") as folder:
        out = Path(folder) / "out.glb"
        command = [sys.executable, str(_WORKER), str(path.absolute()), str(out), *limits]
        try:
            done = subprocess.run(command, capture_output=True, timeout=4 * seconds, check=False)
        except subprocess.TimeoutExpired as error:
            raise damaged from error
        if done.returncode == 0 and out.is_file():
            return out.read_bytes()
        try:
            refused = json.loads(done.stdout.decode().splitlines()[-1])
        except (ValueError, IndexError) as error:  # the process broke down
            raise damaged from error
    raise InputError(path, *refused)
