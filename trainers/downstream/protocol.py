"""What all rows of the protocol share, whatever they train: the model to start from, and what results tell of a run."""

from __future__ import annotations

import platform
import time
from typing import Any

import torch
from rich.console import Console

from ...core.config import to_dict
from ...core.models import GaussianCross
from ...core.models.pretrained import load_pretrained
from ...core.nn.spunet import SpUNet
from ..loop import Trainer
from .config import SemanticTraining
from .instance_config import InstanceTraining
from .semantic import Model

FREE = (
    "labels.data",
    "labels.val_scenes",
    "init",
    "network",
    "seed",
    "eval_every",
    "save_every",
    "workers",
    "optim.amp",
)
"""What may be chosen without leaving the published protocol."""


def starting_model(config: SemanticTraining | InstanceTraining, model: Model, console: Console) -> Model:
    """``model``, or else what ``config.init`` names; says so where it was pre-trained on other voxels."""
    model = load_pretrained(config.init) if model is None and config.init else model
    if isinstance(model, (GaussianCross, SpUNet)):
        own = model.config.input.voxel_size if isinstance(model, GaussianCross) else model.voxel_size
        if own != config.voxel_size:
            what = f"The model was pre-trained on voxels of {own} m; this run has {config.voxel_size} m"
            console.print(f"{what} (--voxel-size {own} takes its own).", soft_wrap=True, style="yellow")
    return model


def origin(config: SemanticTraining | InstanceTraining, model: Model) -> str:
    """How results name the pre-trained model; "" for none."""
    return config.init or ("given" if model is not None else "")


def about_run(trainer: Trainer[Any], changed: list[str], scenes: int, begun: float) -> dict[str, Any]:
    """What results tell of a run beside its scores.

    Args:
        changed: what `differences` returned. scenes: how many it was tested on.
        begun: `time.monotonic` at the start.
    """
    return {
        "config": to_dict(trainer.config),
        "changed": changed,
        "steps": trainer.step,
        "device": device_name(trainer.device),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(time.monotonic() - begun, 1),
        "scenes": scenes,
    }


def differences(published: Any, config: Any) -> list[str]:
    """The options, but for those that are free to choose, in which one config differs from another of its kind."""
    theirs, own = _flat(to_dict(published)), _flat(to_dict(config))
    free = [k for k in own if k in FREE or k.startswith("network.")]
    return sorted(k for k in own if k not in free and own[k] != theirs.get(k))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def device_name(device: torch.device) -> str:
    """For reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
