"""One row of the protocol from start to end: train, test, write; all folds of it where it has several."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ...core.config import to_dict
from ..progress import progress_bar
from .config import SemanticTraining
from .fixed import FixedProbe
from .presets import PRESETS, Task, held_out
from .protocol import about_run, differences, origin, starting_model
from .results import SemanticResult, sum_results, write_results
from .scenes import LabelledScenes
from .semantic import Model, SemanticTrainer


@dataclass(frozen=True)
class SemanticRun:
    """A row of the protocol.

    Attributes:
        task, preset: which row.
        config: the run; of folds, the one that each is made from.
        run_dir: its folder; folds are subfolders.
        folds: S3DIS areas to hold out in turn; empty for one run.
    """

    task: Task
    preset: str
    config: SemanticTraining
    run_dir: Path
    folds: tuple[str, ...] = ()


def run_semantic(
    run: SemanticRun,
    device: torch.device | str = "cpu",
    seconds: float | None = None,
    console: Console | None = None,
    scenes: LabelledScenes | None = None,
    model: Model = None,
) -> SemanticResult | None:
    """Train what is left to train, test what is left to test, and write the results. The same call goes on where an
    earlier one was interrupted.

    Args:
        seconds: at most so long a training, of each fold.
        scenes: opened from the config unless given. model: what ``config.init`` names unless given.

    Returns:
        the result; None when Ctrl-C, SIGTERM or the time limit ended a training before its last step.
    """
    console = console or Console()
    model = starting_model(run.config, model, console)
    if not run.folds:
        return _run_one(run, run.config, run.run_dir, {}, device, seconds, console, scenes, model)
    parts = []
    for area in run.folds:
        console.print(f"{area} held out", style="bold")
        config, folder = held_out(run.config, area), run.run_dir / area
        part = _run_one(run, config, folder, {"fold": area}, device, seconds, console, scenes, model)
        if part is None:
            return None
        parts.append(part)
    about = {k: v for k, v in parts[0].about.items() if k != "fold"} | {"folds": list(run.folds)}
    about |= {k: sum(p.about[k] for p in parts) for k in ("scenes", "seconds")}
    total = sum_results(parts, about | {"config": to_dict(run.config)})
    write_results(run.run_dir, total)
    return total


def _run_one(
    run: SemanticRun,
    config: SemanticTraining,
    folder: Path,
    about: dict[str, Any],
    device: torch.device | str,
    seconds: float | None,
    console: Console,
    scenes: LabelledScenes | None,
    model: Model,
) -> SemanticResult | None:
    begun = time.monotonic()
    if config.fixed:
        trainer = FixedProbe(config, folder, scenes, model, device=device, console=console)
    else:
        trainer = SemanticTrainer(config, folder, scenes, model, device)
    if not trainer.complete(seconds, console):
        return None
    if isinstance(trainer, FixedProbe):
        trainer.test()
    else:
        _test(trainer, console)
    assert trainer.confusion is not None
    scenes_tested = len(trainer.scenes.val if isinstance(trainer, FixedProbe) else trainer.data.scenes.val)
    about = about | about_run(trainer, changes(run.task, run.preset, run.config, model), scenes_tested, begun)
    names, confusion = trainer.class_names, trainer.confusion
    result = SemanticResult(run.task, run.preset, origin(config, model), names, confusion, about)
    write_results(folder, result)
    return result


def _test(trainer: SemanticTrainer, console: Console) -> None:
    """Test under a progress bar; predictions of an interrupted test are not computed again."""
    identity = json.dumps([trainer.step, to_dict(trainer.config.test), trainer.must_match()], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    with progress_bar("test", console) as bar:
        task = bar.add_task("test", total=len(trainer.data.scenes.val), note="scenes")
        folder = trainer.run_dir / "predictions" / f"step-{trainer.step:09d}-{digest}"
        trainer.test(folder=folder, progress=lambda done, total: bar.update(task, completed=done))


def changes(task: Task, preset: str, config: SemanticTraining, model: Model = None) -> list[str]:
    """The options in which a run, perhaps of a model that was given, differs from the published row that it is named
    after."""
    if preset not in PRESETS[task]:
        return ["preset"]
    return differences(PRESETS[task][preset].config, config, bool(origin(config, model)))
