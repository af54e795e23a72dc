"""What a browser may not do, whatever it sends: open a tunnel to this machine, or fill its memory with a file.

viser listens to both kinds of message on every server; it has no switch for either, so its handlers are replaced here.
Texts have their limits where they are read (`search.read_phrases`), pictures where they are sized
(`Session.picture_size`, `export.picture_work`), scenes are chosen by their place in the list and never by a path.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import viser
from viser import _messages as messages

TUNNEL_SECONDS = 20.0
"""Seconds to wait for viser's relay."""


def refuse_tunnels(server: viser.ViserServer) -> None:
    """Make the server deaf to browsers that ask for a public address of it: only `open_tunnel` gives it one."""
    for kind in (messages.ShareUrlRequest, messages.ShareUrlDisconnect):
        server._websock_server.unregister_handler(kind)


def open_tunnel(server: viser.ViserServer, seconds: float = TUNNEL_SECONDS) -> str | None:
    """A public address of the server through viser's relay, share.viser.studio; None when it did not answer in time.
    The server's own `stop` closes it."""
    answers: list[str | None] = []
    asking = threading.Thread(
        target=lambda: answers.append(server.request_share_url(verbose=False)), name="inspector-tunnel", daemon=True
    )
    asking.start()
    asking.join(seconds)
    if not answers:  # nothing may open later, when nobody expects it any more
        server.disconnect_share_url()
        return None
    return answers[0]


def cap_uploads(client: viser.ClientHandle, limit: int, refused: Callable[[str, int], None]) -> None:
    """Drop files of more than ``limit`` bytes while they arrive, not when they fill the memory.

    Args:
        refused: called with the file's name and its size, as far as it is known.
    """
    gui = client.gui
    connection, known = gui._websock_interface, gui._current_file_upload_states
    begin, proceed = gui._handle_file_transfer_start, gui._handle_file_transfer_part

    def drop(name: str, size: int, transfer: str, component: str) -> None:
        known.pop(transfer, None)
        # The browser shows a bar until all has arrived: for it, all has.
        connection.queue_message(messages.FileTransferPartAck(component, transfer, size, size))
        refused(name, size)

    def start(client_id: int, message: messages.FileTransferStartUpload) -> None:
        if message.size_bytes > limit:
            drop(message.filename, message.size_bytes, message.transfer_uuid, message.source_component_uuid)
        else:
            begin(client_id, message)  # type: ignore[arg-type]

    def part(client_id: int, message: messages.FileTransferPart) -> None:
        state = known.get(message.transfer_uuid)
        arrived = 0 if state is None else state["transferred_bytes"] + len(message.content)
        if state is not None and arrived > limit:  # it said that it would be smaller
            drop(state["filename"], arrived, message.transfer_uuid, message.source_component_uuid or "")
        else:
            proceed(client_id, message)  # type: ignore[arg-type]

    for kind, handler in ((messages.FileTransferStartUpload, start), (messages.FileTransferPart, part)):
        connection.unregister_handler(kind)
        connection.register_handler(kind, handler)  # type: ignore[arg-type]
