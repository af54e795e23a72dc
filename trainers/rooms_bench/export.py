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
from .report import Table, best_row
from .tasks import MODEL, Job, read_results


def export_model(
    folder: Path, jobs: Sequence[Job], setting: Setting, row: str = "", about: dict[str, Any] | None = None
) -> Job:
    """Write the model of a row, of the seed with the best probe of the hypercolumn, with a card in its ``config.json``.

    Args:
        folder: what `GaussianCross.from_pretrained` then takes.
        row: its name; the one with the best mean probe of the hypercolumn unless given.
        about: more for the card (the command, the machine).

    Returns:
        whose model it is.

    Raises:
        InputError: no such row, or it is not done.
    """
    row = row or best_row(Table.of(jobs)) or ""
    done = [(read_results(job), job) for job in jobs if job.row.name == row and job.row.start == "gaussiancross"]
    scored = [(r["probe-hypercolumn"]["miou"] or 0.0, job) for r, job in done if "probe-hypercolumn" in r]
    if not scored:
        raise InputError("--export", "a row of GaussianCross that is pre-trained and probed", row or "none")
    job = max(scored, key=lambda pair: pair[0])[1]
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
        "held_out_seeds": [first, first + size.held_out_rooms - 1],
        "size": asdict(size),
        "scores_on_held_out_rooms": scores,
    }
    GaussianCross.from_pretrained(job.folder / MODEL).save_pretrained(folder, {**card, **(about or {})}, half=True)
    return job
