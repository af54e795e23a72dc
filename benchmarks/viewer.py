"""Speed of the inspector: images per second, time to the first image, and cost for a watched training.

Times are the best of several runs, in brackets the median. On a shared machine both are pessimistic; the processor time
per thread is more reliable.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import tyro
from PIL import Image

from ..app.inspector import Inspector, SplatsSource
from ..app.render.options import RenderOptions
from ..app.render.renderer import Renderer
from ..core.datasets.rooms import Rooms, RoomsConfig
from ..core.device import default_device
from ..core.errors import RunError
from ..core.geometry.cameras import Cameras, intrinsics, look_at
from ..core.geometry.gaussians import Gaussians
from ..core.io import write_gaussians
from ._browser import BlindBrowser
from ._machine import environment, markdown, write_report
from ._watched import watched_training

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SMALL, LARGE = (480, 360), (1280, 960)
LOOKS = (
    RenderOptions(),
    RenderOptions(layer="Depth"),
    RenderOptions(layer="Features"),
    RenderOptions(layer="Opacity"),
    RenderOptions(mix="Split"),
    RenderOptions(mix="Blend"),
)

_VIEW = "import sys; from gaussiancross.app.cli import main; sys.exit(main())"
"""Program of `gaussiancross`, run by this interpreter independently of PATH."""


@dataclass(frozen=True)
class Viewer:
    """Measure the inspector while orbiting a furnished room of Gaussians, and while watching the tiny training."""

    gaussians: int = 100_000
    """Number of Gaussians of the orbited room."""
    ply: int = 300_000
    """Number of Gaussians in the PLY opened by `gaussiancross view`."""
    threads: int = 2
    """Number of threads."""
    pictures: int = 24
    """Images per size and layer."""
    steps: int = 30
    """Training steps per condition; 0 omits the training."""
    share: float = 0.3
    """Share of the training's time that rendering may take."""
    browser: bool = True
    """Also measure in Chromium (environment variable CHROMIUM, or /usr/bin/chromium)."""
    out: Path = Path("bench")
    """Folder for viewer.json and viewer.md."""


def main() -> int:
    args = tyro.cli(Viewer)
    torch.set_num_threads(args.threads)
    device = default_device()
    rows: list[tuple[str, str]] = []
    report: dict = {"environment": environment(device)}

    def add(name: str, value: float, shown: str) -> None:
        rows.append((name, shown))
        report[name] = value
        print(f"{name:<64} {shown}", flush=True)

    room = room_of_gaussians(args.gaussians)
    _draw(room, args, device, add)
    _page(room, args, add)
    _command(args, add)
    if args.steps:
        _training(args, add)
    write_report(args.out, "viewer", report, markdown(("viewer", str(device)), rows))
    return 0


Add = Callable[[str, float, str], None]


def room_of_gaussians(count: int) -> Gaussians:
    """Convert the points of one built-in room to Gaussians of 1 to 4 cm, opacity 0.3 to 1, with 32 features."""
    scene = Rooms("val", 1, RoomsConfig(points=100_000)).scene(0)
    rng = np.random.default_rng(0)
    pick = rng.choice(len(scene), count, replace=count > len(scene))
    coord = scene.coord[pick] + rng.normal(0, 0.004, (count, 3))
    spacing = 0.02 * (100_000 / count) ** 0.5
    mixing = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    colors = torch.from_numpy(scene.color[pick]).float() / 255
    values = torch.cat([torch.from_numpy(coord).float(), colors, torch.from_numpy(scene.normal[pick])], 1)
    return Gaussians(
        torch.from_numpy(coord).float(),
        torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(count, 4))).float(), dim=1),
        torch.from_numpy(spacing * np.exp(rng.normal(0, 0.4, (count, 3)))).float(),
        torch.from_numpy(rng.uniform(0.3, 1.0, count)).float(),
        colors,
        values @ mixing,
    )


def _orbit(gaussians: Gaussians, count: int, width: int, height: int) -> list[Cameras]:
    center = gaussians.means.median(0).values
    cameras = []
    for i in range(count):
        angle = torch.tensor(0.3 * i)
        eye = center + 1.5 * torch.stack([angle.cos(), angle.sin(), torch.tensor(0.3)])
        cameras.append(Cameras(look_at(eye, center)[None], intrinsics(1.2, width, height)[None], width, height))
    return cameras


def _draw(room: Gaussians, args: Viewer, device: torch.device, add: Add) -> None:
    """Time `Renderer.draw` and JPEG compression, each image from another camera."""
    renderer = Renderer(SplatsSource(room, device=device))
    renderer.load(0)
    for look in LOOKS:
        for size, quality in ((SMALL, 75), (LARGE, 90)):
            seconds, worked = [], []
            for i, cameras in enumerate(_orbit(room, args.pictures + 2, *size)):
                started, busy = time.perf_counter(), time.process_time()
                picture = renderer.draw(0, look, cameras).image
                Image.fromarray(picture).save(io.BytesIO(), "JPEG", quality=quality)
                if i >= 2:  # the first two compile and fit colours
                    seconds.append(time.perf_counter() - started)
                    worked.append((time.process_time() - busy) / args.threads)
            best, median = min(seconds), statistics.median(seconds)
            name = look.layer if look.mix == "Off" else f"{look.mix} {look.layer} beside {look.second}"
            shown = (
                f"{1e3 * best:.0f} ms ({1e3 * median:.0f}), {1 / best:.1f} per second ({1 / median:.1f}),"
                f" processor {1e3 * statistics.median(worked):.0f} ms"
            )
            add(f"{len(room):,} Gaussians, {size[0]} x {size[1]}, {name}", median, shown)


