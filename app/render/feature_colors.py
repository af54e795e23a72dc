"""Colours of features: one basis for all scenes, steps, browsers and both sides of a comparison."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal, Protocol, get_args

from torch import Tensor

from ...core.errors import InputError
from ...core.features.pca import PcaBasis
from .umap_colors import UmapColors, require_umap, sampled

log = logging.getLogger(__name__)

Method = Literal["PCA", "UMAP"]


class ColorBasis(Protocol):
    """Map of features to colours.

    Attributes:
        mean: [D] mean of the features that it was fitted to, on their device.
    """

    @property
    def mean(self) -> Tensor: ...

    def rgb(self, features: Tensor) -> Tensor:
        """[..., D] → [..., 3] in [0, 1]."""
        ...


class FeatureColors:
    """Bases of a run: one for the embeddings (the teacher's space), one for the backbone's features.

    A basis is fitted once and used for all scenes, steps and browsers until `refresh`; the next one is rotated onto it.
    Without a teacher, embeddings of an untrained network carry no meaning: their basis is refitted and aligned each
    time the number of steps has doubled.

    PCA takes milliseconds. UMAP takes seconds to minutes: a separate thread fits it to a sample of the PCA's features,
    and the colours of the PCA, or of the previous UMAP, are shown until it is ready.

    Attributes:
        version: number of changes of the colours.
        follow: whether to refit each time the steps have doubled.
        changed: called in any thread when a UMAP in the background has changed the colours.
    """

    def __init__(self) -> None:
        self.version = 0
        self.follow = True
        self.changed: Callable[[], None] = lambda: None
        self._method: Method = "PCA"
        self._bases: dict[str, tuple[PcaBasis, int | None]] = {}
        self._samples: dict[str, Tensor] = {}
        self._umaps: dict[str, tuple[UmapColors, PcaBasis]] = {}
        self._stale: set[str] = set()
        self._lock = threading.Lock()
        self._fitting: dict[str, float] = {}
        self._failed = ""

    # --- how features are coloured --------------------------------------------------------------------------

    @property
    def method(self) -> Method:
        return self._method

    @method.setter
    def method(self, method: Method) -> None:
        """Set the method; raise `InputError` for UMAP without umap-learn."""
        if method not in get_args(Method):
            raise InputError("feature colours", "PCA or UMAP", str(method)[:20])
        if method == "UMAP":
            require_umap()
        with self._lock:
            self._method, self._failed = method, ""
            self.version += 1
        for kind in tuple(self._bases):
            self._lay_out(kind)

    def basis(self, kind: str, features: Tensor, step: int | None) -> ColorBasis:
        """Return the basis of ``kind``, first fitted to ``features`` [N, D] if it is missing or out of date.

        Args:
            step: optimiser step of the features; None for features that never change (a teacher's).
        """
        known = self._bases.get(kind)
        if known is None or known[0].mean.shape[0] != features.shape[-1] or self._due(kind, known[1], step):
            flat = features.flatten(0, -2)
            basis = PcaBasis.fit(flat[:: max(1, len(flat) // 50_000)], None if known is None else known[0])
            sample = sampled(flat)
            with self._lock:
                self._bases[kind], self._samples[kind] = (basis, step), sample
                self._stale.discard(kind)
                self.version += 1
            self._lay_out(kind)
        shown = self.fitted(kind)
        assert shown is not None
        return shown

    def fitted(self, kind: str) -> ColorBasis | None:
        """Return the current basis of ``kind``, or None before the first one."""
        known, umap = self._bases.get(kind), self._umaps.get(kind)
        if known is None:
            return None
        if self._method == "UMAP" and umap is not None and umap[0].mean.shape == known[0].mean.shape:
            return umap[0]
        return known[0]

    def stale(self, kind: str) -> bool:
        """Whether the basis of ``kind`` will be refitted at its next use."""
        return kind in self._stale

    def refresh(self) -> None:
        """Refit every basis at its next use."""
        with self._lock:
            self._stale = set(self._bases)
            self.version += 1

    def _due(self, kind: str, fitted: int | None, step: int | None) -> bool:
        if kind in self._stale:
            return True
        return self.follow and fitted is not None and step is not None and step >= 2 * fitted + 10

    def describe(self) -> str:
        """Steps of the bases, as text for the settings panel."""
        names = {"embedding": "Gaussians", "backbone": "points"}
        steps = [names[k] + ("" if s is None else f": step {s:,}") for k, (_, s) in self._bases.items()]
        return ", ".join(steps) or "not fitted yet"

    # --- UMAP -----------------------------------------------------------------------------------------------

    @property
    def progress(self) -> float | None:
        """Progress of the running UMAP fit in [0, 1], or None."""
        running = tuple(self._fitting.values())
        return min(running) if running else None

    @property
    def failed(self) -> str:
        """Error of the last UMAP fit, or ""."""
        return self._failed

    def _lay_out(self, kind: str) -> None:
        """Start fitting a UMAP of ``kind``, if UMAP is selected and the present basis has none."""
        with self._lock:
            basis, done = self._bases[kind][0], self._umaps.get(kind)
            if self._method != "UMAP" or kind in self._fitting or (done is not None and done[1] is basis):
                return
            self._fitting[kind] = 0.0
        before = done[0] if done is not None and done[0].mean.shape == basis.mean.shape else basis
        thread = threading.Thread(target=self._fit, args=(kind, basis, before), name="umap", daemon=True)
        thread.start()

    def _fit(self, kind: str, basis: PcaBasis, before: ColorBasis) -> None:
        def like(points: Tensor) -> Tensor:
            return before.rgb(points.to(before.mean.device)).cpu()

        umap = None
        try:
            umap = UmapColors.fit(self._samples[kind], like, lambda share: self._fitting.update({kind: share}))
        except Exception as error:
            log.exception("UMAP failed")
            self._failed = f"{type(error).__name__}: {error}"[:200]
        with self._lock:
            del self._fitting[kind]
            if umap is not None:
                self._umaps[kind] = (umap, basis)
                self.version += 1
        if umap is not None:
            self.changed()
            self._lay_out(kind)  # the basis may have been refitted in the meantime
