"""Tables of results, goals reached, and verdicts on each change as sentences.

A difference counts as an effect if 0 lies outside its 95 % confidence interval over the seeds (Student's t; with three
seeds, 4.3 standard errors) and it is larger than `SMALL`; with one seed it is undecided. One of twenty comparisons
will still appear as an effect by chance.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import t as student

from .config import Size
from .rows import PROBES, Row
from .tasks import Job, Scores, read_results

SMALL = 0.005
"""Smallest difference of mIoU that counts as an effect."""

WITHOUT = {
    "without-colour": "Colour beside the point loss",
    "without-depth": "Depth beside the point loss",
    "without-splatted-features": "Splatted features beside the point loss",
    "splats-without-colour": "Colour among the paper's three losses",
    "splats-without-depth": "Depth among the paper's three losses",
    "splats-without-features": "Splatted features among the paper's three losses",
}
"""Row without one of the three rendered attributes → description of that attribute."""


@dataclass(frozen=True)
class Mean:
    """Mean and sample standard deviation (NaN for one value) over ``count`` seeds."""

    mean: float
    std: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Mean | None:
        """Compute them; None without values."""
        if not values:
            return None
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return Mean(statistics.fmean(values), std, len(values))

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN for one value."""
        return self.std / math.sqrt(self.count)

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f}" + (f" ± {100 * self.std:.1f}" if self.count > 1 else "")


Values = dict[int, float]
"""Seed → value."""


@dataclass(frozen=True)
class Table:
    """All values available so far.

    Attributes:
        rows: in order.
        values: (row's name, column) → seed → value, in 0–1 except "rank" and "seconds_per_step".
        curves: (row's name, curve) → seed → [[step, value], …].
    """

    rows: tuple[Row, ...]
    values: dict[tuple[str, str], Values]
    curves: dict[tuple[str, str], dict[int, list[list[float]]]]

    @staticmethod
    def of(jobs: Sequence[Job]) -> Table:
        """Read the results in the jobs' folders."""
        rows = {job.row.name: job.row for job in jobs}
        values: dict[tuple[str, str], Values] = {}
        curves: dict[tuple[str, str], dict[int, list[list[float]]]] = {}
        for job in jobs:
            for task, scores in read_results(job).items():
                for column, value in _columns(task, scores).items():
                    values.setdefault((job.row.name, column), {})[job.seed] = value
                for name, curve in scores.get("curves", {}).items():
                    curves.setdefault((job.row.name, name), {})[job.seed] = curve
        return Table(tuple(rows.values()), values, curves)

    def mean(self, row: str, column: str) -> Mean | None:
        """Return the mean over the seeds with a value."""
        return Mean.of(list(self.values.get((row, column), {}).values()))

    def difference(self, row: str, column: str, reference: str) -> Mean | None:
        """Return the difference of a row to the reference, paired by seed (which fixes rooms, orders and labels)."""
        own, other = self.values.get((row, column), {}), self.values.get((reference, column), {})
        return Mean.of([own[seed] - other[seed] for seed in sorted(own) if seed in other])

    def curve(self, row: str, name: str) -> list[tuple[float, float]]:
        """Return the mean curve at the steps common to all seeds."""
        curves = [{float(step): float(value) for step, value in c} for c in self.curves.get((row, name), {}).values()]
        if not curves:
            return []
        steps = sorted(set.intersection(*(set(c) for c in curves)))
        return [(step, statistics.fmean(c[step] for c in curves)) for step in steps]


def _columns(task: str, scores: Scores) -> dict[str, float]:
    if task == "pretrain":
        rank = scores["curves"].get("rank")
        values = {"seconds_per_step": scores["seconds_per_step"]}
        return {**values, "rank": rank[-1][1], "rank_share": rank[-1][1] / scores["width"]} if rank else values
    if task == "instances":
        return {name: scores[name] for name in ("ap", "ap50", "ap25") if scores[name] is not None}
    column = "probe-last" if task == "probe-lifted" else task
    return {} if scores["miou"] is None else {column: scores["miou"]}


# --- tables -----------------------------------------------------------------------------------------------------------


def main_table(table: Table, size: Size) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of baselines and GaussianCross; mIoU and AP in per cent."""
    header = ["", "linear probe", "hypercolumn", "feature field", *(f"{share} % of rooms" for share in size.shares)]
    header += ["AP", "AP50", "AP25", "rank"]
    columns = [
        "probe-last",
        "probe-hypercolumn",
        "probe-field",
        *(f"finetune-{s}" for s in size.shares),
        "ap",
        "ap50",
        "ap25",
    ]
    cells = []
    for row in table.rows:
        if row.group != "ablation":
            cells.append([row.title, *(_cell(table.mean(row.name, c)) for c in columns), _rank(table, row.name)])
    return header, cells


def ablation_table(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the reference and each ablation, with differences to its baseline."""
    header = ["", "linear probe", "change", "hypercolumn", "change", "rank", "s per step"]
    cells = []
    for row in table.rows:
        if row.group != "ablation":
            continue
        cell = [row.title]
        for column in PROBES:
            change = table.difference(row.name, column, row.baseline) if row.baseline else None
            cell += [_cell(table.mean(row.name, column)), "" if change is None else signed(change)]
        step = table.mean(row.name, "seconds_per_step")
        cells.append([*cell, _rank(table, row.name), "" if step is None else f"{step.mean:.2f}"])
    return header, cells


