"""Speed of segmentation scores at the size of real scenes: confusion matrix, instance AP, Lovász loss.

Compared with usual implementations, where there are any, and with lower bounds: reading predictions and masks, sorting
the errors of every class.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import tyro
from torch import Tensor

from ..core.losses.segmentation import lovasz_softmax
from ..core.metrics import InstanceAP, confusion_matrix, semantic_scores
from ._machine import environment, markdown, write_report

Call = Callable[[], object]


@dataclass(frozen=True)
class MetricsBench:
    """Time segmentation scores and the Lovász loss."""

    points: int = 1_000_000
    """Number of points for the confusion matrix; instances use a fifth, the Lovász loss a tenth."""
    repeats: int = 5
    """Runs per measurement; the fastest counts."""
    threads: int = 2
    """Number of threads."""
    out: Path = Path("bench")
    """Folder for metrics.json and .md."""


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        name: description.
        ours: this project's implementation.
        peers: other implementations, by name.
        floor: name and call of a lower bound, work that no implementation can avoid.
    """

    name: str
    ours: Call
    peers: dict[str, Call]
    floor: tuple[str, Call]


def semantic(points: int, classes: int) -> Case:
    """Create the case of mIoU, mAcc and allAcc of one prediction."""
    prediction, target = torch.randint(0, classes, (2, points))

    def counted_per_class() -> Tensor:  # the common implementation: three histograms
        right = torch.where(prediction == target, prediction, classes)
        counts = [torch.bincount(x, minlength=classes + 1)[:classes] for x in (right, prediction, target)]
        return counts[0] / (counts[1] + counts[2] - counts[0])

    peers: dict[str, Call] = {"three histograms, mIoU alone": counted_per_class}
    if find_spec("torchmetrics") is not None:
        from torchmetrics.functional.classification import multiclass_jaccard_index

        peers["torchmetrics, mIoU alone"] = lambda: multiclass_jaccard_index(prediction, target, classes)
    return Case(
        f"mIoU, mAcc, allAcc of {points:,} points × {classes} classes",
        lambda: semantic_scores(confusion_matrix(prediction, target, classes)),
        peers,
        ("reading both", lambda: (reading(prediction), reading(target))),
    )


def instances(points: int, count: int, classes: int = 20) -> Case:
    """Create the case of AP, AP50 and AP25 of a scene.

    It has ``count`` instances, as many predictions that are wrong in a tenth of their points, and as many random ones.
    """
    instance = torch.arange(points) * count // points
    segment = 2 + instance % (classes - 2)
    masks = instance == torch.arange(count)[:, None]
    masks = torch.cat([masks ^ (torch.rand(count, points) < 0.1 / count), torch.rand(count, points) < 0.01])
    kinds = (2 + torch.arange(2 * count) % count % (classes - 2)).tolist()
    confidence = torch.rand(2 * count)

    def run() -> object:
        metric = InstanceAP(classes, ignored=(0, 1))
        metric.add(segment, instance, masks, kinds, confidence)
        return metric.scores()

    def in_pairs() -> object:  # every prediction with every instance of its class, as ScanNet's script does
        own = [(instance == i, 2 + i % (classes - 2)) for i in range(count)]
        return [(m & t).sum() for m, kind in zip(masks, kinds, strict=True) for t, k in own if k == kind]

    return Case(
        f"AP, AP50, AP25 of {points:,} points, {count} instances, {2 * count} predictions",
        run,
        {"overlaps pair by pair, alone": in_pairs},
        ("reading the masks", lambda: reading(masks)),
    )


def lovasz(points: int, classes: int) -> Case:
    """Create the case of Lovász-softmax, forward and backward."""
    logits, labels = torch.randn(points, classes, requires_grad=True), torch.randint(0, classes, (points,))
    errors = logits.detach().T.contiguous()
    return Case(
        f"Lovász-softmax of {points:,} points × {classes} classes, forward + backward",
        lambda: torch.autograd.grad(lovasz_softmax(logits, labels), logits),
        {},
        ("sorting every class", lambda: errors.sort(1)),
    )


def reading(values: Tensor) -> Tensor:
    """Read all bytes, as float32 values."""
    flat = values.flatten().view(torch.uint8)
    return flat[: len(flat) // 4 * 4].view(torch.float32).sum()


def best(run: Call, repeats: int) -> tuple[float, float]:
    """Return (wall-clock, processor) time in ms of the fastest of ``repeats`` calls after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(t[0] for t in times) * 1e3, min(t[1] for t in times) * 1e3


def main() -> int:
    args = tyro.cli(MetricsBench, prog="gaussiancross bench metrics")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    n = args.points
    cases = [semantic(n, 200), instances(n // 5, 100), lovasz(n // 10, 20), lovasz(n // 10, 200)]
    report, rows = {"environment": environment(torch.device("cpu")), "cases": []}, []
    for case in cases:
        wall, processor = best(case.ours, args.repeats)
        others = {name: best(run, args.repeats)[0] for name, run in (*case.peers.items(), case.floor)}
        report["cases"].append({"name": case.name, "ms": wall, "processor_ms": processor, "others_ms": others})
        ratios = "; ".join(f"{name} {ms:.1f} ms ({ms / wall:.2g} ×)" for name, ms in others.items())
        rows.append((case.name, f"{wall:.1f} ms", f"{processor:.1f} ms", ratios))
    header = ("", "ours", "processor time", "others (factor)")
    write_report(args.out, "metrics", report, markdown(header, rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
