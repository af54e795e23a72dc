"""Private interfaces of viser 1.1, wrapped in named functions; no other module of the package touches them.

viser has no public interface for these functions. `REQUIRED` lists each private attribute that they use;
``tests/app/inspector/test_viser_internals.py`` checks them one by one, so an incompatible viser fails there first.
"""

from __future__ import annotations

import logging
import threading
import zipfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import viser
from viser import _icons, infra
from viser import _messages as messages
from viser.infra import _infra

log = logging.getLogger(__name__)

REQUIRED: dict[str, tuple[str, ...]] = {
    "server": ("_thread_executor", "_websock_server"),
    "server._thread_executor": ("_max_workers",),
    "server._websock_server": (
        "_client_connect_cb",
        "_live_connections",
        "disconnect_all_clients",
        "unregister_handler",
    ),
    "gui": (
        "_websock_interface",
        "_current_file_upload_states",
        "_handle_file_transfer_start",
        "_handle_file_transfer_part",
    ),
    "gui._websock_interface": ("queue_message", "register_handler", "unregister_handler"),
    "messages": (
        "FileTransferPart",
        "FileTransferPartAck",
        "FileTransferStartUpload",
        "RunJavascriptMessage",
        "ShareUrlDisconnect",
        "ShareUrlRequest",
    ),
    "messages.RunJavascriptMessage": ("source",),
    "messages.FileTransferStartUpload": ("filename", "size_bytes", "source_component_uuid", "transfer_uuid"),
    "messages.FileTransferPart": ("content", "source_component_uuid", "transfer_uuid"),
    "messages.FileTransferPartAck": (
        "source_component_uuid",
        "total_bytes",
        "transfer_uuid",
        "transferred_bytes",
    ),
    "infra": ("Response",),
    "icons": ("ICONS_DIR", "svg_from_icon", "zipfile"),
}
"""Owner → its attributes used here. ``gui`` is the `viser.GuiApi` of a server or client; ``messages``, ``icons`` and
``infra`` are the modules ``viser._messages``, ``viser._icons`` and ``viser.infra._infra``."""


def ignore_share_requests(server: viser.ViserServer) -> None:
    """Ignore browsers that ask for a public address; ``server.request_share_url`` still works."""
    for kind in (messages.ShareUrlRequest, messages.ShareUrlDisconnect):
        server._websock_server.unregister_handler(kind)


def limit_callback_threads(server: viser.ViserServer, count: int) -> None:
    """Run callbacks of all browsers in ``count`` threads, started now; viser adds up to 32 over time, and ends none.

    Every thread that allocates keeps memory of its own, so a training's process grew with each further browser.
    """
    pool = server._thread_executor
    pool._max_workers = count
    started = threading.Barrier(count)
    for _ in range(count):  # the pool starts a thread only for a task that no idle thread can take
        pool.submit(started.wait)


def check_connections(server: viser.ViserServer, allowed: Callable[[str | None, str | None], bool]) -> None:
    """Close each WebSocket whose headers are not allowed, before anything is sent to it.

    The check runs first among viser's connection callbacks, before its send and receive tasks exist. They then find
    the connection closed, and viser cleans up as after any disconnect.

    Args:
        allowed: called with the ``Origin`` and ``Host`` headers.
    """
    sockets = server._websock_server

    async def check(connection: infra.WebsockClientConnection) -> None:
        live = sockets._live_connections.get(infra.ClientId(connection.client_id))
        if live is None or live.request is None:
            return
        headers = live.request.headers
        if not allowed(headers.get("Origin"), headers.get("Host")):
            hint = "if it is yours, name its host with --allow-host"
            log.warning("inspector: refused a connection from the page %s; %s", headers.get("Origin"), hint)
            await live.close(1008, "foreign origin")

    sockets._client_connect_cb.insert(0, check)
    sockets.disconnect_all_clients()  # connections made before now reconnect, and are checked


