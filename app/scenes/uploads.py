"""Scenes from files that a browser sends."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path, PurePath

from ...core.errors import InputError
from ...core.io import read_gaussians, read_points, read_splat
from .source import SceneState, SplatsSource

MAX_UPLOAD = 200_000_000
"""Bytes of a file from a browser, at most."""

MAX_ADDED = 8
"""Scenes from browsers that are kept, for all browsers together."""


def is_splat_ply(path: Path) -> bool:
    """Whether the header of a PLY lists what Gaussian splats have. A missing file is left to the reader."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b" f_dc_0" in file.read(1 << 14).partition(b"end_header")[0]


def upload_too_large(name: str, size: int) -> InputError:
    """What is said about a file of ``size`` bytes, more than `MAX_UPLOAD`."""
    hint = "give larger ones to `gaussiancross view` where they lie"
    shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
    return InputError(shown, f"at most {MAX_UPLOAD // 10**6} MB", f"{size / 1e6:.0f} MB", hint)


def read_upload(name: str, content: bytes) -> SceneState:
    """A scene from a file that a browser sent. The name only decides the format; nothing is opened by it.

    Raises:
        InputError: too large, neither .ply nor .splat, or damaged; it names the file as the person knows it.
    """
    shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
    suffix = PurePath(shown).suffix.lower()
    if suffix not in (".ply", ".splat"):
        raise InputError(shown, "a .ply or a .splat", f"'{suffix}'" if suffix else "a name without an ending")
    if len(content) > MAX_UPLOAD:
        raise upload_too_large(shown, len(content))
    with tempfile.TemporaryDirectory(prefix="gaussiancross-upload-") as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        try:
            return _read(path, re.sub(r"[^\w.-]+", "_", PurePath(shown).stem) or "upload")
        except InputError as error:
            raise _Renamed(str(error).replace(str(path), shown)) from error


def _read(path: Path, name: str) -> SceneState:
    if path.suffix == ".ply" and not is_splat_ply(path):
        return SceneState(name, points=read_points(path))
    gaussians = read_splat(path) if path.suffix == ".splat" else read_gaussians(path)
    return SplatsSource(gaussians, name).load(0)


class _Renamed(InputError):
    """The sentence of another `InputError`, about the file's own name."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)
