"""Online linear probe: a linear classifier of the labels, trained on the features during pre-training.

It does not affect the training: it uses the detached features of the step's own forward pass and draws nothing from the
global random generator, so the network's weights are bit for bit the same with and without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...core.io.pretrained import PROBE_PREFIX
from ...core.metrics import SemanticScores, confusion_matrix, semantic_scores

MAX_VOXELS = 8_192
"""Upper bound on labelled voxels per step, to bound the probe's cost."""

LR, WEIGHT_DECAY = 5e-3, 1e-4
"""AdamW learning rate and weight decay; high, since the features keep changing."""


class LinearProbe(nn.Module):
    """Features [V, C] → class logits [V, K]: channels normalised to mean 0 and variance 1, then one linear layer.

    Outside training, too, the channels are normalised by the statistics of the current scene, as in the backbone:
    training sees masked scenes, evaluation whole ones.

    Args:
        features: C.
        classes: K.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features, affine=False, track_running_stats=False)
        with torch.random.fork_rng(devices=[]):  # the initial values are overwritten; keep the global generator as is
            self.linear = nn.Linear(features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @staticmethod
    def of(weights: Mapping[str, Tensor]) -> LinearProbe:
        """Build the probe of a state dict, in eval mode."""
        classes, features = weights["linear.weight"].shape
        probe = LinearProbe(features, classes)
        probe.load_state_dict(dict(weights))
        return probe.eval()

    def forward(self, features: Tensor) -> Tensor:
        if len(features) < 2:  # no statistics
            return self.linear(torch.zeros_like(features, dtype=torch.float32))
        return self.linear(self.norm(features.float()))


class OnlineProbe:
    """A `LinearProbe` with its optimiser and the confusion matrix of the current evaluation.

    Args:
        features: width of the backbone's features.
        class_names: names of the labels.
        seed: random seed of the sampled voxels.
        device: device of the features.
    """

    def __init__(
        self, features: int, class_names: tuple[str, ...], seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.class_names, self._seed = class_names, seed
        self.model = LinearProbe(features, len(class_names)).to(device)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
        self._confusion = torch.zeros(len(class_names), len(class_names), dtype=torch.int64)

    def learn(self, step: int, features: Tensor, segment: Tensor | None) -> float | None:
        """Update once on the features [V, C] and labels [V] of a training step.

        Labels on the CPU are better than on the features' device, where looking for labelled voxels waits for it.

        Returns:
            the cross-entropy before the update; None without labelled voxels.
        """
        if segment is None:
            return None
        labelled = torch.nonzero((segment >= 0) & (segment < len(self.class_names)))[:, 0]
        if len(labelled) > MAX_VOXELS:
            generator = torch.Generator().manual_seed((self._seed << 32) + step)
            draw = torch.randint(len(labelled), (MAX_VOXELS,), generator=generator)
            labelled = labelled[draw.to(labelled.device)]
        if len(labelled) < 2:
            return None
        self.model.train()
        target = segment[labelled].long().to(features.device)
        logits = self.model(features.detach().index_select(0, labelled.to(features.device)))
        loss = nn.functional.cross_entropy(logits, target)
        value = float(loss.detach())
        if value != value or value == float("inf"):
            return None
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return value

    @torch.no_grad()
    def observe(self, features: Tensor | None, segment: Tensor | None) -> None:
        """Add one held-out scene, features [V, C] and labels [V], to the confusion matrix."""
        if features is None or segment is None:
            return
        predicted = self.model.eval()(features.to(self._device)).argmax(1)
        segment = segment.to(predicted.device)
        self._confusion += confusion_matrix(predicted, segment, len(self.class_names)).cpu()

    def take_scores(self) -> SemanticScores | None:
        """Return and reset the per-voxel scores of the scenes since the last call; None without labelled voxels."""
        confusion, self._confusion = self._confusion, torch.zeros_like(self._confusion)
        return semantic_scores(confusion) if int(confusion.sum()) else None

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    # --- checkpoints and snapshots ---------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """Return copies of the probe's weights on the CPU."""
        return {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return the state that `load` needs besides the weights."""
        return {"optimizer": self._optimizer.state_dict(), "classes": list(self.class_names)}

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> bool:
        """Restore weights and state; return False, unchanged, for a probe of other classes or another width."""
        same = state.get("classes") == list(self.class_names)
        if not same or {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in self.weights().items()}:
            return False
        self.model.load_state_dict(dict(weights))
        self._optimizer.load_state_dict(state["optimizer"])
        return True


def with_probe(weights: Mapping[str, Tensor], probe: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Join the network's and the probe's weights in one mapping, as checkpoints and time lines store them."""
    return {**weights, **{PROBE_PREFIX + k: v for k, v in (probe or {}).items()}}


def split_probe(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """Split the result of `with_probe` into the network's weights and the probe's (or None)."""
    own = {k: v for k, v in weights.items() if not k.startswith(PROBE_PREFIX)}
    probe = {k.removeprefix(PROBE_PREFIX): v for k, v in weights.items() if k.startswith(PROBE_PREFIX)}
    return own, probe or None
