"""Files that appear whole or not at all, and a full disk that is one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError

from ..errors import InputError


@contextmanager
def atomic_dir(folder: Path | str) -> Iterator[Path]:
    """A folder to write files into, which move to ``folder`` when the block ends well and are removed otherwise.

    Args:
        folder: made when absent; files of the same names are replaced. Several processes may write there.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=folder) as name:
            yield (staging := Path(name))
            for part in sorted(staging.iterdir(), reverse=True):  # weights before the config that describes them
                os.replace(part, folder / part.name)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by a class of its own
        raise InputError(folder, "a folder to write to", f"{error}", "check it and the space left") from error
