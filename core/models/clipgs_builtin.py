"""Stored CLIP-GS models: the bundled one, exported ones (weights and a card that describes them) and runs."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..config import from_dict, to_dict
from ..errors import InputError
from ..io.atomic import atomic_dir
from ..io.checkpoint import CONFIG, MODEL, latest_checkpoint, load_checkpoint, load_weights
from ..io.pretrained import BUNDLED_CLIPGS, check_names
from .clipgs import ClipGS, ClipGSConfig

WEIGHTS, CARD = "clipgs.safetensors", "clipgs.json"
KIND = "clipgs"
"""How checkpoints of a CLIP-GS training are marked."""


def is_clipgs(spec: str | Path) -> bool:
    """Whether ``spec`` names the bundled CLIP-GS model, an exported one, or a CLIP-GS run or checkpoint."""
    path = Path(spec).expanduser()
    if (str(spec) in BUNDLED_CLIPGS and not path.exists()) or (path / CARD).is_file():
        return True
    checkpoint = _checkpoint(path)
    if checkpoint is None:
        return False
    try:
        return json.loads((checkpoint / CONFIG).read_text(encoding="utf-8"))["meta"]["kind"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_clipgs(spec: str | Path) -> ClipGS:
    """Read a CLIP-GS model, on the CPU and in eval mode; see `ClipGS.from_pretrained`."""
    path = Path(spec).expanduser()
    if not is_clipgs(spec):
        found = "something else" if path.exists() else "nothing there"
        expected = "a CLIP-GS run folder, checkpoint or exported model"
        raise InputError(spec, expected, found, f'"{BUNDLED_CLIPGS[0]}" is the bundled one')
    if str(spec) in BUNDLED_CLIPGS and not path.exists():
        return load_builtin_clipgs()[0]
    if (path / CARD).is_file():
        return load_builtin_clipgs(path)[0]
    checkpoint = _checkpoint(path)
    assert checkpoint is not None
    tensors, meta, _ = load_checkpoint(checkpoint)
    try:
        values = meta["config"]["model"]
    except (KeyError, TypeError) as error:
        raise InputError(checkpoint / CONFIG, "the key meta.config.model", "none") from error
    with torch.random.fork_rng(devices=[]):
        model = ClipGS(from_dict(ClipGSConfig, values, str(checkpoint / CONFIG)))
    check_names(checkpoint / MODEL, model.state_dict(), tensors)
    model.load_state_dict(tensors)
    return model.eval()


def _checkpoint(path: Path) -> Path | None:
    """``path`` itself, or the latest checkpoint of a run folder or of its ``checkpoints/``."""
    if (path / MODEL).is_file():
        return path
    return latest_checkpoint(path / "checkpoints") or latest_checkpoint(path)


def load_builtin_clipgs(folder: Path | str | None = None) -> tuple[ClipGS, dict[str, Any]]:
    """Load the model (CPU, eval mode) and its card with "name", "tower", "command", "scores", ….

    Args:
        folder: contains ``clipgs.safetensors`` and ``clipgs.json``; the project's assets by default.

    Raises:
        InputError: files are missing or damaged.
    """
    folder = Path(str(files("gaussiancross.assets"))) if folder is None else Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        config = from_dict(ClipGSConfig, card["config"], "config")
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "`gaussiancross bench objects --export FOLDER` writes them, or name a run"
        raise InputError(folder / CARD, "the description of a CLIP-GS model", repr(error), hint) from error
    weights = load_weights(folder / WEIGHTS)
    with torch.random.fork_rng(devices=[]):  # building a model draws random numbers
        model = ClipGS(config)
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except RuntimeError as error:
        found = str(error).splitlines()[-1].strip()
        raise InputError(folder / WEIGHTS, f"the weights that {CARD} describes", found) from error
    return model.eval().requires_grad_(False), card


def save_builtin_clipgs(folder: Path | str, model: ClipGS, about: dict[str, Any]) -> None:
    """Write weights in half precision and the card: ``about`` (JSON types, with "tower") and the model's config.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    half = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    card = {**about, "config": to_dict(model.config)}
    with atomic_dir(folder) as staging:
        save_file({k: v.contiguous() for k, v in half.items()}, staging / WEIGHTS)
        (staging / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
