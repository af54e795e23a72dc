"""Run one row of the instance segmentation protocol: train, test, draw images, write results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from ...core.errors import InputError
from ...core.io.images import write_color
from ...core.io.pretrained import TRAINED
from ..engine.progress import progress_bar
from .instance_config import INSTANCES, InstanceTraining
from .instance_pictures import picture
from .instance_results import write_instances
from .instances import InstancePrediction, InstanceResults, InstanceTrainer
from .protocol import (
    SAMPLED_LABELS,
    differences,
    labels_were_sampled,
    pretrained_name,
    run_metadata,
    starting_model,
)
from .scenes import LabelledScenes
from .semantic import Model

PICTURES = "pictures"
"""Name of the subfolder of scene images in a run folder."""


@dataclass(frozen=True)
class InstanceRun:
    """One row of the protocol.

    Attributes:
        preset: name of the row.
        config: options of the run.
        run_dir: run folder.
        pictures: number of held-out scenes to draw.
    """

    preset: str
    config: InstanceTraining
    run_dir: Path
    pictures: int = 4

    def __post_init__(self) -> None:
        if self.pictures < 0:
            raise InputError("pictures", "0 or more", str(self.pictures))


@dataclass(frozen=True)
class InstanceOutcome:
    """A finished run.

    Attributes:
        results: scores.
        class_names: names of the classes.
        steps: optimiser steps.
        changed: options that differ from the published row.
    """

    results: InstanceResults
    class_names: tuple[str, ...]
    steps: int
    changed: tuple[str, ...]


def run_instances(
    run: InstanceRun,
    device: torch.device | str = "cpu",
    seconds: float | None = None,
    console: Console | None = None,
    scenes: LabelledScenes | None = None,
    model: Model = None,
) -> InstanceOutcome | None:
    """Train, test, and write ``results.json``, ``instances.csv``, ``pictures/`` and ``model/``; continues an
    interrupted call.

    Args:
        seconds: time limit of the training.
        scenes: by default opened from the config.
        model: by default loaded from ``config.init``.

    Returns:
        None when Ctrl-C, SIGTERM or the time limit ended the training before its last step, and on ranks other than 0.
    """
    console = console or Console()
    config, folder = run.config, run.run_dir
    model = starting_model(config, model, console)
    trainer = InstanceTrainer(config, folder, scenes, model, device)
    if not trainer.complete(seconds, console) or not trainer.ranks.is_first:
        return None
    results = _test(trainer, run.pictures, console)
    changed, init = ["preset"], pretrained_name(config, model)
    if run.preset in INSTANCES:
        changed = differences(INSTANCES[run.preset].config, config, bool(init))
    changed += [SAMPLED_LABELS] * labels_were_sampled(config.labels, scenes)
    about = run_metadata(trainer, changed, results.scenes)
    write_instances(folder, results, trainer.class_names, run.preset, init, about)
    trainer.model.save_pretrained(folder / TRAINED, {"run": folder.name, "step": trainer.step})
    return InstanceOutcome(results, trainer.class_names, trainer.step, tuple(changed))


def _test(trainer: InstanceTrainer, pictures: int, console: Console) -> InstanceResults:
    """Test with a progress bar; draw the first ``pictures`` scenes."""
    folder, done = trainer.run_dir / PICTURES, 0
    with progress_bar("test", console) as bar:
        task = bar.add_task("test", total=len(trainer.data.scenes.val), note="scenes")

        def on_scene(prediction: InstancePrediction) -> None:
            nonlocal done
            if done < pictures:
                folder.mkdir(parents=True, exist_ok=True)
                image = picture(prediction, trainer.model.config.ignored)
                write_color(folder / f"{prediction.scene.name}.png", image)
            done += 1
            bar.update(task, completed=done)

        return trainer.test(on_scene)
