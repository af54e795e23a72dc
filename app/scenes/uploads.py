"""Scenes from files that a browser sends."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path, PurePath

from ...core.errors import InputError
from ...core.io.formats import ENDINGS, SplatFormat, find_format
from .source import SceneState, SplatsSource

MAX_UPLOAD = 200_000_000
"""Bytes of a file from a browser, at most."""

MAX_ADDED = 8
"""Scenes from browsers that are kept, for all browsers together."""


def upload_too_large(name: str, size: int) -> InputError:
    """What is said about a file of ``size`` bytes, more than `MAX_UPLOAD`."""
    hint = "give larger ones to `gaussiancross view` where they lie"
    shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
    return InputError(shown, f"at most {MAX_UPLOAD // 10**6} MB", f"{size / 1e6:.0f} MB", hint)


def read_upload(name: str, content: bytes) -> SceneState:
    """A scene from a file that a browser sent. The name only decides the format; nothing is opened by it.

    Raises:
        InputError: too large, another format, or damaged; it names the file as the person knows it.
    """
    shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
    suffix = PurePath(shown).suffix.lower()
    if suffix not in ENDINGS:
        found = f"'{suffix}'" if suffix else "a name without an ending"
        raise InputError(shown, f"a file ending in {', '.join(ENDINGS)}", found)
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
    form = find_format(path)
    assert form is not None  # the ending is one of the table's
    if isinstance(form, SplatFormat):
        data = form.read(path)
        return SplatsSource(data.gaussians, name, sh=data.sh, labels=data.labels).load(0)
    return SceneState(name, points=form.read(path))


class _Renamed(InputError):
    """The sentence of another `InputError`, about the file's own name."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)
