"""Learning rates as pure functions of the step, and warm-up of batch-norm statistics."""

from __future__ import annotations

import math

from torch import nn


def one_cycle(
    step: float, total: int, peak: float, warmup: float = 0.05, div: float = 10.0, final: float = 1000.0
) -> float:
    """Return the learning rate of OneCycle with cosine phases (Smith & Topin 2018; PyTorch's parameters).

    Args:
        step: 0 ≤ step; constant after ``total``.
        total: steps of the schedule.
        peak: highest learning rate; the schedule starts at peak / div and ends at peak / div / final.
        warmup: share of the steps in which the rate rises.
    """
    rise = max(1.0, warmup * total - 1)
    if step <= rise:
        return _cosine(peak / div, peak, step / rise)
    return _cosine(peak, peak / div / final, min(1.0, (step - rise) / max(1.0, total - 1 - rise)))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def warmup_cosine(step: int, total: int, peak: float, warmup: float = 0.05, final: float = 1e-2) -> float:
    """Return the learning rate of a linear warm-up to ``peak`` over the share ``warmup`` of the steps, followed by a
    cosine to final · peak."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return peak * (step + 1) / rise
    return _cosine(peak, final * peak, min(1.0, (step - rise) / max(1, total - 1 - rise)))


class WarmStatistics:
    """Batch-norm running statistics that start as the plain mean over all steps so far.

    With a momentum of 0.01 they would describe the untrained network, or other data, for some hundred steps, and
    evaluations until then would be wrong.

    Args:
        model: all of its batch norms; their own momenta hold once 1 / steps is below them.
    """

    def __init__(self, model: nn.Module) -> None:
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        self._norms = [(m, m.momentum) for m in model.modules() if isinstance(m, kinds)]

    def before(self, step: int) -> None:
        """Set the momenta for the forward pass of ``step`` (from 0)."""
        for norm, momentum in self._norms:
            norm.momentum = None if momentum is None else max(momentum, 1 / (step + 1))
