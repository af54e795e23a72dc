"""Files of CLIP-GS models: the bundled one, exported ones (weights and a card that describes them) and runs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import from_dict
from ..errors import InputError
from ..io.checkpoint import CONFIG, MODEL, latest_checkpoint, load_checkpoint, load_weights
from ..io.json_files import read_json
from ..io.pretrained import BUNDLED_CLIPGS
from .clipgs_config import ClipGSConfig

WEIGHTS, CARD = "clipgs.safetensors", "clipgs.json"
KIND = "clipgs"
"""Value of ``meta.kind`` in checkpoints of a CLIP-GS training."""


@dataclass(frozen=True)
class StoredClipGS:
    """A CLIP-GS model on disk.

    Attributes:
        path: the file of the weights.
        config: sizes of the network.
        tensors: weights by name, on the CPU.
        card: description of an exported model ("name", "tower", "command", "scores", …); None for a run.
    """

    path: Path
    config: ClipGSConfig
    tensors: dict[str, Tensor]
    card: dict[str, Any] | None = None


def is_clipgs(spec: str | Path) -> bool:
    """Whether ``spec`` names the bundled CLIP-GS model, an exported one, or a CLIP-GS run or checkpoint."""
    path = Path(spec).expanduser()
    if (str(spec) in BUNDLED_CLIPGS and not path.exists()) or (path / CARD).is_file():
        return True
    checkpoint = _checkpoint(path)
    if checkpoint is None:
        return False
    try:
        return read_json(checkpoint / CONFIG)["meta"]["kind"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_clipgs(spec: str | Path) -> StoredClipGS:
    """Read the files of a CLIP-GS model; see `ClipGS.from_pretrained`."""
    path = Path(spec).expanduser()
    if not is_clipgs(spec):
        found = "something else" if path.exists() else "nothing there"
        expected = "a CLIP-GS run folder, checkpoint or exported model"
        raise InputError(spec, expected, found, f'"{BUNDLED_CLIPGS[0]}" is the bundled one')
    if str(spec) in BUNDLED_CLIPGS and not path.exists():
        return read_exported()
    if (path / CARD).is_file():
        return read_exported(path)
    checkpoint = _checkpoint(path)
    assert checkpoint is not None
    tensors, meta, _ = load_checkpoint(checkpoint)
    try:
        values = meta["config"]["model"]
    except (KeyError, TypeError) as error:
        raise InputError(checkpoint / CONFIG, "the key meta.config.model", "none") from error
    return StoredClipGS(checkpoint / MODEL, from_dict(ClipGSConfig, values, str(checkpoint / CONFIG)), tensors)


def read_exported(folder: Path | str | None = None) -> StoredClipGS:
    """Read an exported model.

    Args:
        folder: contains ``clipgs.safetensors`` and ``clipgs.json``; the project's assets by default.

    Raises:
        InputError: files are missing or damaged.
    """
    folder = Path(str(files("gaussiancross.assets"))) if folder is None else Path(folder)
    try:
        card = read_json(folder / CARD)
        config = from_dict(ClipGSConfig, card["config"], "config")
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError) as error:
        hint = "`gaussiancross bench objects --export FOLDER` writes them, or name a run"
        raise InputError(folder / CARD, "the description of a CLIP-GS model", repr(error), hint) from error
    weights = load_weights(folder / WEIGHTS)
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    return StoredClipGS(folder / WEIGHTS, config, tensors, card)


def _checkpoint(path: Path) -> Path | None:
    """``path`` itself, or the latest checkpoint of a run folder or of its ``checkpoints/``."""
    if (path / MODEL).is_file():
        return path
    return latest_checkpoint(path / "checkpoints") or latest_checkpoint(path)
