"""The CLIP-GS model that ships with the project: small, trained on procedural objects, with a card that says how."""

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
from ..io.checkpoint import load_weights
from .clipgs import ClipGS, ClipGSConfig

BUILTIN = "builtin"
"""What it is called where a run could be named."""
WEIGHTS, CARD = "clipgs.safetensors", "clipgs.json"


def load_builtin_clipgs(folder: Path | str | None = None) -> tuple[ClipGS, dict[str, Any]]:
    """The model (CPU, eval mode) and its card: "name", "tower", "command", "scores", ….

    Args:
        folder: with ``clipgs.safetensors`` and ``clipgs.json``; the project's assets by default.

    Raises:
        InputError: files missing or damaged.
    """
    folder = Path(str(files("gaussiancross.assets"))) if folder is None else Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        config = from_dict(ClipGSConfig, card["config"], "config")
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "`gaussiancross bench objects --export FOLDER` writes them, or name a run"
        raise InputError(folder / CARD, "the description of a CLIP-GS model", repr(error), hint) from error
    weights = load_weights(folder / WEIGHTS)
    with torch.random.fork_rng(devices=[]):  # building draws numbers that a run may be counting on
        model = ClipGS(config)
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except RuntimeError as error:
        found = str(error).splitlines()[-1].strip()
        raise InputError(folder / WEIGHTS, f"the weights that {CARD} describes", found) from error
    return model.eval().requires_grad_(False), card


def save_builtin_clipgs(folder: Path | str, model: ClipGS, about: dict[str, Any]) -> None:
    """Weights in half precision, and the card: ``about`` (JSON types, with "tower") and the model's config.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    half = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    card = {**about, "config": to_dict(model.config)}
    with atomic_dir(folder) as staging:
        save_file({k: v.contiguous() for k, v in half.items()}, staging / WEIGHTS)
        (staging / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
