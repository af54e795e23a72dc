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
    """The checkpoint that ``path`` means: itself, or the latest (or ``step``'s) of a run folder or of its
    ``checkpoints/``; or a saved model, also a bundled one by its name ("bundled-rooms")."""
    path = bundled_folder(path) or path
    if (path / MODEL).exists():
        return path
    found = list_checkpoints(path / "checkpoints") or list_checkpoints(path)
    return next((p for s, p in reversed(found) if step is None or s == step), None)


def run_folder(checkpoint: Path) -> Path:
    """Where a run keeps everything else; a saved model's own folder."""
    return checkpoint.parent.parent if saved_card(checkpoint) is None else checkpoint


def run_name(checkpoint: Path) -> str:
    """What the run of a checkpoint is called: as its folder, or as a saved model's card says."""
    return str((saved_card(checkpoint) or {}).get("name") or run_folder(checkpoint).absolute().name)


def load_run(path: Path) -> tuple[GaussianCross, PretrainConfig, int | None]:
    """Model (CPU, eval mode), config and step from a run folder or one of its checkpoints; or a saved model, without a
    step, in a config with the data, teacher and size of views that its card names."""
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise InputError(path, "a run folder with checkpoints/, one checkpoint, or a saved model", "neither")
    card = saved_card(checkpoint)
    if card is not None:
        model = GaussianCross.from_pretrained(checkpoint)
        known = {name: card[name] for name in ("data", "teacher", "width", "height") if name in card}
        return model, PretrainConfig(model.config, from_dict(DataConfig, known, str(checkpoint))), None
    tensors, meta, _ = load_checkpoint(checkpoint)
    config = from_dict(PretrainConfig, meta["config"], str(checkpoint))
    model = GaussianCross(config.model)
    model.load_state_dict(split_probe(tensors)[0])
    return model.eval(), config, int(meta["step"])


def load_probe(path: Path) -> LinearProbe | None:
    """The probe that watched the run, from the same place; None where there was none."""
    checkpoint = find_checkpoint(path)
    if checkpoint is None or saved_card(checkpoint) is not None:
        return None
    probe = split_probe(load_checkpoint(checkpoint)[0])[1]
    return None if probe is None else LinearProbe.of(probe)
