"""Evaluation of a pre-trained network on held-out views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...core.data.batch import Batch
from ...core.device import has_bfloat16
from ...core.metrics import depth_error, effective_rank, feature_spread, psnr, token_cosine
from ...core.models import GaussianCross, Prediction
from .data import PretrainData


@torch.no_grad()
def evaluate(
    model: GaussianCross,
    data: PretrainData,
    on_scene: Callable[[str, Batch, Prediction], object] | None = None,
    constant: Tensor | None = None,
    amp: bool | None = None,
) -> dict[str, Tensor]:
    """Compute metrics of the held-out scenes and views: name → values per view or per scene, on the CPU.

    * ``eval/psnr`` (dB) and ``eval/psnr_gain``, its difference to the PSNR of the mean colour, per view;
    * ``eval/depth_error``, the median relative error of the rendered depth, per view (NaN without depth);
    * ``eval/teacher_cosine``, per view, with a teacher only;
    * ``eval/constant_cosine``, the teacher cosine of ``constant`` in every pixel, per view;
    * ``eval/effective_rank`` and ``eval/feature_spread`` of the backbone's features, per scene; low when they collapse.

    Args:
        on_scene: called with every scene's name, batch and prediction (to save images).
        constant: [D] from `constant_feature`; None omits its cosine.
        amp: run the network in bfloat16 autocast, as the training does; by default on GPUs that have it in hardware.
    """
    device = next(model.parameters()).device
    amp = device.type == "cuda" and has_bfloat16(device) if amp is None else amp
    was_training = model.training
    model.eval()
    rows: dict[str, list[Tensor]] = {}

    def add(name: str, values: Tensor) -> None:
        rows.setdefault(name, []).append(values.float().cpu())

    for name, batch in data.held_out():
        batch = batch.to(device)
        views = batch.views[0]
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            features = model.backbone_features(batch.points)
            prediction = model.predict_views(model.gaussians(batch.points, features)[0], views)
        prediction = replace(prediction, point_features=features)
        quality = psnr(prediction.splats.color, views.color)
        add("eval/psnr", quality)
        add("eval/psnr_gain", quality - psnr(data.mean_color.to(device).expand_as(views.color), views.color))
        add("eval/depth_error", depth_error(prediction.splats.depth[..., 0], views.depth))
        if prediction.tokens is not None and views.teacher is not None:
            add("eval/teacher_cosine", token_cosine(prediction.tokens, views.teacher))
            if constant is not None:
                add("eval/constant_cosine", constant_cosine(constant, views.teacher))
        add("eval/effective_rank", torch.tensor([effective_rank(features.float())]))
        add("eval/feature_spread", torch.tensor([feature_spread(features.float())]))
        if on_scene is not None:
            on_scene(name, batch, prediction)
    model.train(was_training)
    return {k: torch.cat(v) for k, v in rows.items()}


def constant_feature(data: PretrainData, batches: int = 4) -> Tensor | None:
    """Return the mean direction [D] of the teacher's features in the first training batches, None without a teacher.

    Of all constant vectors it has the highest mean cosine to those features.
    """
    if data.teacher is None:
        return None
    views = [v for step in range(batches) for v in data.batch(step).views]
    seen = [normalize(v.teacher, dim=-1).flatten(0, 2) for v in views if v.teacher is not None]
    return normalize(torch.cat(seen).mean(0), dim=0)


def constant_cosine(constant: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean cosine [M], on the CPU, of a feature vector [D] to the teacher's features [M, h, w, D] per view.

    It is high where features share a large common part; compare a model's cosine with it.
    """
    return (normalize(teacher.cpu(), dim=-1) @ constant.cpu()).flatten(1).mean(1)
