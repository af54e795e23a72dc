"""Run one row of the semantic protocol, with all of its folds: train, test, write results."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ...core.config import to_dict
from ...core.errors import InputError
from ...core.io.pretrained import TRAINED
from ...core.metrics import SemanticScores
from ..engine.log import read_metrics
from ..engine.progress import progress_bar
from .config import SemanticTraining
from .fixed import CachedFeatureProbe
from .presets import PRESETS, Task, held_out
from .protocol import (
    SAMPLED_LABELS,
    differences,
    labels_were_sampled,
    pretrained_name,
    run_metadata,
    starting_model,
)
from .results import SemanticResult, sum_results, write_results
from .scenes import LabelledScenes
from .segmenter import trained_backbone
from .semantic import Model, SemanticTrainer, score_scalars


@dataclass(frozen=True)
class SemanticRun:
    """One row of the protocol.

    Attributes:
        task, preset: identify the row.
        config: options of the run, or the template of the folds' options.
        run_dir: run folder; folds are subfolders.
        folds: S3DIS areas to hold out in turn; empty for a single run.
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
    """Train, test and write the results; continues an interrupted call.

    Args:
        seconds: time limit of the training, per fold.
        scenes: by default opened from the config; must be None for folds.
        model: by default loaded from ``config.init``.

    Returns:
        the result; None when Ctrl-C, SIGTERM or the time limit ended a training before its last step, and on other
        ranks than 0.
    """
    console = console or Console()
    if run.folds and scenes is not None:
        raise InputError("scenes", "none for a run with folds, which open their own", "scenes")
    model = starting_model(run.config, model, console)
    if not run.folds:
        return _run_one(run, run.config, run.run_dir, {}, device, seconds, console, scenes, model)[1]
    parts = []
    for area in run.folds:
        console.print(f"{area} held out", style="bold")
        config, folder = held_out(run.config, area), run.run_dir / area
        finished, part = _run_one(run, config, folder, {"fold": area}, device, seconds, console, None, model)
        if not finished:
            return None
        parts += [] if part is None else [part]
    if not parts:
        return None
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
) -> tuple[bool, SemanticResult | None]:
    """Train and test one model; returns whether all steps are done, and the result, None on ranks other than 0."""
    if config.fixed:
        trainer = CachedFeatureProbe(config, folder, scenes, model, device=device, console=console, test_follows=True)
    else:
        trainer = SemanticTrainer(config, folder, scenes, model, device)
    if not trainer.complete(seconds, console) or not trainer.ranks.is_first:
        return trainer.finished, None
    scenes_tested = _test(trainer, console)
    assert trainer.confusion is not None
    changed = changed_options(run.task, run.preset, run.config, model)
    changed += [SAMPLED_LABELS] * labels_were_sampled(config.labels, scenes)
    about = about | run_metadata(trainer, changed, scenes_tested)
    names, confusion, init = trainer.class_names, trainer.confusion, pretrained_name(config, model)
    result = SemanticResult(run.task, run.preset, init, names, confusion, about)
    write_results(folder, result)
    if isinstance(trainer, SemanticTrainer) and not config.frozen:
        card = {"run": folder.name, "task": run.task, "preset": run.preset, "init": init, "step": trainer.step}
        trained_backbone(trainer.model, config.voxel_size).save_pretrained(folder / TRAINED, card)
    return True, result


def _test(trainer: SemanticTrainer | CachedFeatureProbe, console: Console) -> int:
    """Test with a progress bar; return the number of scenes."""
    scenes = len(trainer.scenes.val if isinstance(trainer, CachedFeatureProbe) else trainer.data.scenes.val)
    with progress_bar("test", console) as bar:
        task = bar.add_task("test", total=scenes, note="scenes")

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done)

        if isinstance(trainer, CachedFeatureProbe):
            _log(trainer, trainer.test(progress))
        else:
            trainer.test(folder=_predictions(trainer), progress=progress)
    return scenes


def _predictions(trainer: SemanticTrainer) -> Path:
    """Return the folder that caches predictions, so that an interrupted test continues."""
    config = trainer.config
    identity = [trainer.step, to_dict(config.test), to_dict(config.labels), trainer.resume_signature()]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return trainer.run_dir / "predictions" / f"step-{trainer.step:09d}-{digest}"


def _log(probe: CachedFeatureProbe, scores: SemanticScores) -> None:
    """Append the test's scores to the run's curves, once."""
    rows = read_metrics(probe.run_dir / "metrics.jsonl")
    if not any(row["step"] == probe.step and "val/miou" in row for row in rows):
        with closing(probe.open_log()) as log:
            log(probe.step, score_scalars(scores))


def changed_options(task: Task, preset: str, config: SemanticTraining, model: Model = None) -> list[str]:
    """Return the options in which a run differs from the preset of its name; ["preset"] for an unknown one.

    Args:
        model: a pre-trained model that replaces ``config.init``.
    """
    if preset not in PRESETS[task]:
        return ["preset"]
    return differences(PRESETS[task][preset].config, config, bool(pretrained_name(config, model)))
