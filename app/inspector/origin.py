"""Only our own page may talk to the viewer.

A page on any web site can open a WebSocket to 127.0.0.1 from the visitor's browser; the browser says so in the
``Origin`` header, and the server has to look. viser does not.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import viser
from viser import infra

log = logging.getLogger(__name__)


def origin_allowed(origin: str | None, host: str | None, bound: str, public: str | None = None) -> bool:
    """Whether a WebSocket from ``origin`` may connect.

    Args:
        origin: the ``Origin`` header; browsers always send one, programs need not, and are let in.
        host: the ``Host`` header.
        bound: the address that the server listens on. On a loopback address only loopback origins are allowed (so
            that a foreign name which resolves to 127.0.0.1 gains nothing); otherwise origin and host must agree.
        public: address of the tunnel that was asked for, or None; its own page is allowed, too.
    """
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
        own = urlsplit(f"//{host}") if host else None
        same = own is not None and name == own.hostname and (parts.port or 80) == (own.port or 80)
    except ValueError:
        return False
    if name is None or parts.scheme not in ("http", "https"):
        return False
    if public is not None and name == urlsplit(public).hostname:
        return True
    return same and (is_loopback(name) or not is_loopback(bound))


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_foreign_origins(
    server: viser.ViserServer, bound: str, public: Callable[[], str | None] = lambda: None
) -> None:
    """Close connections from foreign pages before anything is sent to them; ``bound`` and ``public()`` as in
    `origin_allowed`.

    viser offers no hook of its own: this one runs first among the connection callbacks, before the tasks that send
    and receive exist; they then find the connection closed, and viser cleans up as after any disconnect.
    """
    sockets = server._websock_server

    async def check(connection: infra.WebsockClientConnection) -> None:
        live = sockets._live_connections.get(infra.ClientId(connection.client_id))
        if live is None or live.request is None:
            return
        headers = live.request.headers
        if not origin_allowed(headers.get("Origin"), headers.get("Host"), bound, public()):
            log.warning("inspector: refused a connection from the page %s", headers.get("Origin"))
            await live.close(1008, "foreign origin")

    sockets._client_connect_cb.insert(0, check)
    sockets.disconnect_all_clients()  # whoever came in the meantime reconnects, and is checked
