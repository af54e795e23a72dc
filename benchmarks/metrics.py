"""Segmentation scores: the confusion matrix, instance AP and the Lovász loss at the size of real scenes."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date

import torch

from ..core.losses import lovasz_softmax
from ..core.metrics import InstanceAP, confusion_matrix, semantic_scores
from ._machine import device_name


def best(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """(wall, processor) time of the fastest of some calls, in ms; the first is not counted."""
    run()
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(t[0] for t in times) * 1e3, min(t[1] for t in times) * 1e3


def semantic(points: int, classes: int) -> Callable[[], object]:
    """mIoU, mAcc and allAcc of one prediction."""
    prediction, target = torch.randint(0, classes, (2, points))
    return lambda: semantic_scores(confusion_matrix(prediction, target, classes))


def instances(points: int, count: int, classes: int = 20) -> Callable[[], object]:
    """AP, AP50 and AP25 of a scene of ``count`` instances and as many predictions, each off by a tenth of its points,
    and as many again of no use."""
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

    return run


def lovasz(points: int, classes: int) -> Callable[[], object]:
    """Lovász-softmax, forward and backward."""
    logits, labels = torch.randn(points, classes, requires_grad=True), torch.randint(0, classes, (points,))
    return lambda: torch.autograd.grad(lovasz_softmax(logits, labels), logits)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--small", action="store_true", help="a smoke test: few points, and figures mean little")
    args = parser.parse_args()
    n, repeats = (1_000, 1) if args.small else (1_000_000, 5)
    print(f"metrics benchmark, {date.today()}, {device_name(torch.device('cpu'))}, torch {torch.__version__}")
    torch.manual_seed(0)
    rows = {
        f"mIoU, mAcc, allAcc of {n:,} points × 200 classes": semantic(n, 200),
        f"AP, AP50, AP25 of {n // 5:,} points, 100 instances, 200 predictions": instances(n // 5, 100),
        f"Lovász-softmax of {n // 10:,} points × 20 classes, forward + backward": lovasz(n // 10, 20),
        f"Lovász-softmax of {n // 10:,} points × 200 classes, forward + backward": lovasz(n // 10, 200),
    }
    for name, run in rows.items():
        wall, processor = best(run, repeats)
        print(f"{name:72s} {wall:8.1f} ms   ({processor:.1f} ms of processor time)")


if __name__ == "__main__":
    main()
