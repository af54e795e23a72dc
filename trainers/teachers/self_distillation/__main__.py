"""``python -m gaussiancross.trainers.teachers.self_distillation --export assets`` trains and ships the label-free teacher."""

from __future__ import annotations

import sys

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ....core.datasets.rooms import Rooms
from ....core.errors import InputError
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
        trainer = SslTrainer(config, room_frames(made(config.rooms, console)))
        if not trainer.complete(config.seconds, console):
            console.print(f"Checkpoint of step {trainer.step} written; the same command continues.")
            return 130
        if config.export is not None:
            console.print(table(export(trainer, config.export)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def made(count: int, console: Console) -> Rooms:
    """The training rooms; those that are not on the disk yet are made now, with progress."""
    rooms = Rooms("train", count)
    missing = [i for i in range(count) if not rooms.ready(i)]
    for i in track(missing, "making rooms", console=console, disable=not missing):
        rooms.frames(i)
    return rooms


def table(scores: dict[str, ProbeScores]) -> Table:
    """Scores by features."""
    out = Table("features", "D", "mIoU", "mean acc.", "acc.", "effective rank", title="linear probe, held-out rooms")
    for name, score in scores.items():
        s = score.summary()
        numbers = [f"{s[k]:.3f}" for k in ("miou", "mean_accuracy", "accuracy")]
        out.add_row(name, str(score.dim), *numbers, f"{score.rank:.1f}")
    return out


if __name__ == "__main__":
    sys.exit(main())
