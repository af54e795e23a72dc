"""Losses of CLIP-GS (arXiv 2412.19142): contrast of objects with texts, and with several images each (voting).

All embeddings have unit length; ``scale``, an inverse temperature, multiplies cosines. In a distributed run every
rank holds its share of the batch and compares its own objects with the texts of all ranks, and its own texts with the
objects of all ranks. The mean of the ranks' losses is the loss of the whole batch, and so are the gradients that
`DistributedDataParallel` averages. Without `torch.distributed` there is one rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError

Voting = Literal["share", "softmax", "none"]
"""Weighting of an object's views by their similarity to its text."""

VOTING_TEMPERATURE = 0.01
"""Temperature of the "softmax" weighting: the smallest of CLIP."""

Gather = Callable[[Tensor], Tensor]


def text_contrast(
    objects: Tensor, texts: Tensor, scale: Tensor, ids: Tensor | None = None, gather: Gather | None = None
) -> Tensor:
    """L_text = −1/(2N) Σ_i [log p(T_i | G_i) + log p(G_i | T_i)], each p a softmax over the whole batch.

    Args:
        objects: [N, D] embeddings of this rank.
        texts: [N, D] embeddings of this rank; row i describes object i.
        scale: scalar.
        ids: [N] integers; texts of one id are equal and not negatives of each other's objects. None: all differ.
        gather: function that concatenates the rows of all ranks, in rank order (default: `gather_ranks`).

    Returns:
        A scalar.
    """
    gather = gather or gather_ranks
    return _contrast(objects, texts, scale, ids, gather, gather(objects), rank_of(gather)).mean() / 2


def image_voting(
    objects: Tensor,
    images: Tensor,
    weights: Tensor,
    scale: Tensor,
    ids: Tensor | None = None,
    gather: Gather | None = None,
) -> Tensor:
    """L_img = −1/(2N) Σ_i Σ_k w_ik [log p(I_ik | G_i) + log p(G_i | I_ik)], one softmax over the batch per view k.

    Args:
        objects: [N, D] embeddings of this rank.
        images: [N, K, D] embeddings of K views per object, in random order.
        weights: [N, K] result w of `voting_weights`.
        scale: scalar.
        ids, gather: as for `text_contrast`.

    Returns:
        A scalar.
    """
    gather = gather or gather_ranks
    all_objects, rank = gather(objects), rank_of(gather)  # [R · N, D]
    per_view = [_contrast(objects, view, scale, ids, gather, all_objects, rank) for view in images.unbind(1)]  # K × [N]
    return (weights * torch.stack(per_view, 1)).sum(1).mean() / 2


def voting_weights(texts: Tensor, images: Tensor, voting: Voting = "share") -> Tensor:
    """Weights [N, K] that sum to 1 over an object's views, from S = cos(text, view); no gradient.

    Args:
        texts: [N, D] and images: [N, K, D] from the frozen towers, of any length.
        voting: "share": S / ΣS, with negative cosines as 0 (all equal if none is positive); "softmax": softmax of S /
            `VOTING_TEMPERATURE`; "none": all equal.
    """
    with torch.no_grad():
        cosine = F.cosine_similarity(texts[:, None].float(), images.float(), dim=-1)
        if voting == "softmax":
            return (cosine / VOTING_TEMPERATURE).softmax(1)
        positive = cosine.clamp_min(0) if voting == "share" else torch.zeros_like(cosine)
        if voting not in ("share", "none"):
            raise InputError("voting", "share, softmax or none", repr(voting))
        total = positive.sum(1, keepdim=True)
        return torch.where(total > 0, positive / total.clamp_min(1e-12), 1 / cosine.shape[1])


def _contrast(
    objects: Tensor, others: Tensor, scale: Tensor, ids: Tensor | None, gather: Gather, all_objects: Tensor, rank: int
) -> Tensor:
    """[N] −log p(other_i | object_i) − log p(object_i | other_i)."""
    n = len(objects)
    target = torch.arange(n, device=objects.device) + rank * n  # [N] column of the match
    forth = scale * objects @ gather(others).T  # [N, R · N]
    back = scale * others @ all_objects.T  # [N, R · N]
    if ids is not None:
        same = ids[:, None] == gather(ids)
        same[torch.arange(n, device=ids.device), target] = False
        forth, back = (logits.masked_fill(same, -torch.inf) for logits in (forth, back))
    return F.cross_entropy(forth, target, reduction="none") + F.cross_entropy(back, target, reduction="none")


# --- ranks --------------------------------------------------------------------------------------------------


def gather_ranks(x: Tensor) -> Tensor:
    """Concatenate the rows [N, ...] of all R ranks to [R · N, ...], in rank order; differentiable.

    Every rank must have the same number of rows. Without a process group this returns ``x``.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    return _Gather.apply(x) if x.requires_grad else _all_gather(x)  # type: ignore[return-value]


def rank_of(gather: Gather) -> int:
    """Index of this rank among those that ``gather`` concatenates."""
    if gather is not gather_ranks:
        return int(getattr(gather, "rank", 0))
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return _all_gather(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[override]
        grad = grad.contiguous()
        torch.distributed.all_reduce(grad)
        return grad.split(ctx.rows)[torch.distributed.get_rank()]


def _all_gather(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)


# --- references ---------------------------------------------------------------------------------------------


def reference_text_contrast(objects: Tensor, texts: Tensor, scale: Tensor, ids: Tensor | None = None) -> Tensor:
    """`text_contrast` on one rank, term by term."""
    n, total = len(objects), objects.new_zeros(())
    for i in range(n):
        others = [j for j in range(n) if j == i or ids is None or ids[j] != ids[i]]
        match = torch.exp(scale * objects[i] @ texts[i])
        p_text = match / sum(torch.exp(scale * objects[i] @ texts[j]) for j in others)
        p_object = match / sum(torch.exp(scale * objects[j] @ texts[i]) for j in others)
        total = total + torch.log(p_text) + torch.log(p_object)
    return -total / (2 * n)


def reference_image_voting(
    objects: Tensor, images: Tensor, weights: Tensor, scale: Tensor, ids: Tensor | None = None
) -> Tensor:
    """`image_voting` on one rank, term by term."""
    n, views = images.shape[:2]
    total = objects.new_zeros(())
    for i in range(n):
        others = [j for j in range(n) if j == i or ids is None or ids[j] != ids[i]]
        for k in range(views):
            match = torch.exp(scale * objects[i] @ images[i, k])
            p_image = match / sum(torch.exp(scale * objects[i] @ images[j, k]) for j in others)
            p_object = match / sum(torch.exp(scale * objects[j] @ images[i, k]) for j in others)
            total = total + weights[i, k] * (torch.log(p_image) + torch.log(p_object))
    return -total / (2 * n)
