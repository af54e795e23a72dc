"""The bundled CLIP-GS model and exported ones: weights in half precision and a card that describes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..config import to_dict
from ..io.atomic import atomic_dir
from .clipgs import ClipGS
from .clipgs_files import CARD, WEIGHTS, read_exported


def load_builtin_clipgs(folder: Path | str | None = None) -> tuple[ClipGS, dict[str, Any]]:
    """Load the model (CPU, eval mode) and its card with "name", "tower", "command", "scores", ….

    Args:
        folder: see `clipgs_files.read_exported`.

    Raises:
        InputError: files are missing or damaged.
    """
    stored = read_exported(folder)
    return ClipGS.from_stored(stored), dict(stored.card or {})


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
