"""Time from a click or a text query to the heat map in the inspector, on the CPU.

Timed from the browser's message to the image sent back: pick, scores, range and threshold, first render (at the size
used while the camera moves), JPEG; without browser and network. "first" is the first query in a scene, "then" the best
of several later ones. In brackets the processor time per thread, more reliable on a shared machine.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import torch
from PIL import Image

from ..app.query.picking import CLOSE, pick, pick_scores, prepare
from ..app.query.search import Query, QueryableFeatures, QueryResult, ask, objects, words_for
from ..app.render.options import RenderOptions
from ..app.render.renderer import Renderer
from ..app.render.scores import Heat
from ..app.scenes.source import SceneState
from ..core.geometry.cameras import Cameras, intrinsics, look_at
from ..core.geometry.gaussians import Gaussians
from ._machine import environment

Parts = dict[str, tuple[float, float]]
"""Part → (wall-clock, processor) seconds."""

WIDTH, HEIGHT = 480, 360
CLASSES = ("wall", "floor", "ceiling", "sofa", "table", "lamp", "curtain", "window", "door", "chair", "bed", "shelf")


class _StaticSource:
    """Scene source with one fixed state."""

    title, scene_names, class_names = "benchmark", ("room",), ()

    def __init__(self, state: SceneState) -> None:
        self._state = state

    def step(self) -> int | None:
        return None

    def load(self, index: int) -> SceneState:
        return self._state

    def teacher_features(self, index: int, frame: int) -> None:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--repeats", type=int, default=9, help="runs of each measurement")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(", ".join(f"{k} {v}" for k, v in environment(torch.device("cpu")).items()))
    measure_pick(300_000, 32, args.repeats)
    measure_query(100_000, args.repeats)
    return 0


def measure_pick(count: int, dim: int, repeats: int) -> float:
    """Print the parts of a pick among ``count`` Gaussians with ``dim`` features; return the best total, seconds."""
    cameras = room_camera()
    _warm(lambda: _pick_once(room(5000, dim), cameras))
    state, clock = room(count, dim), _Clock()
    prepare(state)
    clock.lap("features packed")
    renderer, parts = _pick_once(state, cameras)
    print(f"\npick among {count:,} Gaussians with {dim} features, first picture {WIDTH} × {HEIGHT}")
    print(f"  ready: {_told(clock.parts)} (when the scene is loaded)")
    print(f"  first: {_told(parts)}")
    best = min((_pick_once(state, cameras, renderer)[1] for _ in range(repeats)), key=_total)
    print(f"  then:  {_told(best)}")
    return _total(best)[0]


def measure_query(count: int, repeats: int) -> float:
    """Print the parts of a query of ``count`` Gaussians with class channels; return the first total, seconds."""
    cameras = room_camera()
    _warm(lambda: _ask_once(room(5000, len(CLASSES)), cameras))
    renderer, parts = _ask_once(room(count, len(CLASSES)), cameras)
    print(f"\nquery of two words in {count:,} Gaussians with {len(CLASSES)} class channels")
    print(f"  first: {_told(parts)}")
    state = renderer.load(0)
    best = min((_ask_once(state, cameras, renderer)[1] for _ in range(repeats)), key=_total)
    print(f"  then:  {_told(best)}")
    return _total(parts)[0]


def room(count: int, dim: int) -> SceneState:
    """Create random Gaussians on the walls of a room, with noisy features: on wall k, channel k is high."""
    rng = torch.Generator().manual_seed(0)
    coord = torch.rand(count, 3, generator=rng) * torch.tensor([6.0, 5.0, 2.8])
    axis, side = torch.randint(3, (count,), generator=rng), torch.randint(2, (count,), generator=rng)
    coord[torch.arange(count), axis] = side * torch.tensor([6.0, 5.0, 2.8])[axis]
    features = torch.randn(count, dim, generator=rng) - 3
    features[torch.arange(count), 2 * axis + side] += 8
    gaussians = Gaussians(
        coord,
        torch.randn(count, 4, generator=rng),
        torch.full((count, 3), 2.0 / count**0.5) * (0.3 + torch.rand(count, 3, generator=rng)),
        torch.rand(count, generator=rng),
        torch.rand(count, 3, generator=rng),
    )
    return SceneState("room", gaussians=gaussians, embeddings=features)


def room_camera() -> Cameras:
    view = look_at(torch.tensor([1.0, 1.0, 1.5]), torch.tensor([6.0, 4.0, 1.2]))
    return Cameras(view[None], intrinsics(1.2, WIDTH, HEIGHT)[None], WIDTH, HEIGHT)


def _pick_once(state: SceneState, cameras: Cameras, renderer: Renderer | None = None) -> tuple[Renderer, Parts]:
    renderer = renderer or _renderer(state)
    clock = _Clock()
    found = pick(state, cameras, WIDTH / 2, HEIGHT / 2)
    clock.lap("pick")
    assert found is not None
    scores = pick_scores(state, [found])
    assert scores is not None
    clock.lap("scores")
    meant = QueryResult.of(scores, state, 0, "cosine", "1 pick", CLOSE)
    clock.lap("threshold")
    _picture(renderer, cameras, meant)
    clock.lap("picture")
    return renderer, clock.parts


def _ask_once(state: SceneState, cameras: Cameras, renderer: Renderer | None = None) -> tuple[Renderer, Parts]:
    renderer = renderer or _renderer(state)
    clock = _Clock()
    words = words_for(state, None, CLASSES)
    assert isinstance(words, QueryableFeatures)
    answer = ask(words, Query(("wall", "floor")))
    assert answer.scores is not None
    clock.lap("words and scores")
    meant = QueryResult.of(answer.scores, state, 0, "relevancy", "wall, floor", 0.5)
    clock.lap("threshold")
    _picture(renderer, cameras, meant)
    clock.lap("picture")
    grouped = objects(state, meant.selected(meant.cut), meant.scores)
    clock.lap(f"objects, after the picture ({len(grouped)})")
    return renderer, clock.parts


def _picture(renderer: Renderer, cameras: Cameras, found: QueryResult) -> None:
    heat = Heat(found.scores, 0, None, found.low, found.high, found.label)
    canvas = renderer.draw(0, RenderOptions(layer="Heat", heat=heat), cameras)
    Image.fromarray(canvas.image).save(io.BytesIO(), "JPEG", quality=75)


def _renderer(state: SceneState) -> Renderer:
    renderer = Renderer(_StaticSource(state))
    renderer.load(0)
    return renderer


class _Clock:
    """Measures wall-clock and processor seconds of consecutive parts."""

    def __init__(self) -> None:
        self.parts: Parts = {}
        self._at = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        now = time.perf_counter(), time.process_time()
        self.parts[name] = now[0] - self._at[0], now[1] - self._at[1]
        self._at = now


def _total(parts: Parts) -> tuple[float, float]:
    """Return (wall-clock, processor) seconds until the image is sent."""
    shown = [v for k, v in parts.items() if not k.startswith("objects")]
    return sum(w for w, _ in shown), sum(p for _, p in shown)


def _warm(function: Callable[[], object]) -> None:
    for _ in range(2):
        function()


def _told(parts: Parts) -> str:
    wall, processor = _total(parts)
    each = ", ".join(f"{name} {w * 1e3:.0f}" for name, (w, _) in parts.items())
    return f"{wall * 1e3:5.0f} ms ({processor / torch.get_num_threads() * 1e3:.0f})  =  {each}"


if __name__ == "__main__":
    raise SystemExit(main())
