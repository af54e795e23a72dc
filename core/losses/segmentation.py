"""Lovász-softmax loss for semantic segmentation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOVASZ_CHUNK = 1 << 24
"""Errors of points × classes that `lovasz_softmax` sorts at once: its memory beyond the probabilities and their
gradient, some 40 bytes each."""


def lovasz_softmax(logits: Tensor, labels: Tensor, ignore: int = -1) -> Tensor:
    """Lovász-softmax (Berman et al. 2018): the convex extension of 1 − IoU, mean over the classes that are present.

    For a class with errors |1[y = c] − p_c| sorted in descending order, Σ error_i · (J_i − J_{i−1}), where J_i is the
    Jaccard loss of the class when the i largest errors are wrong. The differences are constants to the gradient, which
    is computed along with the value, a few classes at a time: what is sorted is never there for all of them. There is
    no second derivative.

    Args:
        logits: [N, K].
        labels: [N] integers; rows of ``ignore`` are left out.

    Returns:
        A scalar, in float32 or wider; 0, with gradients of 0, when every row is left out.
    """
    kept = labels != ignore
    probability = logits[kept].to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
    labels = labels[kept]
    present = labels.unique()
    if not len(present):
        return probability.sum()
    return _LovaszExtension.apply(probability, labels, present)


class _LovaszExtension(torch.autograd.Function):
    """Of probabilities [N, K], labels [N] and the classes [C] that are among them. Keeps one gradient [N, K] instead of
    what each class was sorted by."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, labels: Tensor, present: Tensor) -> Tensor:
        count = len(labels)
        rank = torch.arange(1, count + 1, dtype=torch.int32, device=labels.device)
        gradient = torch.zeros_like(probability) if ctx.needs_input_grad[0] else None
        losses = []
        for classes in present.split(max(1, LOVASZ_CHUNK // count)):
            inside = labels == classes[:, None]
            signed = probability.T[classes].sub_(inside.to(probability.dtype))
            error, order = signed.abs().sort(1, descending=True)
            # Points of the class not yet counted wrong, over those and every other point counted wrong: 1 − J_i.
            found = inside.gather(1, order).cumsum(1, dtype=torch.int32)
            size = found[:, -1:]
            overlap = (size - found).to(probability.dtype) / (size + (rank - found))
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
