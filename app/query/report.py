"""What a question found, as pictures and files: heat maps beside the scene, the selection on its own, labels, JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageDraw

from ...core.data.scene import PointScene
from ...core.geometry.cameras import Cameras, intrinsics, look_at
from ...core.io import write_gaussians, write_points
from ...core.io.ply_table import read_vertices, write_vertices
from ...core.query import Cut, PhraseAnswer, QueryObject
from ...core.splat import rasterize
from ..render.colors import Image, over_background, to_image
from ..render.draw import Cell, sheet
from ..render.options import RenderOptions
from ..render.renderer import Renderer
from ..render.scores import Heat
from ..scenes.geometry import bounds, guess_up, world_gaussians, z_up_to
from ..scenes.source import SceneState

CANDIDATES = 40
"""Views among which those that show the most of what was found are chosen."""

_LOOK_FOR = (80, 60)
"""Pictures in which that is decided, pixels."""

_DIM = 0.22
"""Brightness of what is not selected."""

_PALETTE = ((255, 209, 92), (102, 204, 255), (255, 130, 170), (140, 230, 140), (200, 160, 255), (255, 165, 95))


@dataclass(frozen=True)
class PhraseResult:
    """One phrase that could be asked, and what it found.

    Attributes:
        answer: presence and meaning.
        scores: [N] float32.
        cut: the automatic threshold, or the one that was given.
        selected: [N] bool; empty where the phrase is not in the scene.
        objects: connected groups of the selection, world, metres.
    """

    answer: PhraseAnswer
    scores: torch.Tensor
    cut: Cut
    selected: NDArray[np.bool_]
    objects: Sequence[QueryObject]

    @property
    def verdict(self) -> str:
        """ "found 0.83" or "not here 0.41", by its peak relevancy."""
        presence = self.answer.presence
        assert presence is not None
        return f"{'found' if presence.present else 'not in this scene'}: {presence.score:.2f}, cut {presence.cut:.2f}"

    def about(self) -> dict[str, Any]:
        """For a JSON file."""
        presence = self.answer.presence
        assert presence is not None
        shown = [_object(o) for o in self.objects]
        return {
            "phrase": self.answer.phrase,
            "meant": self.answer.canonical,
            "known": True,
            "present": presence.present,
            "score": round(presence.score, 4),
            "presence_cut": round(presence.cut, 4),
            "threshold": round(self.cut.value, 4),
            "threshold_method": self.cut.method,
            "selected": int(self.selected.sum()),
            "share": round(float(self.selected.mean()), 6),
            "objects": shown,
        }


def _object(o: QueryObject) -> dict[str, Any]:
    def three(values: NDArray) -> list[float]:
        return [round(float(v), 4) for v in values]

    return {
        "box_min": three(o.box_min),
        "box_max": three(o.box_max),
        "size": three(o.box_max - o.box_min),
        "centroid": three(o.centroid),
        "count": o.size,
        "score_mean": round(o.score_mean, 4),
        "score_max": round(o.score_max, 4),
    }


# --- where to look from -------------------------------------------------------------------------------------------


def candidates(state: SceneState, most: int = CANDIDATES) -> list[tuple[Cameras, int | None]]:
    """World cameras, one each, and the frame that it belongs to: the scene's own frames, else views of all of it."""
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
    """The views that show the most of what has weight [N], each one showing what those before it do not.

    What a view shows is splatted, so what is hidden does not count. How much of one Gaussian is seen is the square
    root of its pixels: two views of two objects beat two close-ups of one.
    """
    assert state.gaussians is not None
    found = torch.nonzero(weight > 0)[:, 0]
    views = candidates(state)
    if len(found) == 0:
        return views[:: max(1, len(views) // count)][:count]
    # Features of groups of neighbours would say what is new; position does it as well, in cells of half a metre.
    means = world_gaussians(state).means[found]
    cell = torch.unique((means / 0.5).floor().long(), dim=0, return_inverse=True)[1]
    groups = min(32, int(cell.max()) + 1)
    channels = torch.zeros(len(state.gaussians), groups)
    channels[found, cell % groups] = weight[found].float().clamp(0, 1)
    painted = replace(state.gaussians, features=channels.to(state.gaussians.means))
    seen = []
    for camera, _ in views:
        small = state.cameras(camera.resized(*_LOOK_FOR))
        splats = rasterize(painted, small.viewmats, small.Ks, *_LOOK_FOR)
        assert splats.features is not None
        seen.append(splats.features[0].sum((0, 1)).sqrt().cpu())
    table, chosen, covered = torch.stack(seen), [], torch.zeros(groups)
    for _ in range(min(count, len(views))):
        gain = (torch.maximum(table, covered) - covered).sum(1) + 0.05 * table.sum(1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        covered = torch.maximum(covered, table[chosen[-1]])
    return [views[i] for i in chosen]


# --- pictures -----------------------------------------------------------------------------------------------------


class AnswerPictures:
    """Draws findings in one scene.

    Args:
        renderer: with the scene loaded. scene: its index.
        width: of one picture, pixels.
        label: what the scores are.
    """

    def __init__(self, renderer: Renderer, scene: int, width: int, label: str) -> None:
        state = renderer.state(scene)
        assert state is not None and state.gaussians is not None
        self._renderer, self._scene, self._state = renderer, scene, state
        self._width, self._label = width, label

    def best(self, finding: PhraseResult, count: int) -> list[tuple[Cameras, int | None]]:
        """The views that show the most of a finding, or of the best scores where nothing is selected."""
        weight = torch.from_numpy(finding.selected).float()
        if not finding.selected.any():
            weight = (finding.scores >= finding.scores.topk(min(200, len(finding.scores))).values[-1]).float()
        return best_views(self._state, weight, count)

    def rows(self, finding: PhraseResult, count: int) -> list[list[Cell]]:
        """[count][3]: the scene, the heat map, the selection; from the best views."""
        return [
            [self.scene_cell(camera, frame), self.heat_cell(finding, camera), self.selection_cell(finding, camera)]
            for camera, frame in self.best(finding, count)
        ]

    def phrase(self, finding: PhraseResult, count: int) -> Image:
        """A sheet of one phrase."""
        rows = self.rows(finding, count)
        return self._sheet(rows, ["scene", self._title(finding), "selected"], [""] * len(rows))

    def page(self, findings: Sequence[PhraseResult]) -> Image:
        """A sheet with one row per phrase."""
        rows = [self.rows(f, 1)[0] for f in findings]
        return self._sheet(rows, ["scene", self._label, "selected"], [f.answer.phrase for f in findings])

    def _title(self, finding: PhraseResult) -> str:
        return f"{finding.answer.phrase}: {finding.verdict}"

    def _sheet(self, rows: list[list[Cell]], columns: list[str], names: list[str]) -> Image:
        aspect = rows[0][0].image.shape[1] / rows[0][0].image.shape[0]  # type: ignore[union-attr]
        return sheet(rows, columns, names, 3 * self._width + 60, aspect, text=max(13, self._width // 36))

    def _size(self, camera: Cameras) -> tuple[int, int]:
        return self._width, max(16, round(self._width * camera.height / camera.width))

    def scene_cell(self, camera: Cameras, frame: int | None) -> Cell:
        """What the frame recorded, or a render."""
        width, height = self._size(camera)
        if frame is not None and self._state.frames is not None:
            color = self._state.frames.read(frame, width, height).color
            return Cell((color * 255 + 0.5).astype(np.uint8), f"frame {self._state.frames.names[frame]}")
        return Cell(self._renderer.draw(self._scene, RenderOptions(layer="RGB"), camera.resized(width, height)).image)

    def heat_cell(self, finding: PhraseResult, camera: Cameras) -> Cell:
        """Scores splatted as one channel, over the darkened render, with legend and threshold."""
        cut = finding.cut
        how = {"floor": "default", "best": "best 1 %", "given": "given"}.get(cut.method, "between two groups")
        heat = Heat(
            finding.scores, self._scene, self._state.step, cut.low, cut.high, f"selected above {cut.value:.2f} ({how})"
        )
        image = self._renderer.draw(
            self._scene, RenderOptions(layer="Heat", heat=heat), camera.resized(*self._size(camera))
        )
        return Cell(image.image)

    def selection_cell(self, finding: PhraseResult, camera: Cameras) -> Cell:
        """The selection in its colours, the rest in dark grey, boxes around the objects."""
        gaussians = self._state.gaussians
        assert gaussians is not None
        keep = torch.from_numpy(finding.selected).to(gaussians.colors.device)
        grey = _DIM * gaussians.colors.mean(1, keepdim=True).expand(-1, 3)
        painted = replace(gaussians, colors=torch.where(keep[:, None], gaussians.colors, grey))
        small = camera.resized(*self._size(camera))
        seen = self._state.cameras(small)
        splats = rasterize(painted, seen.viewmats, seen.Ks, seen.width, seen.height)
        image = to_image(over_background(splats.color[0], splats.alpha[0]).cpu())
        count = len(finding.objects)
        words = f"{count} object{'s' * (count != 1)}" if finding.selected.any() else finding.verdict
        return Cell(boxes(image, small, finding.objects), words)


def boxes(image: Image, camera: Cameras, objects: Sequence[QueryObject], most: int = 8) -> Image:
    """The image with the edges of the largest objects' boxes; edges that pass behind the camera are left out."""
    canvas = Pil.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for i, o in enumerate(objects[:most]):
        corners = np.stack([np.where([c >> k & 1 for k in range(3)], o.box_max, o.box_min) for c in range(8)])
        uv, z = camera.project(torch.from_numpy(corners).float())
        at, deep = uv[0].numpy(), z[0].numpy()
        for a in range(8):
            for k in range(3):
                b = a | (1 << k)
                if a != b and deep[a] > 0.05 and deep[b] > 0.05:
                    draw.line((*at[a].tolist(), *at[b].tolist()), fill=(*_PALETTE[i % len(_PALETTE)], 255), width=2)
    return np.asarray(canvas)


# --- files --------------------------------------------------------------------------------------------------------


def write_selection(path: Path, state: SceneState, selected: NDArray[np.bool_], table: NDArray | None) -> None:
    """Write the selection as a PLY.

    Args:
        selected: [N] bool, of the Gaussians; of the points where each point has one Gaussian or there are points alone.
        table: [N] vertices of the PLY that the Gaussians came from, to write its rows as they are; None to write
            ``state``'s points or Gaussians (world, metres).
    """
    if table is not None:
        write_vertices(path, {n: table[n][selected] for n in table.dtype.names or ()})
    elif (points := _points_of_rows(state)) is not None:
        write_points(path, points[selected])
    else:
        write_gaussians(path, world_gaussians(state)[torch.from_numpy(selected)])


def write_labels(path: Path, state: SceneState, labels: NDArray[np.int64], table: NDArray | None) -> None:
    """Write all Gaussians or points as a PLY, in their order, with ``label`` = the number of the phrase, −1 for none.

    Args:
        labels: [N] int64, one per row; the rows and ``table`` as in `write_selection`.
    """
    if table is not None:
        columns = {n: table[n] for n in table.dtype.names or () if n != "label"}
        write_vertices(path, {**columns, "label": labels.astype("<i4")})
    elif (points := _points_of_rows(state)) is not None:
        write_points(path, replace(points, segment=labels))
    else:
        write_gaussians(path, world_gaussians(state), labels)


def _points_of_rows(state: SceneState) -> PointScene | None:
    """The scene's points where row i of a selection is point i; None where it is Gaussian i and nothing else.

    A model predicts Gaussians from points, and their numbers differ or agree by chance: lengths decide nothing.
    """
    return state.points if state.gaussians is None or state.gaussian_per_point else None


def original_rows(path: Path, count: int) -> NDArray | None:
    """The vertex table of a splat PLY, if each of its rows became one of the ``count`` Gaussians (spherical harmonics
    and everything else that we do not use then stay in the files that we write); None where rows were dropped."""
    table = read_vertices(path)
    if len(table) != count:
        return None
    names = table.dtype.names or ()
    return table.astype([(n, "<f4" if table.dtype[n] == np.float64 else table.dtype[n]) for n in names])
