"""Linear probes of dense features and of baselines; the only use of labels, for evaluation.

Protocol: logistic regression on standardised tokens, fitted to training rooms and scored on held-out rooms with
ScanNet's 20 classes; a token's class is the majority of its 4 × 4 rays, and tokens without a class (ceiling) are
ignored. All features use the same frames, tokens and classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ....core.datasets.rooms import Rooms
from ....core.metrics import SemanticScores, confusion_matrix, semantic_scores
from ....core.metrics.representation import effective_rank
from ....core.nn.tokens import STRIDE, TokenNet, TokenNetConfig
from ....core.synthetic.render.trace import Tracer
from ....core.synthetic.rooms import build_room
from ....core.synthetic.rooms.render import PixelRays

RAYS = 4
"""Rays per side of a token that vote on its class."""

Features = Callable[[Tensor], Tensor]
"""[C, H, W, 3] RGB in [0, 1] → [C, H/8, W/8, D]."""


@dataclass(frozen=True)
class LabelledFrames:
    """Frames and the classes of their tokens.

    Attributes:
        images: [F, H, W, 3] in [0, 1].
        labels: [F, H/8, W/8] int64 class, −1 = none.
        classes: K.
    """

    images: Tensor
    labels: Tensor
    classes: int


def labelled_frames(rooms: Rooms, count: int, per_room: int) -> LabelledFrames:
    """Return ``per_room`` frames, evenly spaced along the walk, of the first ``count`` rooms, with labels."""
    images, labels = [], []
    for i in range(count):
        frames = rooms.frames(i)
        index = [int(k) for k in np.linspace(0, len(frames) - 1, per_room).round()]
        images.append(frames.stack(index, rooms.config.width, rooms.config.height)[0])
        room = build_room(rooms.seed(i))
        tracer = Tracer(room.vertices, room.faces)
        size = rooms.config.width * RAYS // STRIDE, rooms.config.height * RAYS // STRIDE
        cameras = frames.cameras[index].resized(*size)
        for k in range(len(index)):
            face = tracer.hits(*PixelRays(cameras, k).through(0.5, 0.5)).face
            segment = np.where(face >= 0, room.segment[np.maximum(face, 0)], -1)
            labels.append(
                majority_class(torch.from_numpy(segment).view(cameras.height, cameras.width), len(rooms.class_names))
            )
    return LabelledFrames(torch.cat(images), torch.stack(labels), len(rooms.class_names))


def majority_class(segment: Tensor, classes: int) -> Tensor:
    """Reduce classes [h·RAYS, w·RAYS] (−1 = none) to the most frequent one per token [h, w]."""
    votes = F.one_hot(segment + 1, classes + 1).permute(2, 0, 1).float()
    return F.avg_pool2d(votes, RAYS).argmax(0) - 1


@dataclass(frozen=True)
class ProbeScores:
    """Scores of a linear classifier on held-out tokens, and the effective rank of their features."""

    semantic: SemanticScores
    rank: float
    dim: int

    def summary(self) -> dict[str, float]:
        """Return mIoU and mean recall over classes that occur, accuracy, rank and width, JSON-ready."""
        s = self.semantic
        recall = float(s.acc[s.present].mean())
        values = {"miou": s.miou_present, "mean_accuracy": recall, "accuracy": s.allacc, "effective_rank": self.rank}
        return {k: round(v, 4) for k, v in values.items()} | {"dim": self.dim}


def linear_probe(
    features: Features, train: LabelledFrames, test: LabelledFrames, tokens: int = 60_000, seed: int = 0
) -> ProbeScores:
    """Fit a linear classifier to features and score it.

    Args:
        train: frames to fit to.
        test: frames to score on, all tokens.
        tokens: number of sampled training tokens.
        seed: random seed of the sample.
    """
    x, y = _labelled(features, train)
    draw = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:tokens]
    x, y = x[draw], y[draw]
    mean, std = x.mean(0), x.std(0).clamp_min(1e-6)
    weight, bias = _logistic((x - mean) / std, y, train.classes)
    x, y = _labelled(features, test)
    predicted = ((x - mean) / std @ weight.T + bias).argmax(1)
    scores = semantic_scores(confusion_matrix(predicted, y, test.classes))
    return ProbeScores(scores, effective_rank(x), x.shape[1])


def _labelled(features: Features, frames: LabelledFrames) -> tuple[Tensor, Tensor]:
    """Return the features [N, D] of labelled tokens, and their classes [N]."""
    parts = zip(frames.images.split(8), frames.labels.split(8), strict=True)
    values = [features(images)[labels >= 0] for images, labels in parts]
    return torch.cat(values), frames.labels[frames.labels >= 0]


def _logistic(x: Tensor, y: Tensor, classes: int, decay: float = 1e-4, iterations: int = 150) -> tuple[Tensor, Tensor]:
    """Fit multinomial logistic regression by L-BFGS from zero: weight [K, D], bias [K]."""
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, y) + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    return weight.detach(), bias.detach()


# --- baselines ----------------------------------------------------------------------------------------------


def patches(images: Tensor) -> Tensor:
    """Return the colours of each token's 8 × 8 pixels: [C, h, w, 192]."""
    c, h, w, _ = images.shape
    cut = images.reshape(c, h // STRIDE, STRIDE, w // STRIDE, STRIDE, 3)
    return cut.permute(0, 1, 3, 2, 4, 5).flatten(3)


def pca_patches(images: Tensor, dim: int = 64, side: int = 24) -> Features:
    """Fit ``dim`` principal components of ``side`` × ``side`` patches around each token to ``images``."""

    def around(pixels: Tensor) -> Tensor:
        edge = (side - STRIDE) // 2
        x = F.pad(pixels.permute(0, 3, 1, 2), (edge,) * 4, mode="replicate")
        columns = F.unfold(x, side, stride=STRIDE)
        return columns.transpose(1, 2).unflatten(1, (pixels.shape[1] // STRIDE, pixels.shape[2] // STRIDE))

    sample = torch.cat([around(part)[:, ::3, ::3].flatten(0, 2) for part in images.split(8)])
    mean = sample.mean(0)
    centred = (sample - mean).double()
    directions = torch.linalg.eigh(centred.T @ centred)[1][:, -dim:].float()
    return lambda pixels: (around(pixels) - mean) @ directions


def random_network(config: TokenNetConfig, images: Tensor, seed: int = 0) -> Features:
    """Return an untrained `TokenNet` with batch-norm statistics of ``images``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = TokenNet(config)
    settle(net, images)
    return network_features(net)


@torch.no_grad()
def settle(net: TokenNet, images: Tensor, batch: int = 16) -> None:
    """Set the running batch-norm statistics to their means over whole images [F, H, W, 3].

    In training they follow recoloured crops. Leaves the network in eval mode.
    """
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # cumulative mean
    net.train()
    for part in images.split(batch):
        net(part.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last))
    for m, momentum in zip(norms, before, strict=True):
        m.momentum = momentum
    net.eval()


def network_features(net: TokenNet) -> Features:
    """Wrap a network in eval mode as `Features`."""

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        return net(images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)

    return features


def baselines(config: TokenNetConfig, train: LabelledFrames, test: LabelledFrames) -> Mapping[str, ProbeScores]:
    """Score colours, their principal components and an untrained network of the same sizes by `linear_probe`."""
    some = train.images[:: max(1, len(train.images) // 48)]
    kinds: dict[str, Features] = {
        "colour patches 8 × 8": patches,
        "PCA of patches 24 × 24": pca_patches(some, config.dim),
        "untrained network": random_network(config, some),
    }
    return {name: linear_probe(features, train, test) for name, features in kinds.items()}
