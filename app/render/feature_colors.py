"""The colours of features: one basis for scenes, steps, browsers and both sides of a split."""

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
    """Features → colours.

    Attributes:
        mean: [D] of the features that it was fitted to, on their device.
    """

    @property
    def mean(self) -> Tensor: ...

    def rgb(self, features: Tensor) -> Tensor:
        """[..., D] → [..., 3] in [0, 1]."""
        ...


class FeatureColors:
    """The bases of a run: one for the embeddings (the teacher's space), one for the backbone's features.

    A basis is fitted once and then stays, through scenes, steps and browsers, until `refresh`; the next one is
    rotated onto it. Without a teacher the embeddings of an untrained network mean nothing, and colours fitted to
    them would stay meaningless: such a basis is refitted, aligned, each time the number of steps has doubled.

    PCA takes milliseconds. UMAP takes seconds to minutes: it is fitted in a thread of its own to a sample of what the
    PCA was fitted to, and PCA's colours (or those of the UMAP before) are shown until it is ready.

    Attributes:
        version: counts up with every change of colours.
        follow: refit as the steps double.
        changed: called, in whatever thread, when colours have changed without anybody asking for pictures.
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
        """`InputError` for UMAP without umap-learn."""
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
        """The basis of ``kind``, fitted to ``features`` [N, D] if there is none yet or it is out of date.

        Args:
            step: optimiser steps behind the features; None for features that never change (a teacher's).
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
        """The basis of ``kind`` that colours are made with now, or None before the first one."""
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
        """Which step the colours stem from, for the settings panel."""
        names = {"embedding": "Gaussians", "backbone": "points"}
        steps = [names[k] + ("" if s is None else f": step {s:,}") for k, (_, s) in self._bases.items()]
        return ", ".join(steps) or "not fitted yet"

    # --- UMAP -----------------------------------------------------------------------------------------------

    @property
    def progress(self) -> float | None:
        """How far the UMAP that is being fitted is, in [0, 1]; None when none is."""
        running = tuple(self._fitting.values())
        return min(running) if running else None

    @property
    def failed(self) -> str:
        """Why there is no UMAP, or ""."""
        return self._failed

    def _lay_out(self, kind: str) -> None:
        """Begin a UMAP of ``kind``, if one is wanted and there is none of its present basis."""
        with self._lock:
            basis, done = self._bases[kind][0], self._umaps.get(kind)
            if self._method != "UMAP" or kind in self._fitting or (done is not None and done[1] is basis):
                return
            self._fitting[kind] = 0.0
        before = done[0] if done is not None and done[0].mean.shape == basis.mean.shape else basis
        thread = threading.Thread(target=self._fit, args=(kind, basis, before), name="inspector-umap", daemon=True)
        thread.start()

    def _fit(self, kind: str, basis: PcaBasis, before: ColorBasis) -> None:
        def like(points: Tensor) -> Tensor:
            return before.rgb(points.to(before.mean.device)).cpu()

        umap = None
        try:
            umap = UmapColors.fit(self._samples[kind], like, lambda share: self._fitting.update({kind: share}))
        except Exception as error:
            log.exception("inspector: UMAP failed")
            self._failed = f"{type(error).__name__}: {error}"[:200]
        with self._lock:
            del self._fitting[kind]
            if umap is not None:
                self._umaps[kind] = (umap, basis)
                self.version += 1
        if umap is not None:
            self.changed()
            self._lay_out(kind)  # the basis may have been refitted in the meantime