def send_headers(headers: Mapping[str, str]) -> None:
    """Add headers to every file that viser's servers of this process send."""
    module: Any = _infra
    answer = getattr(module.Response, "without_headers", module.Response)

    def response(*args: Any, **options: Any) -> Any:
        made = answer(*args, **options)
        for name, value in headers.items():
            made.headers[name] = value
        return made

    response.without_headers = answer
    module.Response = response


def limit_uploads(client: viser.ClientHandle, limit: int, refused: Callable[[str, int], None]) -> None:
    """Drop uploads of more than ``limit`` bytes, all open ones together, while they arrive: they lie in memory.

    Args:
        refused: called with the file's name and its announced size, that of other open uploads included, or the bytes
            received when it announced less.
    """
    gui = client.gui
    connection, uploads = gui._websock_interface, gui._current_file_upload_states
    begin, proceed = gui._handle_file_transfer_start, gui._handle_file_transfer_part

    def drop(name: str, size: int, transfer: str, component: str) -> None:
        uploads.pop(transfer, None)
        # The browser shows a progress bar until every byte is acknowledged.
        connection.queue_message(messages.FileTransferPartAck(component, transfer, size, size))
        refused(name, size)

    def start(client_id: int, message: messages.FileTransferStartUpload) -> None:
        others = sum(max(u["total_bytes"], u["transferred_bytes"]) for u in list(uploads.values()))
        if others + message.size_bytes > limit:
            drop(message.filename, others + message.size_bytes, message.transfer_uuid, message.source_component_uuid)
        else:
            begin(client_id, message)  # type: ignore[arg-type]

    def part(client_id: int, message: messages.FileTransferPart) -> None:
        state = uploads.get(message.transfer_uuid)
        received = 0 if state is None else state["transferred_bytes"] + len(message.content)
        if state is not None and received > limit:  # more than it announced
            drop(state["filename"], received, message.transfer_uuid, message.source_component_uuid or "")
        else:
            proceed(client_id, message)  # type: ignore[arg-type]

    for kind, handler in ((messages.FileTransferStartUpload, start), (messages.FileTransferPart, part)):
        connection.unregister_handler(kind)
        connection.register_handler(kind, handler)  # type: ignore[arg-type]


def run_javascript(client: viser.ClientHandle, source: str) -> None:
    """Run a script in the page of one browser."""
    client.gui._websock_interface.queue_message(messages.RunJavascriptMessage(source=source))


_SEND_TEXT_FIRST = """
if (!window.gcSendTextFirst) {
  window.gcSendTextFirst = true;
  let typed = 0;
  addEventListener("input", () => { typed = performance.now(); }, true);
  addEventListener("keydown", (event) => {
    const field = event.target;
    if (event.key !== "Enter" || event.isComposing || field.tagName !== "INPUT" || !field.form) return;
    event.preventDefault();
    setTimeout(() => {
      field._valueTracker?.setValue("");  // otherwise React takes the same text for no change
      field.dispatchEvent(new Event("input", {bubbles: true}));
      setTimeout(() => field.form?.requestSubmit(), 60);
    }, Math.max(0, typed + 110 - performance.now()));
  }, true);
}
"""


def send_text_before_forms(client: viser.ClientHandle) -> None:
    """Send the text of a field again before Enter submits its form.

    viser's page keeps only the latest message of each 50 ms, so a form submitted right after the last letter overtakes
    the text, which is then never sent.
    """
    run_javascript(client, _SEND_TEXT_FIRST)


def keep_icon_archive_open() -> None:
    """Open viser's archive of icons once per process instead of once per icon.

    Listing its 5,000 entries takes some 20 ms each time, which the first browser would wait for, once per icon.
    """
    opened = lru_cache(maxsize=1)(zipfile.ZipFile)
    _icons.zipfile = SimpleNamespace(ZipFile=lambda path: nullcontext(opened(path)))  # type: ignore[attr-defined]
