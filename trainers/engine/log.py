"""Log of a run's scalars: ``metrics.jsonl``, TensorBoard and the live feed."""

from __future__ import annotations

import json
import math
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import InputError
from ...core.io.atomic import atomic_file, flush_file
from ...core.io.json_files import parse_json
from ...core.io.plain_files import read_text
from .live import LiveFeed


class MetricLog:
    """Writes scalars to ``metrics.jsonl``, TensorBoard and the live feed.

    Opening it drops the rows after ``step``, which an interrupted run logged after its last checkpoint, and sends the
    earlier rows to the feed.

    Attributes:
        last: the existing row of ``step``; empty without one.
    """

    def __init__(self, run_dir: Path, step: int, feed: LiveFeed | None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        path = run_dir / "metrics.jsonl"
        rows = [row for row in read_metrics(path) if row["step"] <= step]
        self.last = rows[-1] if rows and rows[-1]["step"] == step else {}
        with atomic_file(path) as partial:  # a run that is killed here keeps its old rows
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if feed is not None:
            for row in rows:
                feed.log(int(row["step"]), {k: v for k, v in row.items() if k != "step"})
        self._file, self._feed = path.open("a"), feed
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1)
        self._failed = False
        self._hook, threading.excepthook = threading.excepthook, self._thread_failed

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the scalars of ``step``; the file and the feed omit non-finite values."""
        finite = {k: v for k, v in metrics.items() if math.isfinite(v)}
        if self._feed is not None:
            self._feed.log(step, finite)
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:  # a full disk is no reason to lose the run
            self._warn(error)

    def flush(self) -> None:
        """Write the rows so far to the disk; called with every checkpoint, which they belong to."""
        try:
            flush_file(self._file)
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        self.flush()
        threading.excepthook = self._hook
        for stream in (self._file, self._board):
            try:
                stream.close()
            except OSError as error:
                self._warn(error)

    def _thread_failed(self, error: threading.ExceptHookArgs) -> None:
        """Warn, without a traceback, where TensorBoard's own thread cannot write."""
        if isinstance(error.exc_value, OSError) and type(error.thread).__module__.startswith("tensorboard."):
            self._warn(error.exc_value)
        else:
            self._hook(error)

    def _warn(self, error: OSError) -> None:
        """Say once that rows are missing on the disk."""
        if not self._failed:
            warnings.warn(f"{self._file.name}: metrics are not being written ({error})", stacklevel=3)
        self._failed = True


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read the rows of a ``metrics.jsonl``, oldest first; none if the file is missing.

    Skips lines that are no rows: incomplete (the run was killed, the disk was full) or damaged.

    Raises:
        InputError: a file that cannot be read.
    """
    try:
        text = read_text(path, errors="replace") if path.exists() else ""
    except OSError as error:
        raise InputError(path, "the rows of a run", f"nothing readable ({error.strerror})") from error
    rows = []
    for line in text.splitlines():
        try:
            row = parse_json(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
