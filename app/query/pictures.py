"""Pictures of query results: heat maps beside the scene and the selection, from the views that show the most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ...core.geometry.cameras import Cameras, intrinsics, look_at
from ...core.splat import rasterize
from ..render.colors import Image, over_background, to_image
from ..render.draw import Cell, sheet
from ..render.options import RenderOptions
from ..render.renderer import Renderer
from ..render.scores import Heat
from ..scenes.geometry import bounds, guess_up, world_gaussians, z_up_to
from ..scenes.source import SceneState
from .answer import PhraseResult
from .boxes import draw_boxes

CANDIDATES = 40
"""Number of candidate views from which the best ones are chosen."""

_PREVIEW_SIZE = (80, 60)
"""Width and height (pixels) of the pictures that candidate views are compared in."""

_DIM = 0.22
"""Brightness of Gaussians that are not selected."""


def candidate_views(state: SceneState, most: int = CANDIDATES) -> list[tuple[Cameras, int | None]]:
    """World cameras with the index of their frame; without frames, views around the scene and None."""
    if state.frames is not None and len(state.frames):
        picks = np.unique(np.linspace(0, len(state.frames) - 1, most).round().astype(int)).tolist()
        return [(state.frames.cameras[i], i) for i in picks]
    low, high = bounds(state)
    up = guess_up(state)
    middle, reach = (low + high) / 2, float(np.linalg.norm(high - low))
    out = []
    for ring, height in ((0.85, 0.35), (0.7, 0.75), (0.25, 0.12)):  # around it, from above, and from within
        for k in range(8):
            angle = 2 * math.pi * (k + 0.5) / 8
            eye = middle + reach * z_up_to(np.array([ring * math.cos(angle), ring * math.sin(angle), height]), up)
            target = middle if ring > 0.5 else 2 * middle - eye
            eye_, target_, up_ = (
                torch.from_numpy(np.asarray(v, np.float64)).float()
                for v in (eye, target, z_up_to(np.array([0.0, 0.0, 1.0]), up))
            )
            view = look_at(eye_, target_, up_)
            out.append((Cameras(view[None], intrinsics(1.0, 640, 480)[None], 640, 480), None))
    return out


@torch.no_grad()
def best_views(state: SceneState, weight: torch.Tensor, count: int) -> list[tuple[Cameras, int | None]]:
    """The ``count`` views that show the most Gaussians with a weight [N], each adding Gaussians missed before.

    Views are splatted, so hidden Gaussians do not count. The visibility of a group of Gaussians is the square root of
    its pixels: two views of two objects are worth more than two close-ups of one.
    """
    assert state.gaussians is not None
    found = torch.nonzero(weight > 0)[:, 0]
    views = candidate_views(state)
    if len(found) == 0:
        return views[:: max(1, len(views) // count)][:count]
    # Groups are cells of half a metre: a view adds something new if it shows other cells.
    means = world_gaussians(state).means[found]
    cell = torch.unique((means / 0.5).floor().long(), dim=0, return_inverse=True)[1]
    groups = min(32, int(cell.max()) + 1)
    channels = torch.zeros(len(state.gaussians), groups)
    channels[found, cell % groups] = weight[found].float().clamp(0, 1)
    painted = replace(state.gaussians, features=channels.to(state.gaussians.means))
    seen = []
    for camera, _ in views:
        small = state.cameras(camera.resized(*_PREVIEW_SIZE))
        splats = rasterize(painted, small.viewmats, small.Ks, *_PREVIEW_SIZE)
        assert splats.features is not None
        seen.append(splats.features[0].sum((0, 1)).sqrt().cpu())
    table, chosen, covered = torch.stack(seen), [], torch.zeros(groups)
    for _ in range(min(count, len(views))):
        gain = (torch.maximum(table, covered) - covered).sum(1) + 0.05 * table.sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        covered = torch.maximum(covered, table[chosen[-1]])
    return [views[i] for i in chosen]


class AnswerPictures:
    """Draws the results of a query in one scene.

    Args:
        renderer: renderer with the scene loaded.
        scene: index of the scene.
        width: width of one picture, pixels.
        label: name of the scores.
    """

    def __init__(self, renderer: Renderer, scene: int, width: int, label: str) -> None:
        state = renderer.state(scene)
        assert state is not None and state.gaussians is not None
        self._renderer, self._scene, self._state = renderer, scene, state
        self._width, self._label = width, label

    def best(self, result: PhraseResult, count: int) -> list[tuple[Cameras, int | None]]:
        """The views that show the most of a selection, or of the best scores if nothing is selected."""
        weight = torch.from_numpy(result.selected).float()
        if not result.selected.any():
            weight = (result.scores >= result.scores.topk(min(200, len(result.scores))).values[-1]).float()
        return best_views(self._state, weight, count)

    def rows(self, result: PhraseResult, count: int) -> list[list[Cell]]:
        """[count][3]: the scene, the heat map, the selection; from the best views."""
        return [
            [self.scene_cell(camera, frame), self.heat_cell(result, camera), self.selection_cell(result, camera)]
            for camera, frame in self.best(result, count)
        ]

    def phrase(self, result: PhraseResult, count: int) -> Image:
        """A sheet of one phrase."""
        rows = self.rows(result, count)
        return self._sheet(rows, ["scene", self._title(result), "selected"], [""] * len(rows))

    def page(self, results: Sequence[PhraseResult]) -> Image:
        """A sheet with one row per phrase."""
        rows = [self.rows(f, 1)[0] for f in results]
        return self._sheet(rows, ["scene", self._label, "selected"], [f.answer.phrase for f in results])

    def _title(self, result: PhraseResult) -> str:
        return f"{result.answer.phrase}: {result.verdict}"

    def _sheet(self, rows: list[list[Cell]], columns: list[str], names: list[str]) -> Image:
        aspect = rows[0][0].image.shape[1] / rows[0][0].image.shape[0]  # type: ignore[union-attr]
        return sheet(rows, columns, names, 3 * self._width + 60, aspect, text=max(13, self._width // 36))

    def _size(self, camera: Cameras) -> tuple[int, int]:
        return self._width, max(16, round(self._width * camera.height / camera.width))

    def scene_cell(self, camera: Cameras, frame: int | None) -> Cell:
        """The recorded picture of the frame, or a render."""
        width, height = self._size(camera)
        if frame is not None and self._state.frames is not None:
            color = self._state.frames.read(frame, width, height).color
            return Cell((color * 255 + 0.5).astype(np.uint8), f"frame {self._state.frames.names[frame]}")
        return Cell(self._renderer.draw(self._scene, RenderOptions(layer="RGB"), camera.resized(width, height)).image)

    def heat_cell(self, result: PhraseResult, camera: Cameras) -> Cell:
        """Heat map of the scores over the darkened render, with legend and threshold."""
        cut = result.cut
        how = {"floor": "default", "best": "best 1 %", "given": "given"}.get(cut.method, "between two groups")
        heat = Heat(
            result.scores, self._scene, self._state.step, cut.low, cut.high, f"selected above {cut.value:.2f} ({how})"
        )
        image = self._renderer.draw(
            self._scene, RenderOptions(layer="Heat", heat=heat), camera.resized(*self._size(camera))
        )
        return Cell(image.image)

    def selection_cell(self, result: PhraseResult, camera: Cameras) -> Cell:
        """The selection in colour, everything else in dark grey, with a box around each object."""
        gaussians = self._state.gaussians
        assert gaussians is not None
        keep = torch.from_numpy(result.selected).to(gaussians.colors.device)
        grey = _DIM * gaussians.colors.mean(1, keepdim=True).expand(-1, 3)
        painted = replace(gaussians, colors=torch.where(keep[:, None], gaussians.colors, grey))
        small = camera.resized(*self._size(camera))
        seen = self._state.cameras(small)
        splats = rasterize(painted, seen.viewmats, seen.Ks, seen.width, seen.height)
        image = to_image(over_background(splats.color[0], splats.alpha[0]).cpu())
        count = len(result.objects)
        words = f"{count} object{'s' * (count != 1)}" if result.selected.any() else result.verdict
        return Cell(draw_boxes(image, small, result.objects), words)
