"""Where a run's scalars go."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from .live import LiveFeed


class MetricLog:
    """Scalars to ``metrics.jsonl``, TensorBoard and the live feed. Opened at ``step``, it forgets what a run that was
    cut off had logged beyond its checkpoint, and gives the feed the curves so far.

    Attributes:
        last: the row of ``step`` that it found, where there is one; empty otherwise.
    """

    def __init__(self, run_dir: Path, step: int, feed: LiveFeed | None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        path = run_dir / "metrics.jsonl"
        rows = [row for row in read_metrics(path) if row["step"] <= step]
        self.last = rows[-1] if rows and rows[-1]["step"] == step else {}
        fresh = path.with_suffix(".jsonl.part")  # replaced at once: a run killed here keeps its old rows
        fresh.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.replace(fresh, path)
        if feed is not None:
            for row in rows:
                feed.log(int(row["step"]), {k: v for k, v in row.items() if k != "step"})
        self._file, self._feed = path.open("a"), feed
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1)
        self._failed = False

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the scalars of ``step``; values that are not finite are left out of the file and the feed."""
        finite = {k: v for k, v in metrics.items() if math.isfinite(v)}
        if self._feed is not None:
            self._feed.log(step, finite)
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:  # a full disk is no reason to lose the run
            if not self._failed:
                warnings.warn(f"{self._file.name}: metrics are not being written ({error})", stacklevel=2)
            self._failed = True

    def close(self) -> None:
        for stream in (self._file, self._board):
            try:
                stream.close()
            except OSError:
                self._failed = True


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.jsonl``, oldest first; half-written lines (the run was killed, the disk was full) and
    foreign ones are left out. No file, no rows."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
