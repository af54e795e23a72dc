"""Two runs, or two steps of one, side by side: same scene, same camera, same feature colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

import numpy as np
import torch
from torch import Tensor

from ...core.errors import InputError
from ...core.features.pca import PcaBasis
from ...core.geometry.cameras import Cameras
from ..scenes.geometry import centers_in_world, subset
from ..scenes.nearest import tree
from ..scenes.source import SceneSource, SceneState
from ..scenes.timeline import TimelineSource
from .catalog import INFO
from .draw import crop_cameras, divide
from .feature_colors import ColorBasis
from .options import FAR, Canvas, RenderOptions
from .renderer import Renderer

_ALIGNED_ON = 20_000
"""Gaussians that two bases are aligned on."""


class Comparison:
    """The page's own renderer on the left, another source on the right. Render thread only, but for ``other``.

    Args:
        main: the page's renderer.
        other: scenes of the same names, from another run or from another step of the same run.
    """

    def __init__(self, main: Renderer, other: SceneSource) -> None:
        self.other = other
        self._main, self._partner = main, PartnerRenderer(other, main)

    @property
    def same_run(self) -> bool:
        """Whether both sides are steps of one run."""
        main = self._main.source
        return (
            isinstance(main, TimelineSource) and isinstance(self.other, TimelineSource) and main.base is self.other.base
        )

    def stale(self, scene: int) -> bool:
        """Whether the right side would show something newer than it does."""
        state = self._partner.state(self._index(scene))
        return state is None or state.step != self.other.step()

    @torch.no_grad()
    def draw(self, scene: int, look: RenderOptions, cameras: Cameras, with_depth: bool = False) -> Canvas:
        """``look.layer`` of both, the right one from the column ``look.at`` · width on."""
        index = self._index(scene)
        if self.stale(scene):
            self._partner.load(index)
        if INFO[look.layer].kind == "sheet":
            return self._main.draw(scene, look, cameras, with_depth)
        alone = replace(look, mix="Off")
        names = self.names()
        split = round(look.at * cameras.width)
        parts = []
        if split > 0:
            parts.append(self._main.draw(scene, alone, crop_cameras(cameras, right=split), with_depth))
        if split < cameras.width:
            parts.append(self._partner.draw(index, alone, crop_cameras(cameras, left=split), with_depth))
        image = np.concatenate([p.image for p in parts], 1)
        depth = None
        if with_depth:
            blank = np.full(image.shape[:2], FAR, np.float32)
            depth = np.concatenate([blank[:, : p.image.shape[1]] if p.depth is None else p.depth for p in parts], 1)
        image = divide(image, split, *(names if look.text else ("", "")), look.grip)
        marks = replace(parts[0].marks, names=names)
        return Canvas(image, depth, next((p.note for p in parts if p.note), ""), marks)

    def names(self) -> tuple[str, str]:
        """Labels of the two sides: steps of one run, else the names of the two runs."""
        steps = self._main.source.step(), self.other.step()
        labels = [None if s is None else f"step {s:,}" for s in steps]
        if self.same_run:
            return labels[0] or "nothing yet", labels[1] or "nothing yet"
        names = [PurePath(source.title.split(" of ")[-1]).name for source in (self._main.source, self.other)]
        if names[0] == names[1]:
            names = ["left", "right"]
        left, right = (f"{n}, {s}" if s else n for n, s in zip(names, labels, strict=True))
        return left, right

    def _index(self, scene: int) -> int:
        name = self._main.source.scene_names[scene]
        if name not in self.other.scene_names:
            raise InputError(
                f"scene {name}", "it in both runs", "it in the left one alone", "give both the same --data"
            )
        return self.other.scene_names.index(name)


class PartnerRenderer(Renderer):
    """A renderer whose feature colours follow those of ``main``: the same basis where both live in the teacher's
    space or are steps of one run, else a basis of its own, turned until the same places look alike."""

    def __init__(self, source: SceneSource, main: Renderer) -> None:
        super().__init__(source)
        self._own, self._main = self.colors, main
        self._classes = main._classes
        self._basis: PcaBasis | None = None
        self._fitted: tuple[int, int | None] | None = None

    def _embedding_basis(self, index: int, state: SceneState) -> ColorBasis:
        name = self.source.scene_names[index]
        other = self._main.state(self._main.source.scene_names.index(name))
        assert state.embeddings is not None
        if other is None or other.embeddings is None:
            self.colors = self._own
            return super()._embedding_basis(index, state)
        if other.embeddings.shape[1] == state.embeddings.shape[1] and (
            (other.lift is not None and state.lift is not None) or self._one_run()
        ):
            self.colors = self._main.colors
            return super()._embedding_basis(index, state)
        self.colors = self._own
        reference, _ = self._main.embedding_colors(self._main.source.scene_names.index(name), other)
        assert reference is not None
        wanted = (self._main.colors.version, state.step)
        if self._basis is None or self._fitted != wanted:
            self._basis, self._fitted = aligned_basis(state, other, reference), wanted
            self._own.version += 1
        return self._basis

    def _one_run(self) -> bool:
        main = self._main.source
        both = isinstance(main, TimelineSource) and isinstance(self.source, TimelineSource)
        return both and main.base is self.source.base  # type: ignore[union-attr]


def aligned_basis(state: SceneState, other: SceneState, colors: Tensor) -> PcaBasis:
    """Fit a PCA basis to ``state``'s embeddings and align it with the colours of another state.

    The three axes are rotated (orthogonal Procrustes) so that Gaussians resemble the nearest ones of ``other``.
    Networks without a teacher share no axes: the alignment makes their colours comparable.

    Args:
        colors: [M, 3] colours of ``other``'s Gaussians.
    """
    assert state.embeddings is not None
    basis = PcaBasis.fit(state.embeddings[:: max(1, len(state.embeddings) // 50_000)])
    here, there = centers_in_world(state), centers_in_world(other)
    mine = subset(len(here), _ALIGNED_ON)
    mine = mine[np.isfinite(here[mine]).all(1) & torch.isfinite(state.embeddings).all(1).cpu().numpy()[mine]]
    theirs = np.flatnonzero(np.isfinite(there).all(1))
    if len(mine) < 3 or not len(theirs):
        return basis
    nearest = theirs[np.asarray(tree(there[theirs]).query(here[mine])[1])]
    values = ((state.embeddings[torch.from_numpy(mine)].float() - basis.mean) @ basis.directions).double().cpu()
    wanted = colors[torch.from_numpy(nearest)].double().cpu()
    u, _, vh = torch.linalg.svd((values - values.mean(0)).T @ (wanted - wanted.mean(0)))
    turn = (u @ vh).to(basis.directions)
    turned = values.to(turn) @ turn
    low, high = torch.quantile(turned, torch.tensor([0.02, 0.98], device=turned.device), dim=0)
    return PcaBasis(basis.mean, basis.directions @ turn, low, torch.maximum(high, low + 1e-6))
