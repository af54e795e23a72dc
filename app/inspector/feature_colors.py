"""The colours of features: one basis for scenes, steps, browsers and both sides of a split."""

from __future__ import annotations

from torch import Tensor

from ...core.pca import PcaBasis


class FeatureColors:
    """The PCA bases of a run: one for the embeddings (the teacher's space), one for the backbone's features.

    A basis is fitted once and then stays, through scenes, stages and browsers, until `refresh`; the next one is
    rotated onto it. Without a teacher the embeddings of an untrained network mean nothing, and colours fitted to
    them would stay meaningless: such a basis is refitted, aligned, each time the number of steps has doubled.
    """

    def __init__(self) -> None:
        self.version = 0
        self.follow = True
        self._bases: dict[str, tuple[PcaBasis, int | None]] = {}
        self._stale: set[str] = set()

    def basis(self, kind: str, features: Tensor, stage: int | None) -> PcaBasis:
        """The basis of ``kind``, fitted to ``features`` [N, D] if there is none yet or it is out of date.

        Args:
            stage: steps behind the features; None for features that never change (a teacher's).
        """
        known = self._bases.get(kind)
        if known is not None and known[0].mean.shape[0] == features.shape[-1] and not self._due(kind, known[1], stage):
            return known[0]
        previous = known[0] if known is not None else None
        flat = features.flatten(0, -2)
        basis = PcaBasis.fit(flat[:: max(1, len(flat) // 50_000)], previous)
        self._bases[kind] = (basis, stage)
        self._stale.discard(kind)
        self.version += 1
        return basis

    def fitted(self, kind: str) -> PcaBasis | None:
        known = self._bases.get(kind)
        return None if known is None else known[0]

    def stale(self, kind: str) -> bool:
        """Whether the basis of ``kind`` will be refitted at its next use."""
        return kind in self._stale

    def refresh(self) -> None:
        """Refit every basis at its next use."""
        self._stale = set(self._bases)
        self.version += 1

    def _due(self, kind: str, fitted: int | None, stage: int | None) -> bool:
        if kind in self._stale:
            return True
        return self.follow and fitted is not None and stage is not None and stage >= 2 * fitted + 10

    def describe(self) -> str:
        """Which step the colours stem from, for the settings panel."""
        names = {"embedding": "Gaussians", "backbone": "points"}
        steps = [f"{names[k]}: " + ("teacher" if s is None else f"step {s}") for k, (_, s) in self._bases.items()]
        return ", ".join(steps) or "not fitted yet"
