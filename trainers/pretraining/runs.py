"""Find and load pre-training runs, their checkpoints and saved models."""

from __future__ import annotations

from pathlib import Path

from ...core.config import from_dict
from ...core.errors import InputError
from ...core.io.checkpoint import MODEL, list_checkpoints, load_checkpoint
from ...core.io.pretrained import bundled_folder, saved_card
from ...core.models import GaussianCross
from .config import DataConfig, PretrainConfig
from .online_probe import LinearProbe, split_probe


def find_checkpoint(path: Path, step: int | None = None) -> Path | None:
    """Return the checkpoint at ``path``, or None.

    Args:
        path: a checkpoint, a run folder or its ``checkpoints/``, a saved model, or the name of a bundled one.
        step: of the checkpoint in a run folder; by default the latest.
    """
    path = bundled_folder(path) or path
    if (path / MODEL).exists():
        return path
    found = list_checkpoints(path / "checkpoints") or list_checkpoints(path)
    return next((p for s, p in reversed(found) if step is None or s == step), None)


def run_folder(checkpoint: Path) -> Path:
    """Return the run folder of a checkpoint; for a saved model its own folder."""
    return checkpoint.parent.parent if saved_card(checkpoint) is None else checkpoint


def run_name(checkpoint: Path) -> str:
    """Return the name of a checkpoint's run: its folder's, or the one on a saved model's card."""
    return str((saved_card(checkpoint) or {}).get("name") or run_folder(checkpoint).absolute().name)


def load_run(path: Path) -> tuple[GaussianCross, PretrainConfig, int | None]:
    """Load model (CPU, eval mode), config and step of a run folder, a checkpoint or a saved model.

    A saved model has no step; its config takes data, teacher and size of views from its card.

    Raises:
        InputError: nothing to load at ``path``, or a damaged file.
    """
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise InputError(path, "a run folder with checkpoints/, one checkpoint, or a saved model", "neither")
    card = saved_card(checkpoint)
    if card is not None:
        model = GaussianCross.from_pretrained(checkpoint)
        data = {name: card[name] for name in ("data", "teacher", "width", "height") if name in card}
        return model, PretrainConfig(model.config, from_dict(DataConfig, data, str(checkpoint))), None
    tensors, meta, _ = load_checkpoint(checkpoint)
    config = from_dict(PretrainConfig, meta["config"], str(checkpoint))
    model = GaussianCross(config.model)
    model.load_state_dict(split_probe(tensors)[0])
    return model.eval(), config, int(meta["step"])


def load_probe(path: Path) -> LinearProbe | None:
    """Load the online probe of a run folder or checkpoint; None for a run without one."""
    checkpoint = find_checkpoint(path)
    if checkpoint is None or saved_card(checkpoint) is not None:
        return None
    probe = split_probe(load_checkpoint(checkpoint)[0])[1]
    return None if probe is None else LinearProbe.of(probe)
