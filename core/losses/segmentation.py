"""Lovász-softmax loss for semantic segmentation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOVASZ_CHUNK = 1 << 24
"""Number of errors (points × classes) that `lovasz_softmax` sorts at once, at about 40 bytes each."""


def lovasz_softmax(logits: Tensor, labels: Tensor, ignore: int = -1) -> Tensor:
    """Lovász-softmax (Berman et al. 2018): the convex extension of 1 − IoU, averaged over the classes present.

    For a class c with errors e_i = |1[y = c] − p_c| in descending order it is Σ_i e_i · (J_i − J_{i−1}), where J_i is
    the class's Jaccard loss when the points of the i largest errors are wrong. The differences are constants to the
    gradient, which is computed with the value, a few classes at a time to save memory. No second derivative.

    Args:
        logits: [N, K].
        labels: [N] integers.
        ignore: label of rows to leave out.

    Returns:
        A scalar in float32 or wider; 0, with gradients of 0, when every row is left out.
    """
    labelled = labels != ignore  # [N]
    probability = logits[labelled].to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)  # [L, K]
    labels = labels[labelled]  # [L]
    present = labels.unique()
    if not len(present):
        return probability.sum()
    return _LovaszExtension.apply(probability, labels, present)  # type: ignore[return-value]


class _LovaszExtension(torch.autograd.Function):
    """The loss from probabilities [N, K], labels [N] and the classes [C] present; saves one gradient [N, K] instead of
    the sort order of every class."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, labels: Tensor, present: Tensor) -> Tensor:
        count = len(labels)
        rank = torch.arange(1, count + 1, dtype=torch.int32, device=labels.device)
        gradient = torch.zeros_like(probability) if ctx.needs_input_grad[0] else None
        losses = []
        for classes in present.split(max(1, LOVASZ_CHUNK // count)):
            inside = labels == classes[:, None]  # [c, N] for a chunk of c classes
            signed = probability.T[classes].sub_(inside.to(probability.dtype))  # [c, N]
            error, order = signed.abs().sort(1, descending=True)  # [c, N] each
            # 1 − J_i: points of the class not among the i wrong ones, over these and all wrong points outside it.
            wrong = inside.gather(1, order).cumsum(1, dtype=torch.int32)  # [c, N] points of the class among i
            size = wrong[:, -1:]  # [c, 1]
            overlap = (size - wrong).to(probability.dtype) / (size + (rank - wrong))  # [c, N]
            weight = torch.diff(1 - overlap, dim=1, prepend=overlap.new_zeros(len(overlap), 1))
            losses.append((error * weight).sum(1))
            if gradient is not None:
                slope = torch.empty_like(weight).scatter_(1, order, weight).mul_(signed.sign_())
                gradient[:, classes] = slope.div_(len(present)).T
        ctx.save_for_backward(gradient)
        return torch.cat(losses).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output, None, None
