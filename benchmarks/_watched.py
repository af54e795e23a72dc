"""Cost of a connected browser for a training: longer steps, and processor time of the viewer's threads."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..app.inspector import Inspector, LiveSource
from ..core.config import to_dict
from ..core.data.augment import NO_AUGMENT
from ..trainers.engine.live import LiveFeed, Snapshot
from ..trainers.pretraining.data import PretrainData
from ..trainers.pretraining.presets import TINY
from ..trainers.pretraining.trainer import Pretrainer
from ._browser import BrowserElsewhere, wait_until
from ._data import RandomTeacher

BLOCK = 4
"""Consecutive steps under one condition."""

SETTLED = 1.0
"""Seconds without rendering after which a browser counts as idle."""


@dataclass
class Phase:
    """Measurements under one condition, in seconds.

    Attributes:
        seconds: duration of each step.
        wall: duration of all steps.
        own: processor time of the viewer's threads meanwhile; 0 if the system does not report it.
        training: processor time of all other threads.
        drawn: rendering time charged to the viewer's share.
    """

    seconds: list[float] = field(default_factory=list)
    wall: float = 0.0
    own: float = 0.0
    training: float = 0.0
    drawn: float = 0.0

    def slower(self, than: Phase) -> tuple[float, float]:
        """Return the relative increase of step time, of the best and of the median step."""
        best, median = (f(self.seconds) / f(than.seconds) - 1 for f in (min, statistics.median))
        return best, median


def watched_training(
    steps: int, share: float, page: Callable[[str], AbstractContextManager[object]] | None
) -> dict[str, Phase]:
    """Time steps of the tiny training under several conditions, interleaved so that other load affects all equally.

    "alone": no browser. "idle": a browser without movement or updates. "following": it shows new weights. "orbiting":
    its camera moves, too. These browsers draw nothing, so they measure the server alone. "page": idle, in a real
    browser on the same cores.

    Args:
        steps: steps per condition, rounded up to whole blocks.
        share: share of the time that rendering may take.
        page: opens an address in a real browser; None omits "page".
    """
    with tempfile.TemporaryDirectory() as folder:
        step, feed, data = _training(Path(folder))
        phases = {name: Phase() for name in ("alone", "idle", "following", "orbiting", "page")}
        of_training = set(_processor_times())  # threads that exist before the viewer
        center = np.median(data.train.scene(0).coord, axis=0)
        with Inspector(LiveSource(feed, data.train), port=0, feed=feed, share=share) as inspector:

            def take(name: str) -> None:
                for _ in range(2):
                    step()
                phase, before, drawn = phases[name], _processor_times(), inspector.worker.spent
                phase.seconds += (taken := [step() for _ in range(BLOCK)])
                phase.wall += sum(taken)
                phase.drawn += inspector.worker.spent - drawn
                shared = of_training | {t.native_id for t in threading.enumerate() if t.name.startswith("sparse")}
                for thread, seconds in _processor_times().items():
                    if thread in shared:
                        phase.training += seconds - before.get(thread, 0.0)
                    else:
                        phase.own += seconds - before.get(thread, 0.0)

            def take_idle(name: str) -> None:
                wait_until(lambda: inspector.sessions)
                inspector.sessions[0].change(follow=False)
                _settle(inspector)
                take(name)

            for _ in range(-(-steps // BLOCK)):
                wait_until(lambda: not inspector.sessions)
                take("alone")
                with BrowserElsewhere(inspector.url, center, 1.5) as browser:
                    take_idle("idle")
                    inspector.sessions[0].change(follow=True)
                    take("following")
                    browser.orbit()
                    take("orbiting")
                if page is not None:
                    wait_until(lambda: not inspector.sessions)
                    with page(inspector.url):
                        take_idle("page")
    return {name: phase for name, phase in phases.items() if phase.seconds}


def _training(folder: Path) -> tuple[Callable[[], float], LiveFeed, PretrainData]:
    """Return a function that takes one step and returns its seconds, the feed that it publishes to, and the scenes."""
    model = replace(TINY.model, input=replace(TINY.model.input, max_points=30_000))
    config = replace(TINY, model=model, data=replace(TINY.data, data="rooms:1", augment=NO_AUGMENT))
    data = PretrainData(config.data, model.input, config.seed, teacher=RandomTeacher(32, (15, 20)))
    trainer = Pretrainer(config, folder, data, "cpu")
    feed = LiveFeed(config={"model": to_dict(trainer.config.model)})
    batches = [data.batch(number) for number in range(4)]

    def step() -> float:
        begun = time.perf_counter()
        trainer.train_step(batches[trainer.step % len(batches)])
        if feed.wants_snapshot.is_set():
            weights = {k: v.detach().cpu().clone() for k, v in trainer.model.state_dict().items()}
            feed.publish(Snapshot(trainer.step, weights))
        seconds = time.perf_counter() - begun
        feed.log(trainer.step, {"loss/total": 1 / trainer.step, "its_per_s": 1 / seconds})
        return seconds

    for _ in range(3):  # compiles
        step()
    feed.wants_snapshot.set()
    step()
    return step, feed, data


def _settle(inspector: Inspector) -> None:
    """Wait until the viewer has rendered everything and stays idle."""
    spent, since = inspector.worker.spent, time.monotonic()
    while time.monotonic() - since < SETTLED:
        time.sleep(0.05)
        if inspector.worker.waiting or inspector.worker.spent - spent > 0.02:  # more than the periodic update takes
            spent, since = inspector.worker.spent, time.monotonic()


def _processor_times() -> dict[int, float]:
    """Return the processor seconds of each thread of this process by id; empty if the system does not report them."""
    times = {}
    folder = Path("/proc/self/task")
    for thread in os.listdir(folder) if folder.is_dir() else ():
        try:
            times[int(thread)] = int((folder / thread / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, ValueError, IndexError):  # the thread has just ended
            continue
    return times
