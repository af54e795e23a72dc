"""The inspector: pictures per second, time to the first one, and what it costs the training that it watches.

Times are the best of several runs, in brackets the median. On a machine that does other work at the same time both are
pessimistic; the processor time that a picture took, divided by the threads, then is the fairer figure.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from ..app.inspector import Inspector, LiveSource, SplatsSource
from ..app.inspector.renderer import Look, Renderer
from ..core.augment import NO_AUGMENT
from ..core.cameras import Cameras, intrinsics, look_at
from ..core.config import to_dict
from ..core.datasets.rooms import Rooms, RoomsConfig
from ..core.errors import InputError
from ..core.gaussians import Gaussians
from ..core.io import write_gaussians
from ..core.live import LiveFeed, Snapshot
from ..trainers.data import PretrainData
from ..trainers.presets import TINY
from ..trainers.pretrain import Pretrainer
from ._browser import BlindBrowser
from ._data import RandomTeacher
from ._machine import environment, markdown, write_report

SMALL, LARGE = (480, 360), (1280, 960)
LOOKS = (
    Look(),
    Look(layer="Depth"),
    Look(layer="Features"),
    Look(layer="Opacity"),
    Look(mix="Split"),
    Look(mix="Blend"),
)

_VIEW = "import sys; from gaussiancross.app.cli import main; sys.exit(main())"
"""The command, started by this interpreter whatever the PATH."""


@dataclass(frozen=True)
class Viewer:
    """A furnished room as Gaussians, orbited; the tiny training, watched."""

    gaussians: int = 100_000
    """In the room that is orbited."""
    ply: int = 300_000
    """In the PLY that `gaussiancross view` opens."""
    threads: int = 2
    """Cores to use."""
    pictures: int = 24
    """Pictures per size and layer."""
    steps: int = 30
    """Training steps per condition; 0 leaves this part out."""
    share: float = 0.3
    """What the orbiting browser may take of the training's time."""
    browser: bool = True
    """Measure in Chromium too (environment variable CHROMIUM, or /usr/bin/chromium)."""
    out: Path = Path("bench")
    """Folder for viewer.json and viewer.md."""


def main() -> int:
    given = tyro.cli(Viewer)
    torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows: list[tuple[str, str]] = []
    report: dict = {"environment": environment(device)}

    def add(name: str, value: float, shown: str) -> None:
        rows.append((name, shown))
        report[name] = value
        print(f"{name:<64} {shown}", flush=True)

    room = room_of_gaussians(given.gaussians)
    _draw(room, given, device, add)
    _page(room, given, add)
    _command(given, add)
    if given.steps:
        _training(given, add)
    write_report(given.out, "viewer", report, markdown(("viewer", str(device)), rows))
    return 0


Add = Callable[[str, float, str], None]


def room_of_gaussians(count: int) -> Gaussians:
    """The points of one built-in room as Gaussians of 1 to 4 cm, opacity 0.3 to 1, with 32 features."""
    scene = Rooms("val", 1, RoomsConfig(points=100_000)).scene(0)
    rng = np.random.default_rng(0)
    pick = rng.choice(len(scene), count, replace=count > len(scene))
    coord = scene.coord[pick] + rng.normal(0, 0.004, (count, 3))
    spacing = 0.02 * (100_000 / count) ** 0.5
    mixing = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    colors = torch.from_numpy(scene.color[pick]).float() / 255
    known = torch.cat([torch.from_numpy(coord).float(), colors, torch.from_numpy(scene.normal[pick])], 1)
    return Gaussians(
        torch.from_numpy(coord).float(),
        torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(count, 4))).float(), dim=1),
        torch.from_numpy(spacing * np.exp(rng.normal(0, 0.4, (count, 3)))).float(),
        torch.from_numpy(rng.uniform(0.3, 1.0, count)).float(),
        colors,
        known @ mixing,
    )


def _orbit(gaussians: Gaussians, count: int, width: int, height: int) -> list[Cameras]:
    center = gaussians.means.median(0).values
    cameras = []
    for i in range(count):
        angle = torch.tensor(0.3 * i)
        eye = center + 1.5 * torch.stack([angle.cos(), angle.sin(), torch.tensor(0.3)])
        cameras.append(Cameras(look_at(eye, center)[None], intrinsics(1.2, width, height)[None], width, height))
    return cameras


def _draw(room: Gaussians, given: Viewer, device: torch.device, add: Add) -> None:
    """`Renderer.draw` and the JPEG of it, every picture from another camera."""
    renderer = Renderer(SplatsSource(room, device=device))
    renderer.load(0)
    for look in LOOKS:
        for size, quality in ((SMALL, 75), (LARGE, 90)):
            seconds, worked = [], []
            for i, cameras in enumerate(_orbit(room, given.pictures + 2, *size)):
                started, busy = time.perf_counter(), time.process_time()
                picture = renderer.draw(0, look, cameras).image
                Image.fromarray(picture).save(io.BytesIO(), "JPEG", quality=quality)
                if i >= 2:  # the first ones compile and fit colours
                    seconds.append(time.perf_counter() - started)
                    worked.append((time.process_time() - busy) / given.threads)
            best, median = min(seconds), statistics.median(seconds)
            name = look.layer if look.mix == "Off" else f"{look.mix} {look.layer} beside {look.second}"
            shown = (
                f"{1e3 * best:.0f} ms ({1e3 * median:.0f}), {1 / best:.1f} per second ({1 / median:.1f}),"
                f" processor {1e3 * statistics.median(worked):.0f} ms"
            )
            add(f"{len(room):,} Gaussians, {size[0]} x {size[1]}, {name}", median, shown)


