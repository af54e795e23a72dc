"""`Inspector`: the page itself. One server, one render thread, one pulse, any number of browsers."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import viser

from ...core.errors import InputError
from ...core.geometry.cameras import Cameras, intrinsics
from ...core.query import TextEncoder
from ...trainers.engine.live import LiveFeed
from ..render.compare import Comparison
from ..render.layers import BACKGROUND
from ..render.renderer import Renderer, RenderOptions
from ..scenes.source import SceneSource
from ..scenes.timeline import TimelineSource
from .access import is_loopback, open_tunnel, refuse_foreign_origins
from .session import Session
from .viser_internals import ignore_share_requests, keep_icon_archive_open
from .worker import RenderWorker, ThreadTime

if TYPE_CHECKING:
    from ..objects.recognizer import ObjectRecognizer

log = logging.getLogger(__name__)

PULSE = 0.1
"""Seconds between looks at what has changed."""

SERIES_EVERY = 1.0
"""Seconds for which a copy of the curves serves all browsers."""


class AdaptiveResolution:
    """The width of pictures while the camera moves: as wide as the machine draws ten of within the budget of a second.

    Attributes:
        width: pixels.
    """

    def __init__(self, width: int = 480, low: int = 200, high: int = 1280) -> None:
        self.width, self._low, self._high = width, low, high

    def measured(self, seconds: float, share: float) -> None:
        """A picture took so long, with ``share`` of the time to spend."""
        target = 0.1 * share
        if seconds > 1.3 * target:
            self.width = max(self._low, int(self.width * 0.8))
        elif seconds < 0.6 * target:
            self.width = min(self._high, int(self.width * 1.15))


class Inspector:
    """Serves the page until `close`.

    Args:
        source: what to look at.
        host: address to listen on; anything but a loopback address prints a warning.
        port: wanted port; the next free one is taken, and said, when it is in use.
        feed: of a running training, to show its curves and steer it.
        share: share of wall-clock time that pictures may take while a training runs.
        max_width: widest picture, pixels; by default 1280, and 1920 with CUDA.
        max_points: most points sent to a browser.
        text: makes vectors of words, to be compared with the features; None leaves the names of the teacher's channels.
        other: another run over the same scenes, for a comparison; without one, a run's steps are compared.
        tour: greet whoever opens the page first on this machine.
        metrics: the ``metrics.jsonl`` of a run that is looked at without a feed, for its curves.
        desk: knows single objects by name and likeness; None leaves that tab out.
        public: ask viser's relay for an address that the whole world can open, too.

    Attributes:
        public_url: that address, or None.
    """

    def __init__(
        self,
        source: SceneSource,
        host: str = "127.0.0.1",
        port: int = 7007,
        feed: LiveFeed | None = None,
        share: float = 0.3,
        max_width: int | None = None,
        max_points: int = 400_000,
        text: TextEncoder | None = None,
        other: SceneSource | None = None,
        tour: bool = False,
        public: bool = False,
        metrics: Path | None = None,
        desk: ObjectRecognizer | None = None,
    ) -> None:
        if not source.scene_names:
            raise InputError(source.title, "at least one scene to show", "none")
        self.source, self.feed, self.metrics = source, feed, metrics
        self.renderer = Renderer(source)
        self.renderer.colors.changed = self.redraw
        self._other = other
        self.pace = AdaptiveResolution()
        self.max_width = max_width or (1920 if torch.cuda.is_available() else 1280)
        self.max_points, self.tour = max_points, tour
        self.text, self.desk = text, desk
        self.blank = np.full((8, 8, 3), [round(255 * c) for c in BACKGROUND], np.uint8)
        self._share = share
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()
        self._series: dict[str, list[tuple[int, float]]] = {}
        self._series_at = -SERIES_EVERY
        self._metrics_stamp = 0
        self._closed = threading.Event()
        self.worker = RenderWorker(on_error=self._render_failed)
        self._apply_share()

        keep_icon_archive_open()
        # A browser may leave between the decision to send and the sending; viser would warn each time.
        warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")
        others = set(threading.enumerate())
        self._server = _serve(host, port)
        self._network = ThreadTime(set(threading.enumerate()) - others)
        self._host, self._port = host, self._server.get_port()
        self.public_url: str | None = None
        ignore_share_requests(self._server)
        refuse_foreign_origins(self._server, host, lambda: self.public_url)
        if self._port != port and port != 0:
            print(f"Port {port} is in use: the inspector took {self._port}.")
        if not is_loopback(host):
            print(f"Warning: anybody who can reach {host}:{self._port} can look at this data and steer this training.")
        self._server.gui.configure_theme(
            dark_mode=True,
            show_logo=False,
            show_share_button=False,
            control_width="large",
            brand_color=(64, 132, 246),
        )
        self._server.gui.set_panel_label("GaussianCross inspector")
        self._server.gui.main_panel.dock_right()
        self._server.scene.set_up_direction("+z")
        self._server.scene.set_background_image(self.blank)
        self.worker.start()
        if feed is None:  # else a training would pay for what nobody has asked for yet
            self.worker.submit("first scene", self._prepare)
        self._pulse = threading.Thread(target=self._beat, name="inspector-pulse", daemon=True)
        self._pulse.start()
        self._server.on_client_connect(self._connected)
        self._server.on_client_disconnect(self._disconnected)
        print(f"Inspector: {self.url}")
        if public:
            self._publish()

    @property
    def url(self) -> str:
        shown = "localhost" if self._host in ("0.0.0.0", "::") else self._host
        return f"http://[{shown}]:{self._port}" if ":" in shown else f"http://{shown}:{self._port}"

    @property
    def share(self) -> float:
        """Share of wall-clock time that pictures may take while a training runs; for all browsers together."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        self._share = min(1.0, max(0.01, share))
        self._apply_share()

    @property
    def sessions(self) -> list[Session]:
        """The connected browsers."""
        with self._lock:
            return list(self._sessions.values())

    def series(self) -> dict[str, list[tuple[int, float]]]:
        """The curves, at most `SERIES_EVERY` old: one copy serves every browser."""
        with self._lock:
            if time.monotonic() - self._series_at >= SERIES_EVERY:
                self._series_at = time.monotonic()
                if self.feed is not None:
                    self._series = self.feed.series()
                elif self.metrics is not None and self.metrics.is_file():
                    stamp = self.metrics.stat().st_mtime_ns
                    if stamp != self._metrics_stamp:  # another process may still be training
                        self._series, self._metrics_stamp = written_series(self.metrics), stamp
            return self._series

    def sides(self) -> tuple[SceneSource, Renderer, Comparison | None]:
        """What one browser looks at: a source with a position of its own in time (where there is time), its renderer,
        and what it may be compared with. What is encoded, and what things are coloured by, is shared by all."""
        source, renderer, other = self.source, self.renderer, self._other
        if isinstance(source, TimelineSource):
            source = source.twin(source.position)
            renderer = renderer.fork(source)
            other = source.twin(None) if other is None else other
        if isinstance(self._other, TimelineSource):
            other = self._other.twin(self._other.position)
        return source, renderer, None if other is None else Comparison(renderer, other)

    def redraw(self) -> None:
        """Draw everything again in every browser."""
        for session in self.sessions:
            session.redraw()

    def close(self) -> None:
        """End the page; a training goes on."""
        if self._closed.is_set():
            return
        self._closed.set()
        for session in self.sessions:
            session.close()
        self.worker.close()
        self._pulse.join(2)
        self._server.stop()
        if self.feed is not None:
            self.feed.wants_snapshot.clear()

    def __enter__(self) -> Inspector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _publish(self) -> None:
        print("Asking viser's relay, share.viser.studio, for a public address …")
        self.public_url = open_tunnel(self._server)
        if self.public_url is None:
            print("Warning: the relay did not answer; this page can be opened from this machine's network only.")
            return
        print(f"Public: {self.public_url}")
        print("Warning: anybody who has this address can look at this data and steer this training, for 24 hours.")

    def _prepare(self) -> None:
        """Render thread: open the first scene and load the kernels while the first browser still loads the page."""
        with contextlib.suppress(Exception):  # what fails here fails again, and is told, when somebody looks
            if self.renderer.load(0).gaussians is not None:
                self.renderer.draw(
                    0, RenderOptions(), Cameras(torch.eye(4)[None], intrinsics(1.0, 16, 16)[None], 16, 16)
                )

    # --- browsers come and go -------------------------------------------------------------------------------

    def _connected(self, client: viser.ClientHandle) -> None:
        try:
            session = Session(self, client)
        except Exception:
            log.exception("inspector: a browser could not be served")
            client.add_notification("The inspector could not start", "See the log of the server.", color="red")
            return
        with self._lock:
            self._sessions[client.client_id] = session
        if client.client_id not in self._server.get_clients():  # gone while the panels were built
            self._disconnected(client)

    def _disconnected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            session = self._sessions.pop(client.client_id, None)
        if session is not None:
            session.close()

    def _render_failed(self, key: Hashable, error: Exception) -> None:
        for session in self.sessions:
            if isinstance(key, tuple) and session.client.client_id == key[0]:
                session.report(error)

    # --- the pulse ------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        before = time.thread_time()
        while not self._closed.wait(PULSE):
            sessions, now = self.sessions, time.thread_time()
            self._apply_share()
            self.worker.charge(self._network.since() + now - before)
            before = now
            if self.feed is not None and any(s.wants_newer() for s in sessions):
                self.feed.wants_snapshot.set()
            for session in sessions:
                try:
                    session.pulse()
                except Exception as error:
                    log.exception("inspector: the pulse of a browser failed")
                    with contextlib.suppress(Exception):
                        session.report(error)

    def _apply_share(self) -> None:
        """Nobody has to be spared when nothing is training."""
        training = self.feed is not None and not self.feed.paused
        self.worker.share = self._share if training else 1.0


def written_series(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves of a ``metrics.jsonl``: metric → [(step, value), …]."""
    from ...trainers.engine.log import read_metrics

    series: dict[str, list[tuple[int, float]]] = {}
    for row in read_metrics(path):
        for name, value in row.items():
            if name != "step" and isinstance(value, (int, float)):
                series.setdefault(name, []).append((int(row["step"]), float(value)))
    return series


def _serve(host: str, port: int) -> viser.ViserServer:
    """A viser server; `InputError` for an address that cannot be listened on (viser would wait for ever)."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.bind(address)
    except OSError as error:
        raise InputError("--host", "an address of this machine", f"{host} ({error})", "try 127.0.0.1") from error
    if not 0 <= port < 65536:
        raise InputError("--port", "a number from 0 to 65535", str(port))
    with contextlib.redirect_stdout(io.StringIO()):  # viser's own banner
        return viser.ViserServer(host=host, port=port, verbose=False)
