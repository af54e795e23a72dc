"""What all rows of the protocol share, whatever they train: the model to start from, and what results tell of a run."""

from __future__ import annotations

import platform
import time
from typing import Any

import torch
from rich.console import Console

from ...core.config import flatten, to_dict
from ...core.models import GaussianCross
from ...core.models.pretrained import load_pretrained
from ...core.nn.spunet import SpUNet
from .config import LabelConfig, SemanticTraining
from .fixed import CachedFeatureProbe
from .instance_config import InstanceTraining
from .scenes import LabelledScenes, draws_labels
from .semantic import Model
from .trainer import SceneTrainer

PROTOCOL_FREE = ("init", "seed", "eval_every", "save_every", "workers", "micro_batch", "optim.amp")
"""What may be chosen without leaving the published protocol. So may the folder of the data, and the size of a network
that a pre-trained model takes the place of."""


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


def about_run(trainer: SceneTrainer[Any] | CachedFeatureProbe, changed: list[str], scenes: int) -> dict[str, Any]:
    """What results tell of a run beside its scores.

    Args:
        changed: what `differences` returned. scenes: how many it was tested on.
    """
    return {
        "config": to_dict(trainer.config),
        "changed": changed,
        "steps": trainer.step,
        "device": device_name(trainer.device),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(trainer.clock.seconds, 1),
        "scenes": scenes,
    }


def differences(published: Any, config: Any, pretrained: bool = False) -> list[str]:
    """The options, but for those that are free to choose, in which one config differs from another of its kind.

    Args:
        pretrained: the run starts from a model, whose size is its own.
    """
    theirs, own = flatten(to_dict(published)), flatten(to_dict(config))

    def free(key: str) -> bool:
        if key == "labels.data":  # any folder may hold the data set, but rooms are another one
            return not any(str(values[key]).startswith("rooms") for values in (theirs, own))
        return key in PROTOCOL_FREE or (pretrained and key.startswith("network."))

    return sorted(k for k in own if own[k] != theirs.get(k) and not free(k))


def drawn(labels: LabelConfig, scenes: LabelledScenes | None) -> list[str]:
    """What `differences` cannot see: that few labels are not those that the published figures are made with.

    Args:
        scenes: of the run, where they were given, which answers for itself.
    """
    return ["labels (drawn)"] if scenes is None and draws_labels(labels) else []


def device_name(device: torch.device) -> str:
    """For reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
