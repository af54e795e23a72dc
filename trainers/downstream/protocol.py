"""Starting model and result metadata, shared by all rows of the protocol."""

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
from .scenes import LabelledScenes, uses_sampled_labels
from .semantic import Model
from .trainer import SceneTrainer

PROTOCOL_FREE = ("init", "seed", "eval_every", "save_every", "workers", "micro_batch", "optim.amp")
"""Options that may differ within the published protocol. So may the folder of the data, and the size of a network that
a pre-trained model replaces."""


def starting_model(config: SemanticTraining | InstanceTraining, model: Model, console: Console) -> Model:
    """Return ``model``, or load ``config.init``; print a warning if it was pre-trained with another voxel size."""
    model = load_pretrained(config.init) if model is None and config.init else model
    if isinstance(model, (GaussianCross, SpUNet)):
        size = model.config.input.voxel_size if isinstance(model, GaussianCross) else model.voxel_size
        if size != config.voxel_size:
            what = f"The model was pre-trained on voxels of {size} m; this run has {config.voxel_size} m"
            console.print(f"{what} (--voxel-size {size} takes its own).", soft_wrap=True, style="yellow")
    return model


def pretrained_name(config: SemanticTraining | InstanceTraining, model: Model) -> str:
    """Return the name of the pre-trained model in results; "" for none."""
    return config.init or ("given" if model is not None else "")


def run_metadata(trainer: SceneTrainer[Any] | CachedFeatureProbe, changed: list[str], scenes: int) -> dict[str, Any]:
    """Return the entry "about" of a run's results: everything but its scores.

    Args:
        changed: options that differ from the published recipe, from `differences`.
        scenes: number of test scenes.
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
    """Return the options in which ``config`` differs from ``published``, without those of `PROTOCOL_FREE`.

    Args:
        pretrained: the run starts from a model, which determines the size of the network.
    """
    expected, actual = flatten(to_dict(published)), flatten(to_dict(config))

    def free(key: str) -> bool:
        if key == "labels.data":  # the data set may lie in any folder, but built-in rooms are another data set
            return not any(str(values[key]).startswith("rooms") for values in (expected, actual))
        return key in PROTOCOL_FREE or (pretrained and key.startswith("network."))

    return sorted(k for k in actual if actual[k] != expected.get(k) and not free(k))


SAMPLED_LABELS = "labels (drawn)"
"""Entry among a run's changed options when its reduced labels are not the benchmark's."""


def labels_were_sampled(labels: LabelConfig, scenes: LabelledScenes | None) -> bool:
    """Whether reduced labels were sampled here instead of taken from the benchmark's lists.

    Args:
        scenes: the caller's own scenes, whose labels are not checked; None if opened from ``labels``.
    """
    return scenes is None and uses_sampled_labels(labels)


def device_name(device: torch.device) -> str:
    """Return the name of a device for reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
