"""A browser without a screen, which speaks viser's protocol."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from gaussiancross.app.inspector import Inspector
from gaussiancross.app.inspector.session import Session

from helpers.inspector import NamedRoom, room_words
from helpers.waiting import wait_for


class Robot:
    """Connects as a page of ``origin`` does, and keeps what such a page would show.

    Attributes:
        session: the inspector's session of this page.
        said: texts of the notifications.
        images: number of canvas images received.
    """

    def __init__(self, inspector: Inspector, origin: str | None = None, width: int = 320, height: int = 240) -> None:
        client = pytest.importorskip("websockets.sync.client")
        import viser

        self.inspector = inspector
        self.session: Any = None
        self.said: list[str] = []
        self.images = 0
        self._controls: dict[str, dict[str, Any]] = {}
        address, protocol = inspector.url.replace("http", "ws"), [f"viser-v{viser.__version__}"]
        known = set(inspector.sessions)
        self._socket = client.connect(address, origin=origin, subprotocols=protocol, max_size=None)
        threading.Thread(target=self._receive, daemon=True).start()
        self.look(width, height)
        session: Session = wait_for(lambda: next(iter(set(inspector.sessions) - known), None), "a session")
        self.session = session
        wait_for(lambda: inspector.renderer.state(0), "the scene")

    # --- what the page sends ------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        import msgspec

        self._socket.send(msgspec.msgpack.encode(message.as_serializable_dict()))

    def look(self, width: int, height: int) -> None:
        """Say where the camera is, and how large the page's canvas."""
        from viser import _messages as m

        self.send(m.ViewerCameraMessage((1, 0, 0, 0), (2, 1, 1), 1.0, 0.01, 100.0, height, width, (2, 1, 2), (0, 0, 1)))

    def enter(self, label: str, value: Any, kind: str = "") -> None:
        """Send a value of the first control with this label and kind; a button is pressed by any."""
        from viser import _messages as m

        uuid = self.uuid(label, kind)
        self._controls[uuid]["value"] = value
        self.send(m.GuiUpdateMessage(uuid, {"value": value}))

    def press(self, name: str, among: Sequence[str] = ()) -> None:
        """Press the button with this name, alone or in a group; ``among``: all buttons of that group."""
        from viser import _messages as m

        def button() -> tuple[str, Any] | None:
            for uuid, control in self._shown():
                if _is(control, "Button") and control["label"] == name:
                    return uuid, True
                options = control["options"] if _is(control, "ButtonGroup") else []
                names = [option.removeprefix("● ") for option in options]
                if name in names and (not among or names == list(among)):
                    return uuid, options[names.index(name)]
            return None

        uuid, value = wait_for(button, f"the button {name!r}")
        self.send(m.GuiUpdateMessage(uuid, {"value": value}))

    def submit(self, label: str, value: str) -> None:
        """Type a value into the form's field with this label and submit the form."""
        from viser import _messages as m

        self.enter(label, value)
        self.send(m.GuiFormSubmitMessage(self.control(label)["container_uuid"]))

    # --- what the page shows ------------------------------------------------------------------------------------

    def control(self, label: str, kind: str = "") -> dict[str, Any]:
        """Properties of the first control with this label and kind: "value", "visible", "options", …"""
        return self._controls[self.uuid(label, kind)]

    def uuid(self, label: str, kind: str = "") -> str:
        """Identifier of the first control with this label and kind ("Button", "Rgb", …; "": any)."""

        def first() -> str:
            found = (u for u, c in list(self._controls.items()) if c.get("label") == label and _is(c, kind))
            return next(found, "")

        return wait_for(first, f"the control {label!r}")

    def labels(self, kind: str = "") -> list[str]:
        """Labels of the visible controls of a kind, in order of creation."""
        return [c["label"] for _, c in self._shown() if c.get("label") and _is(c, kind)]

    def charts(self) -> dict[str, dict[str, Any]]:
        """Title → properties of the charts."""
        return {c["title"]: c for _, c in self._shown() if c["type"] == "GuiUplotMessage"}

    def shows(self, text: str) -> bool:
        """Whether a visible text holds this one."""
        return any(text in str(c.get("content") or c.get("_markdown") or "") for _, c in self._shown())

    def hears(self, words: str) -> None:
        """Wait until a notification says this."""
        wait_for(lambda: any(words in text for text in self.said), f"the page to say {words!r}, not {self.said}")

    def _shown(self) -> list[tuple[str, dict[str, Any]]]:
        return [(uuid, c) for uuid, c in list(self._controls.items()) if c.get("visible", True)]

    def _receive(self) -> None:
        with contextlib.suppress(Exception):  # the connection has ended
            while True:
                for message in decode(self._socket.recv()):
                    self._update(message)

    def _update(self, message: dict[str, Any]) -> None:
        kind, uuid = message["type"], message.get("uuid")
        if kind == "BackgroundImageMessage":
            self.images += 1
        elif kind in ("NotificationShowMessage", "NotificationUpdateMessage"):
            self.said.append(message["props"]["body"])
        elif kind == "GuiUpdateMessage":
            if uuid in self._controls:
                self._controls[uuid].update(message["updates"])
        elif kind == "GuiRemoveMessage":
            self._controls.pop(uuid, None)
        elif kind.startswith("Gui") and "props" in message:
            self._controls[uuid] = {**{k: v for k, v in message.items() if k != "props"}, **message["props"]}

    def __enter__(self) -> Robot:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _is(control: dict[str, Any], kind: str) -> bool:
    return kind in ("", control["type"].removeprefix("Gui").removesuffix("Message"))


def decode(data: bytes) -> list[dict[str, Any]]:
    """The messages of one packet of viser's: compressed msgpack, then arrays at multiples of 8 bytes."""
    import msgspec
    import zstandard

    end = 16 + int.from_bytes(data[8:16], "little")
    packet = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data[16:end]))
    arrays: list[bytes] = []
    for length in packet["binaryBufferLengths"]:
        end += -end % 8
        arrays.append(data[end : end + length])
        end += length

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            if "__binary_index" in value:
                return np.frombuffer(arrays[value["__binary_index"]], value["dtype"])
            return {key: filled(entry) for key, entry in value.items()}
        return [filled(entry) for entry in value] if isinstance(value, (list, tuple)) else value

    return [filled(message) for message in packet["messages"]]


@contextlib.contextmanager
def named_room() -> Iterator[Robot]:
    """A page with `NamedRoom` in view, which can be asked in words."""
    with Inspector(NamedRoom(), port=0, text=room_words()) as inspector, Robot(inspector) as robot:
        wait_for(lambda: robot.session.loader.placed_scene == 0, "the scene")
        yield robot
