"""Batches of CLIP-GS training. A batch is a pure function of (seed, step, rank): resuming needs no sampler state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.data.augment import augment_object
from ...core.data.objects import resample, to_attributes
from ...core.datasets.objects.triplets import Triplets
from .config import ClipGSRun


@dataclass(frozen=True)
class TripletBatch:
    """B objects with their embeddings.

    Attributes:
        attributes: [B, N, 14] augmented Gaussians.
        texts: [B, D] unit caption embeddings.
        images: [B, K, D] unit embeddings of K renders, in random order.
        captions: [B] int64 caption ids, equal for equal captions.
    """

    attributes: Tensor
    texts: Tensor
    images: Tensor
    captions: Tensor

    def to(self, device: torch.device) -> TripletBatch:
        return TripletBatch(*(t.to(device) for t in (self.attributes, self.texts, self.images, self.captions)))


class ClipGSData:
    """Training batches of one set of triplets.

    Args:
        config: options of the run.
        train: training objects; by default opened from ``config.data``.
        rank, world: rank of this process and number of ranks.
    """

    def __init__(self, config: ClipGSRun, train: Triplets | None = None, rank: int = 0, world: int = 1) -> None:
        self.config = config
        self.train = Triplets(config.data, "train") if train is None else train
        self.rank, self.world = rank, world
        self.batch_size = min(config.batch_size, max(1, len(self.train) // world))
        """Objects per step and rank; limited so that no object occurs twice in a step."""

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return max(1, round(self.config.epochs * len(self.train) / (self.batch_size * self.world)))

    def indices(self, step: int) -> list[int]:
        """Return the objects of ``step``: each epoch is a new permutation, without an incomplete last step."""
        size = self.batch_size * self.world
        epoch, position = divmod(step, max(1, len(self.train) // size))
        order = np.random.default_rng([self.config.seed, 1, epoch]).permutation(len(self.train))
        start = position * size + self.rank * self.batch_size
        return order[start : start + self.batch_size].tolist()

    def batch(self, step: int) -> TripletBatch:
        """Return the batch of ``step``, on the CPU."""
        config, chosen = self.config, self.indices(step)
        objects, images = [], []
        for index in chosen:
            rng = np.random.default_rng([config.seed, 2, step, index])
            gaussians = augment_object(self.train.gaussians(index), config.augment, rng)
            objects.append(to_attributes(gaussians)[resample(len(gaussians), config.model.gaussians, rng)])
            picked = rng.choice(self.train.views, config.views, replace=self.train.views < config.views)
            images.append(self.train.images(index, picked))
        return TripletBatch(
            torch.stack(objects), self.train.text[chosen], torch.stack(images), self.train.caption_ids[chosen]
        )