def _cell(mean: Mean | None) -> str:
    return "" if mean is None else str(mean)


def _rank(table: Table, row: str) -> str:
    rank, share = table.mean(row, "rank"), table.mean(row, "rank_share")
    return "" if rank is None or share is None else f"{rank.mean:.1f} ({share.mean:.0%})"


def signed(change: Mean) -> str:
    """Format a difference in percentage points with its sign."""
    return f"{100 * change.mean:+.1f}" + (f" ± {100 * change.std:.1f}" if change.count > 1 else "")


# --- sentences --------------------------------------------------------------------------------------------------------


def verdict(change: Mean) -> str:
    """Return "better", "worse", no difference, or undecided."""
    if change.count < 2:
        return "undecided (one seed)"
    if abs(change.mean) <= max(SMALL, float(student.ppf(0.975, change.count - 1)) * change.error):
        return "no difference beyond the seeds' spread"
    return "better" if change.mean > 0 else "worse"


_HELPS = {"worse": "helps", "better": "harms"}


def sentences(table: Table) -> list[str]:
    """Describe the effect of each change and attribute on the probes of the last layer and of the hypercolumn."""
    out = []
    for row in table.rows:
        last, hyper = (table.difference(row.name, column, row.baseline) for column in PROBES)
        if last is None or hyper is None:
            continue
        verdicts = [verdict(change) for change in (last, hyper)]
        what = row.title[0].upper() + row.title[1:]
        if row.name in WITHOUT:
            verdicts, what = [_HELPS.get(v, v) for v in verdicts], f"{WITHOUT[row.name]} (ablated)"
        out.append(f"{what}: last layer {verdicts[0]}, {signed(last)}; hypercolumn {verdicts[1]}, {signed(hyper)}.")
    gain = Mean.of(
        [
            value - last[seed]
            for row in table.rows
            if row.start == "gaussiancross"
            for last in (table.values.get((row.name, "probe-last"), {}),)
            for seed, value in table.values.get((row.name, "probe-hypercolumn"), {}).items()
            if seed in last
        ]
    )
    if gain is not None:
        out.append(f"A hypercolumn instead of the last layer, over all rows: {verdict(gain)} ({signed(gain)} points).")
    return out


@dataclass(frozen=True)
class Goal:
    """A target for one row.

    Attributes:
        row: name of the row.
        what: description of the quantity.
        found, wanted: measured and target value, as text.
        met: whether it is reached; None if not measured.
    """

    row: str
    what: str
    found: str
    wanted: str
    met: bool | None


def goals(table: Table, size: Size) -> list[Goal]:
    """Return the targets of pre-training for each row of GaussianCross."""
    few = f"finetune-{size.shares[0]}"
    result = []
    for row in table.rows:
        if row.group != "gaussiancross":
            continue
        scratch, longer = (table.mean(name, "finetune-100") for name in ("random", "scratch"))
        lifted = None if row.teacher == "none" else table.mean(f"lifted-{row.teacher}", "probe-last")
        gain, rank = table.difference(row.name, few, "random"), table.mean(row.name, "rank_share")

        def add(what: str, value: float | None, wanted: float, form: str, name: str = row.name) -> None:
            if value is not None and math.isfinite(value):
                found, met = form.format(value), value >= wanted
            else:
                found, met = "not measured", None
            result.append(Goal(name, what, found, f"at least {form.format(wanted)}", met))

        for column, what in (("probe-last", "linear probe"), ("probe-hypercolumn", "probe of the hypercolumn")):
            probe = table.mean(row.name, column)
            add(f"{what} over that of random weights", _ratio(probe, table.mean("random", column)), 2.5, "{:.2f} ×")
            if row.teacher != "none":
                add(f"{what} over the lifted features'", _ratio(probe, lifted), 1.0, "{:.2f} ×")
            add(f"{what} over training from scratch with all labels", _ratio(probe, scratch), 0.8, "{:.2f} ×")
            add(f"{what} over training from scratch for longer", _ratio(probe, longer), 0.8, "{:.2f} ×")
        value = None if gain is None else 100 * gain.mean
        add(f"fine-tuning on {size.shares[0]} % of the rooms, over scratch", value, 8.0, "{:+.1f} points")
        add("effective rank over the features' width", None if rank is None else rank.mean, 0.5, "{:.2f}")
    return result


def _ratio(a: Mean | None, b: Mean | None) -> float | None:
    return None if a is None or b is None or not b.mean else a.mean / b.mean
