"""The pre-trained model that ships: one seed of one row, with how it was made and what it scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...core.datasets.rooms.dataset import FIRST_SEED
from ...core.errors import InputError
from ...core.models import GaussianCross
from .config import Setting
from .rows import LONGER
from .tasks import MODEL, Job, read_results


def export_model(
    folder: Path, jobs: Sequence[Job], setting: Setting, row: str = LONGER, about: dict[str, Any] | None = None
) -> Job:
    """Write the model of a row, of its first seed, with a card in its ``config.json``. No score decides which: a model
    is not chosen by the rooms that say how good it is.

    Args:
        folder: what `GaussianCross.from_pretrained` then takes.
        row: its name.
        about: more for the card (the command, the machine).

    Returns:
        whose model it is.

    Raises:
        InputError: no such row, or it is not done.
    """
    mine = sorted((j for j in jobs if j.row.name == row and j.row.start == "gaussiancross"), key=lambda job: job.seed)
    job = next((job for job in mine if "probe-hypercolumn" in read_results(job)), None)
    if job is None:
        raise InputError("--export", "a row of GaussianCross that is pre-trained and probed", row)
    results = read_results(job)
    scores = {task: {k: v for k, v in s.items() if k not in ("curves", "seconds")} for task, s in results.items()}
    size, first = setting.size, FIRST_SEED[setting.split]
    card = {
        "name": "gaussiancross-rooms",
        "description": "GaussianCross pre-trained on procedural rooms. It knows synthetic rooms, not scans.",
        "licence": "Apache-2.0",
        "row": job.row.title,
        "teacher": job.row.teacher,
        "label_free": results["pretrain"]["label_free"],
        "seed": job.seed,
        "training_seeds": [0, size.pretrain_rooms - 1],
        "split": setting.split,
        "held_out_seeds": [first, first + size.held_out_rooms - 1],
        "size": asdict(size),
        "scores_on_held_out_rooms": scores,
    }
    GaussianCross.from_pretrained(job.folder / MODEL).save_pretrained(folder, {**card, **(about or {})}, half=True)
    return job
