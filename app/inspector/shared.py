"""State that all browsers of one inspector share: sources, render thread, time budget, curves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.device import default_device
from ...core.query import TextEncoder
from ...trainers.engine.live import LiveFeed
from ..render.colors import BACKGROUND
from ..render.compare import Comparison
from ..render.renderer import Renderer
from ..scenes.source import SceneSource
from ..scenes.timeline import TimelineSource
from .worker import RenderWorker

if TYPE_CHECKING:
    from ..objects.recognizer import ObjectRecognizer

Series = dict[str, list[tuple[int, float]]]
"""Metric name → [(step, value), …]."""

SERIES_EVERY = 1.0
"""Seconds for which one copy of the curves serves all browsers."""


MOVING = 1 / 30
"""Seconds that rendering one image may take while the camera moves."""


class AdaptiveResolution:
    """Image width while the camera moves: as wide as can be rendered in `MOVING` seconds.

    Attributes:
        width: pixels.
    """

    def __init__(self, width: int = 480, low: int = 200, high: int = 1280) -> None:
        self.width, self._low, self._high = width, low, high

    def measured(self, seconds: float) -> None:
        """Adapt to an image that took ``seconds``."""
        if seconds > 1.3 * MOVING:
            self.width = max(self._low, int(self.width * 0.8))
        elif seconds < 0.6 * MOVING:
            self.width = min(self._high, int(self.width * 1.15))


class Shared:
    """State shared by all browsers; arguments as in `Inspector`.

    Attributes:
        renderer: renderer of ``source``; browsers of a time line have forks of it.
        worker: the render thread.
        resolution: image width while a camera moves.
        redraw: redraws every browser; set by `Inspector`.
    """

    def __init__(
        self,
        source: SceneSource,
        worker: RenderWorker,
        feed: LiveFeed | None = None,
        share: float = 0.3,
        max_width: int | None = None,
        max_points: int = 400_000,
        text: TextEncoder | None = None,
        other: SceneSource | None = None,
        tour: bool = False,
        metrics: Path | None = None,
        recognizer: ObjectRecognizer | None = None,
    ) -> None:
        self.source, self.worker, self.feed, self.metrics = source, worker, feed, metrics
        self.renderer = Renderer(source)
        self.text, self.recognizer, self.tour = text, recognizer, tour
        self.max_width = max_width or (1920 if default_device().type == "cuda" else 1280)
        self.max_points = max_points
        self.resolution = AdaptiveResolution()
        self.blank = np.full((8, 8, 3), [round(255 * c) for c in BACKGROUND], np.uint8)
        self.redraw: Callable[[], None] = lambda: None
        self._other, self._share = other, share
        self._lock = threading.Lock()
        self._series: Series = {}
        self._series_at = -SERIES_EVERY
        self._metrics_stamp = 0
        self.apply_share()

    @property
    def share(self) -> float:
        """Share of wall-clock time that rendering may take while a training runs, for all browsers together."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        self._share = min(1.0, max(0.01, share))
        self.apply_share()

    def apply_share(self) -> None:
        """Limit the render thread while a training runs; without one, rendering may take all the time."""
        training = self.feed is not None and not self.feed.paused
        self.worker.share = self._share if training else 1.0

    def series(self) -> Series:
        """The curves, at most `SERIES_EVERY` seconds old."""
        with self._lock:
            if time.monotonic() - self._series_at >= SERIES_EVERY:
                self._series_at = time.monotonic()
                if self.feed is not None:
                    self._series = self.feed.series()
                elif self.metrics is not None and self.metrics.is_file():
                    stamp = self.metrics.stat().st_mtime_ns
                    if stamp != self._metrics_stamp:  # another process may still be training
                        self._series, self._metrics_stamp = read_series(self.metrics), stamp
            return self._series

    def open_view(self) -> tuple[SceneSource, Renderer, Comparison | None]:
        """Source, renderer and comparison of one browser.

        Where there is a time line, the browser gets a position of its own in it. Encoded states and colour mappings
        are shared by all.
        """
        source, renderer, other = self.source, self.renderer, self._other
        if isinstance(source, TimelineSource):
            source = source.twin(source.position)
            renderer = renderer.fork(source)
            other = source.twin(None) if other is None else other
        if isinstance(self._other, TimelineSource):
            other = self._other.twin(self._other.position)
        return source, renderer, None if other is None else Comparison(renderer, other)


def read_series(path: Path) -> Series:
    """Read the curves of a ``metrics.jsonl``."""
    from ...trainers.engine.log import read_metrics

    series: Series = {}
    for row in read_metrics(path):
        for name, value in row.items():
            if name != "step" and isinstance(value, (int, float)):
                series.setdefault(name, []).append((int(row["step"]), float(value)))
    return series
