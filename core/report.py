"""Progress and notices of reading data, passed to the caller: `core` prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class Report:
    """Receiver of progress and notices; the base class ignores both. Methods may be called from any thread."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` steps of the work ``what`` are done; the work ends when they are equal."""

    def notice(self, text: str) -> None:
        """Report one line about data that was skipped, guessed or estimated."""

    def steps(self, what: str, items: Sequence[T]) -> Iterator[T]:
        """Yield the items and report progress; the work also ends when the loop stops early."""
        try:
            for done, item in enumerate(items):
                self.progress(what, done, len(items))
                yield item
        finally:
            self.progress(what, len(items), len(items))


SILENT = Report()


def report_of(dataset: object) -> Report:
    """The report of a data set; `SILENT` for data sets without one."""
    return getattr(dataset, "report", SILENT)


def skipped_frames(where: object, skipped: Mapping[str, int], first: Mapping[str, str]) -> str:
    """Notice of unusable frames: their number for each reason and the name of the first."""
    reasons = ", ".join(f"{count} × {reason} (first {first[reason]})" for reason, count in skipped.items())
    total = sum(skipped.values())
    return f"{where}: skipped {total} {'frame' if total == 1 else 'frames'}: {reasons}"