def _page(room: Gaussians, args: Viewer, add: Add) -> None:
    """Time a running inspector: from connecting to the first image, and images per second while orbiting."""
    center = room.means.median(0).values.numpy()
    with Inspector(SplatsSource(room), port=0) as inspector:
        first = []
        for _ in range(3):
            started = time.perf_counter()
            with BlindBrowser(inspector.url, center) as browser:
                browser.wait(1)
                first.append(browser.pictures[0] - started)
                browser.orbiting = True
                time.sleep(2.0)  # until the image size has adapted
                before, since = len(browser.pictures), time.perf_counter()
                time.sleep(4.0)
                rate = (len(browser.pictures) - before) / (time.perf_counter() - since)
        add("connecting to first picture", min(first), f"{min(first):.2f} s ({statistics.median(first):.2f})")
        add("pictures per second while orbiting", rate, f"{rate:.1f}, {inspector.shared.resolution.width} pixels wide")
        seconds = []
        with _chromium() if args.browser else contextlib.nullcontext() as chromium:
            for _ in range(4):
                if chromium is None:
                    break
                started = time.perf_counter()
                with _opened(chromium, inspector.url) as page:
                    _until_seen(page)
                    seconds.append(time.perf_counter() - started)
        if seconds:
            shown = f"{min(seconds):.2f} s ({statistics.median(seconds):.2f})"
            add("page to first image in Chromium, software WebGL", min(seconds), shown)


@contextlib.contextmanager
def _chromium() -> Iterator[Browser | None]:
    """Launch a real browser with software rendering; None if there is none."""
    path = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = Path()
    if not path.is_file():
        yield None
        return
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(path), args=flags)
        yield browser
        browser.close()


@contextlib.contextmanager
def _opened(browser: Browser, url: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1000, "height": 600})
    page.goto(url, wait_until="commit")
    yield page
    page.close()


def _until_seen(page: Page, seconds: float = 60.0) -> None:
    """Wait until the page's canvas shows an image.

    Raises:
        TimeoutError: after ``seconds``.
    """
    from playwright.sync_api import Error

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(Error):  # no screenshot before the first frame
            shot = Image.open(io.BytesIO(page.screenshot(clip={"x": 60, "y": 200, "width": 200, "height": 200})))
            if np.asarray(shot.convert("L")).std() > 8:
                return
    raise TimeoutError(f"no image on the page within {seconds:.0f} s")


def _command(args: Viewer, add: Add) -> None:
    """Time `gaussiancross view x.ply` in a new process until a browser has an image, at the first and at later starts.

    Bytecode goes to an empty folder, so that the first start compiles all modules as after an install; kernels are
    compiled before.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "room.ply"
        room = room_of_gaussians(args.ply)
        write_gaussians(path, replace(room, features=None))
        center, seconds, worked = room.means.median(0).values.numpy(), [], []
        command = [sys.executable, "-u", "-c", _VIEW, "view", str(path), "--port", "0"]
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
        for _ in range(5):
            started = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
            try:
                assert process.stdout is not None
                line = next((line for line in process.stdout if line.startswith("Inspector: ")), None)
                if line is None:
                    raise RunError(
                        f"`{' '.join(command)}` ended with exit code {process.wait()} before it served a page"
                    )
                with BlindBrowser(line.removeprefix("Inspector: ").strip(), center) as browser:
                    browser.wait(1)
                    seconds.append(browser.pictures[0] - started)
                    worked.append(_processor_time(process.pid))
            finally:
                process.terminate()
                process.wait(20)
        name = f"gaussiancross view, PLY of {args.ply:,} Gaussians, to first picture"
        again = seconds[1:]
        shown = f"{min(again):.2f} s ({statistics.median(again):.2f}), processor {min(worked[1:]):.2f} s"
        add(name, min(again), shown)
        add(f"{name}, first start", seconds[0], f"{seconds[0]:.2f} s, processor {worked[0]:.2f} s")


def _processor_time(process: int) -> float:
    """Return the processor seconds of a process so far; NaN if the system does not report them."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return float("nan")


def _training(args: Viewer, add: Add) -> None:
    """Time steps of the tiny training: alone, with simulated browsers (cost of the server), and with an idle real
    browser on the same cores."""
    with _chromium() if args.browser else contextlib.nullcontext() as chromium:
        page = None if chromium is None else lambda url: _opened(chromium, url)
        phases = watched_training(args.steps, args.share, page)
    alone = phases.pop("alone")
    median = statistics.median(alone.seconds)
    add("training step, no browser", median, f"{min(alone.seconds):.3f} s ({median:.3f})")
    names = {"page": "idle in Chromium, software WebGL on the same cores"}
    for name, phase in phases.items():
        best, slower = phase.slower(alone)
        name = names.get(name, f"browser {name}")
        add(f"training step, {name}", slower, f"{100 * best:+.1f} % ({100 * slower:+.1f})")
        drawn = phase.drawn / phase.wall
        add(f"… time charged for pictures, {name}", drawn, f"{100 * drawn:.1f} %, at most {100 * args.share:.0f} asked")
        if phase.training:
            own = phase.own / phase.training
            add(f"… processor time of the page's threads, {name}", own, f"{100 * own:.2f} % of the training's")
