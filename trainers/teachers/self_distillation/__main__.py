"""Train the label-free teacher: ``python -m gaussiancross.trainers.teachers.self_distillation --export FOLDER``."""

from __future__ import annotations

import sys

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ....core.datasets.rooms import Rooms
from ....core.errors import InputError, RunError
from .crops import room_frames
from .export import export
from .scores import ProbeScores
from .train import SslTrainer, SslTraining


def main() -> int:
    config = tyro.cli(SslTraining, prog="python -m gaussiancross.trainers.teachers.self_distillation")
    console = Console()
    try:
        if config.threads:
            torch.set_num_threads(config.threads)
        trainer = SslTrainer(config, room_frames(training_rooms(config.rooms, console)))
        if not trainer.complete(config.seconds, console):
            console.print(f"Checkpoint of step {trainer.step} written; the same command continues.")
            return 130
        if config.export is not None:
            console.print(score_table(export(trainer, config.export)))
    except (InputError, RunError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def training_rooms(count: int, console: Console) -> Rooms:
    """Open the training rooms; render those that are not cached yet, with a progress bar."""
    rooms = Rooms("train", count)
    missing = [i for i in range(count) if not rooms.is_cached(i)]
    for i in track(missing, "making rooms", console=console, disable=not missing):
        rooms.frames(i)
    return rooms


def score_table(scores: dict[str, ProbeScores]) -> Table:
    """Format scores as a table, one row per kind of features."""
    out = Table("features", "D", "mIoU", "mean acc.", "acc.", "effective rank", title="linear probe, held-out rooms")
    for name, score in scores.items():
        s = score.summary()
        numbers = [f"{s[k]:.3f}" for k in ("miou", "mean_accuracy", "accuracy")]
        out.add_row(name, str(score.dim), *numbers, f"{score.rank:.1f}")
    return out


if __name__ == "__main__":
    sys.exit(main())