def _page(room: Gaussians, given: Viewer, add: Add) -> None:
    """A page that is already served: from connecting to the first picture, and pictures while orbiting."""
    center = room.means.median(0).values.numpy()
    with Inspector(SplatsSource(room), port=0) as inspector:
        first = []
        for _ in range(3):
            started = time.perf_counter()
            with BlindBrowser(inspector.url, center) as browser:
                browser.wait(1)
                first.append(browser.pictures[0] - started)
                browser.orbiting = True
                time.sleep(2.0)  # the size of pictures adapts
                before, since = len(browser.pictures), time.perf_counter()
                time.sleep(4.0)
                rate = (len(browser.pictures) - before) / (time.perf_counter() - since)
        add("connecting to first picture", min(first), f"{min(first):.2f} s ({statistics.median(first):.2f})")
        add("pictures per second while orbiting", rate, f"{rate:.1f}, {inspector.pace.width} pixels wide")
        if given.browser and (seconds := _chromium(inspector.url)):
            shown = f"{min(seconds):.2f} s ({statistics.median(seconds):.2f})"
            add("page to first image in Chromium, software WebGL", min(seconds), shown)


def _chromium(url: str, runs: int = 3) -> list[float]:
    """Seconds from navigating to a canvas that shows something; empty without a browser."""
    path = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return []
    if not path.exists():
        return []
    seconds = []
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=str(path), args=flags)
        for _ in range(runs):
            page = chromium.new_page(viewport={"width": 1000, "height": 600})
            started = time.perf_counter()
            page.goto(url, wait_until="commit")
            clip = {"x": 60, "y": 200, "width": 200, "height": 200}
            while time.perf_counter() - started < 60:
                with contextlib.suppress(Error):  # a page that has not drawn yet cannot be looked at
                    shot = Image.open(io.BytesIO(page.screenshot(clip=clip)))  # type: ignore[arg-type]
                    if np.asarray(shot.convert("L")).std() > 8:
                        break
            seconds.append(time.perf_counter() - started)
            page.close()
        chromium.close()
    return seconds


def _command(given: Viewer, add: Add) -> None:
    """`gaussiancross view x.ply` in a new process, until a browser has a picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "room.ply"
        room = room_of_gaussians(given.ply)
        write_gaussians(path, replace(room, features=None))
        center, seconds = room.means.median(0).values.numpy(), []
        command = [sys.executable, "-u", "-c", _VIEW, "view", str(path), "--port", "0"]
        for _ in range(3):
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                assert process.stdout is not None
                line = next((line for line in process.stdout if line.startswith("Inspector: ")), None)
                if line is None:
                    raise InputError(" ".join(command), "a page", f"exit code {process.wait()}")
                with BlindBrowser(line.removeprefix("Inspector: ").strip(), center) as browser:
                    browser.wait(1)
                    seconds.append(browser.pictures[0] - started)
            finally:
                process.terminate()
                process.wait(20)
        shown = f"{min(seconds):.2f} s ({statistics.median(seconds):.2f})"
        add(f"gaussiancross view, PLY of {given.ply:,} Gaussians, to first picture", min(seconds), shown)


def _training(given: Viewer, add: Add) -> None:
    """Steps of the tiny training: alone, watched by an idle browser, and by one that orbits. Taken in turns, so that
    whatever else the machine does meets all of them."""
    with tempfile.TemporaryDirectory() as folder:
        model = replace(TINY.model, input=replace(TINY.model.input, max_points=30_000))
        config = replace(TINY, model=model, data=replace(TINY.data, data="rooms:1", augment=NO_AUGMENT))
        data = PretrainData(config.data, model.input, config.seed, teacher=RandomTeacher(32, (15, 20)))
        trainer = Pretrainer(config, Path(folder), data, "cpu")
        feed = LiveFeed(config={"model": to_dict(trainer.config.model)})
        batches = [data.batch(step) for step in range(4)]

        def steps(count: int) -> list[float]:
            seconds = []
            for i in range(count):
                started = time.perf_counter()
                trainer.train_step(batches[i % 4])
                if feed.wants_snapshot.is_set():
                    weights = {k: v.detach().cpu().clone() for k, v in trainer.model.state_dict().items()}
                    feed.publish(Snapshot(trainer.step, weights))
                seconds.append(time.perf_counter() - started)
            return seconds

        steps(3)
        feed.wants_snapshot.set()
        steps(1)
        source = LiveSource(feed, data.train)
        center = np.median(data.train.scene(0).coord, axis=0)
        found: dict[str, list[float]] = {"alone": [], "idle": [], "following": [], "orbiting": []}
        with Inspector(source, port=0, feed=feed, share=given.share) as inspector:
            rounds = max(1, given.steps // 6)
            for _ in range(rounds):
                found["alone"] += steps(6)
                with BlindBrowser(inspector.url, center, 1.5) as browser:
                    browser.wait(1)
                    session = inspector.sessions[0]
                    time.sleep(1.0)  # first pictures are drawn before anything is counted
                    session.change(follow=False)
                    steps(2)
                    found["idle"] += steps(6)
                    session.change(follow=True)
                    steps(2)
                    found["following"] += steps(6)
                    browser.orbiting = True
                    steps(2)
                    found["orbiting"] += steps(6)
        alone = found.pop("alone")
        add(
            "training step, nobody looks",
            statistics.median(alone),
            f"{min(alone):.3f} s ({statistics.median(alone):.3f})",
        )
        for name, seconds in found.items():
            slower = statistics.median(seconds) / statistics.median(alone) - 1
            shown = f"{100 * (min(seconds) / min(alone) - 1):+.1f} % ({100 * slower:+.1f})"
            add(f"training step, browser {name}", slower, shown)
