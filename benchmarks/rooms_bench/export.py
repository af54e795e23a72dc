"""Export of a pre-trained model, such as the bundled one: one seed of one row, with a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...core.datasets.rooms import FIRST_SEED
from ...core.errors import InputError
from ...core.models import GaussianCross
from .config import BenchConfig
from .rows import BEST_TEACHER, LONGER
from .tasks import MODEL, Job, read_results


def export_model(
    folder: Path, jobs: Sequence[Job], setting: BenchConfig, row: str = "", about: dict[str, Any] | None = None
) -> Job:
    """Write the model of a row's first seed, with a card in its ``config.json``.

    The seed is not chosen by score, which would bias the scores on the card.

    Args:
        folder: target, to be read by `GaussianCross.from_pretrained`.
        row: name of the row; by default the image/text teacher's, the longer one if it is done.
        about: further entries of the card (command, machine).

    Returns:
        the exported job.

    Raises:
        InputError: no such row, or it is not done.
    """
    names = (row,) if row else (LONGER, BEST_TEACHER)
    done = [j for j in jobs if j.row.start == "gaussiancross" and "probe-hypercolumn" in read_results(j)]
    mine = [j for name in names for j in sorted(done, key=lambda job: job.seed) if j.row.name == name]
    if not mine:
        raise InputError("--export", "a row of GaussianCross that is pre-trained and probed", " or ".join(names))
    job = mine[0]
    results = read_results(job)
    scores = {task: {k: v for k, v in s.items() if k not in ("curves", "seconds")} for task, s in results.items()}
    size, first = setting.size, FIRST_SEED[setting.split]
    card = {
        "name": "gaussiancross-rooms",
        "description": "GaussianCross pre-trained on procedural rooms. It knows synthetic rooms, not scans.",
        "licence": "Apache-2.0",
        "row": job.row.title,
        "teacher": job.row.teacher,
        "width": setting.pretrain.data.width,
        "height": setting.pretrain.data.height,
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
