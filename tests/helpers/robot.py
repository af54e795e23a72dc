"""A browser without a screen: speaks viser's protocol, and sends whatever it likes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from gaussiancross.app.inspector import Inspector
from gaussiancross.app.inspector.session import Session


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return found


class Robot:
    """Connects as a page of ``origin`` does.

    Attributes:
        session: what the inspector keeps for it.
        said: texts of the notifications that its page would show.
    """

    def __init__(self, inspector: Inspector, origin: str | None = None, width: int = 320, height: int = 240) -> None:
        client = pytest.importorskip("websockets.sync.client")
        import viser

        self.inspector = inspector
        self.session: Any = None
        address, protocol = inspector.url.replace("http", "ws"), [f"viser-v{viser.__version__}"]
        known = set(inspector.sessions)
        self._socket = client.connect(address, origin=origin, subprotocols=protocol, max_size=None)
        threading.Thread(target=self._drain, daemon=True).start()
        self.look(width, height)
        session: Session = wait_for(lambda: next(iter(set(inspector.sessions) - known), None), "a session")
        self.session = session
        self.said: list[str] = []
        browser: Any = session.browser
        notify = browser.notify
        browser.notify = lambda title, body, *a, **k: (self.said.append(body), notify(title, body, *a, **k))[1]
        wait_for(lambda: inspector.renderer.state(0), "the scene")

    def send(self, message: Any) -> None:
        import msgspec

        self._socket.send(msgspec.msgpack.encode(message.as_serializable_dict()))

    def look(self, width: int, height: int) -> None:
        """Say where the camera is, and how large the page's canvas."""
        from viser import _messages as m

        self.send(m.ViewerCameraMessage((1, 0, 0, 0), (2, 1, 1), 1.0, 0.01, 100.0, height, width, (2, 1, 2), (0, 0, 1)))

    def handle(self, label: str) -> Any:
        """The control with this label."""
        handles = self.session.client.gui._gui_input_handle_from_uuid.values()
        return next(h for h in handles if getattr(h, "label", None) == label)

    def enter(self, label: str, value: Any) -> None:
        """Send a value of the control with this label; a button is pressed by any."""
        from viser import _messages as m

        self.send(m.GuiUpdateMessage(self.handle(label)._impl.uuid, {"value": value}))

    def hears(self, words: str) -> None:
        """Wait until the page says this."""
        wait_for(lambda: any(words in text for text in self.said), f"the page to say {words!r}, not {self.said}")

    def _drain(self) -> None:
        with contextlib.suppress(Exception):
            while True:
                self._socket.recv()

    def __enter__(self) -> Robot:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
