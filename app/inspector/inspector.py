"""`Inspector`: the web page with its server, render thread and pulse, for any number of browsers."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import math
import socket
import threading
import time
import warnings
from collections.abc import Collection, Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import viser

from ...core.errors import InputError
from ...core.geometry.cameras import Cameras, intrinsics
from ...core.query import TextEncoder
from ...trainers.engine.live import LiveFeed
from ..render.options import RenderOptions
from ..render.renderer import Renderer
from ..scenes.source import SceneSource
from .access import HEADERS, is_loopback, open_tunnel, refuse_foreign_origins
from .session import Session
from .shared import Shared
from .stream import RenderStream
from .viser_internals import ignore_share_requests, keep_icon_archive_open, limit_callback_threads, send_headers
from .worker import RenderWorker, ThreadTime

if TYPE_CHECKING:
    from ..objects.recognizer import ObjectRecognizer

log = logging.getLogger(__name__)

PULSE = 0.1
"""Seconds between two pulses, which look for changes."""

COLLECT_AFTER = 1.0
"""Seconds after which the memory of browsers that left is freed: their parts refer to each other, and Python looks for
such garbage rarely while a network trains."""

CALLBACK_THREADS = 8
"""Number of threads that run callbacks of browsers; these leave all long work to the render thread."""


class Inspector:
    """Serves the page until `close`.

    Args:
        source: scenes to show.
        host: address to listen on; anything but a loopback address prints a warning.
        port: preferred port; when it is in use the next free one is taken and printed.
        feed: feed of a running training, to show its curves and control it.
        share: share of wall-clock time that rendering may take while a training runs, in (0, 1].
        max_width: largest image width, pixels; by default 1280, and 1920 with CUDA.
        max_points: largest number of points sent to a browser.
        text: encoder of text queries for the features; None leaves the names of the teacher's channels.
        other: another run over the same scenes, for a comparison; without one, steps of the same run are compared.
        tour: show a welcome to the first browser on this machine.
        metrics: the ``metrics.jsonl`` of a run without a feed, for its curves.
        recognizer: classifies and searches single objects; None leaves out the Objects tab.
        public: also ask viser's relay for a public address.
        device: device that a training shares with the viewer; None without a training.
        names: further names of this machine by which browsers may open the page.

    Attributes:
        shared: state that all browsers share.
        worker: the render thread.
        renderer: renderer of ``source``.
        public_url: the public address, or None.
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
        recognizer: ObjectRecognizer | None = None,
        device: torch.device | None = None,
        names: Collection[str] = (),
    ) -> None:
        if not source.scene_names:
            raise InputError(source.title, "at least one scene to show", "none")
        self.feed = feed
        context = contextlib.nullcontext if device is None else RenderStream(device)
        self.worker = RenderWorker(on_error=self._render_failed, context=context)
        self.shared = Shared(
            source, self.worker, feed, share, max_width, max_points, text, other, tour, metrics, recognizer
        )
        self.shared.redraw = self.redraw
        self.renderer: Renderer = self.shared.renderer
        self.renderer.colors.changed = self.redraw
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._collect_at = math.inf

        keep_icon_archive_open()
        send_headers(HEADERS)
        # A browser may leave between the decision to send and the sending; viser would warn each time.
        warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")
        others = set(threading.enumerate())
        self._server = _serve(host, port)
        self._network = ThreadTime(set(threading.enumerate()) - others)
        self._host, self._port = host, self._server.get_port()
        self.public_url: str | None = None
        limit_callback_threads(self._server, CALLBACK_THREADS)
        ignore_share_requests(self._server)
        refuse_foreign_origins(self._server, host, lambda: self.public_url, names)
        if self._port != port and port != 0:
            print(f"Port {port} is in use: the viewer uses {self._port}.")
        if not is_loopback(host):
            print(f"Warning: anybody who can reach {host}:{self._port} can view this data and control this training.")
        self._server.gui.configure_theme(
            dark_mode=True,
            show_logo=False,
            show_share_button=False,
            control_width="large",
            brand_color=(64, 132, 246),
        )
        self._server.gui.set_panel_label("GaussianCross viewer")
        self._server.gui.main_panel.dock_right()
        self._server.scene.set_up_direction("+z")
        self._server.scene.set_background_image(self.shared.blank)
        self.worker.start()
        if feed is None:  # a training would pay for an image that no browser needs yet
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
        """Address of the page on this machine."""
        shown = "localhost" if self._host in ("0.0.0.0", "::") else self._host  # noqa: S104 - compares, binds nothing
        return f"http://[{shown}]:{self._port}" if ":" in shown else f"http://{shown}:{self._port}"

    @property
    def sessions(self) -> list[Session]:
        """The connected browsers."""
        with self._lock:
            return list(self._sessions.values())

    def redraw(self) -> None:
        """Render everything again in every browser."""
        for session in self.sessions:
            session.requests.everything()

    def close(self) -> None:
        """Stop the server and the render thread; a training continues."""
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
        print("Warning: anybody who has this address can view this data and control this training for 24 hours.")

    def _prepare(self) -> None:
        """Open the first scene and load the kernels, in the render thread, while the first browser loads the page."""
        with contextlib.suppress(Exception):  # a failure recurs, and is reported, when a browser shows the scene
            if self.renderer.load(0).gaussians is not None:
                self.renderer.draw(
                    0, RenderOptions(), Cameras(torch.eye(4)[None], intrinsics(1.0, 16, 16)[None], 16, 16)
                )

    # --- connections ------------------------------------------------------------------------------------------

    def _connected(self, client: viser.ClientHandle) -> None:
        try:
            session = Session(self.shared, client)
        except Exception:
            log.exception("inspector: a session could not be started")
            client.add_notification("The viewer could not start", "See the log of the server.", color="red")
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
            self._collect_at = time.monotonic() + COLLECT_AFTER

    def _render_failed(self, key: Hashable, error: Exception) -> None:
        for session in self.sessions:
            if isinstance(key, tuple) and session.client.client_id == key[0]:
                session.browser.report(error)

    # --- pulse ------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        before = time.thread_time()
        while not self._closed.wait(PULSE):
            now = time.thread_time()
            self.shared.apply_share()
            self.worker.charge(self._network.since() + now - before)
            before = now
            self._pulse_sessions()
            if time.monotonic() >= self._collect_at:
                self._collect_at = math.inf
                gc.collect()

    def _pulse_sessions(self) -> None:
        sessions = self.sessions
        if self.feed is not None and any(s.loader.is_up_to_date() for s in sessions):
            self.feed.wants_snapshot.set()
        for session in sessions:
            try:
                session.pulse()
            except Exception as error:
                log.exception("inspector: the pulse of a browser failed")
                with contextlib.suppress(Exception):
                    session.browser.report(error)


def _serve(host: str, port: int) -> viser.ViserServer:
    """Start a viser server; `InputError` for an address that cannot be listened on (viser would wait forever)."""
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
