"""How the reading of data tells its caller how far it is and what it left out; `core` itself prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class Report:
    """Receiver of progress and notices; this one drops both. Methods may be called from any thread."""

    def progress(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` steps of the work named ``what`` are done; it has ended when they are equal."""

    def notice(self, text: str) -> None:
        """One line about data that was left out or made up."""

    def steps(self, what: str, items: Sequence[T]) -> Iterator[T]:
        """The items in turn, with progress; the work has ended, too, when the loop over them stops early."""
        try:
            for done, item in enumerate(items):
                self.progress(what, done, len(items))
                yield item
        finally:
            self.progress(what, len(items), len(items))


SILENT = Report()


def report_of(dataset: object) -> Report:
    """The report that a dataset was opened with; `SILENT` for datasets without one."""
    return getattr(dataset, "report", SILENT)


def skipped_frames(where: object, skipped: Mapping[str, int], first: Mapping[str, str]) -> str:
    """The line about frames that cannot be used: how many for each reason, and the first of them by name."""
    reasons = ", ".join(f"{count} × {reason} (first {first[reason]})" for reason, count in skipped.items())
    total = sum(skipped.values())
    return f"{where}: skipped {total} {'frame' if total == 1 else 'frames'}: {reasons}"
