"""Rules for connections to the inspector: origin checks, loopback addresses, the public tunnel.

A page of any web site can open a WebSocket to 127.0.0.1 from the visitor's browser. The browser names that site in the
``Origin`` header; viser does not check it, so the inspector does. A foreign name may also be made to resolve to the
address of this machine (DNS rebinding); origin and host then agree, so that only names that are this machine's count.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import viser

from .viser_internals import check_connections

HEADERS = {
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers of the page: no other page may show it in a frame and catch clicks meant for it."""

TUNNEL_SECONDS = 20.0
"""Timeout (s) for an answer of viser's relay."""


def origin_allowed(
    origin: str | None, host: str | None, bound: str, public: str | None = None, names: Collection[str] = ()
) -> bool:
    """Whether a WebSocket from ``origin`` may connect.

    Args:
        origin: the ``Origin`` header; None is allowed, since browsers always send one and programs need not.
        host: the ``Host`` header.
        bound: address that the server listens on. Origin and host must agree, and be a loopback address or one of
            ``names``. Other addresses and names of this machine count only if ``bound`` is no loopback address, so
            that a foreign name which resolves to 127.0.0.1 gains nothing.
        public: address of the public tunnel, whose page is allowed too, or None.
        names: further names of this machine, such as a proxy's, on any ``bound``.
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
    named = name.lower() in {n.lower() for n in names}  # a proxy of this machine, in front of a loopback address
    return same and (is_loopback(name) or named or (not is_loopback(bound) and _is_own(name)))


def _is_own(name: str) -> bool:
    """Whether a host name is an address, or a name that only this machine has."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        return name.lower() in {own, short, f"{short}.local"}
    return True


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_foreign_origins(
    server: viser.ViserServer,
    bound: str,
    public: Callable[[], str | None] = lambda: None,
    names: Collection[str] = (),
) -> None:
    """Close connections from foreign pages before anything is sent to them; arguments as in `origin_allowed`."""
    check_connections(server, lambda origin, host: origin_allowed(origin, host, bound, public(), names))


def open_tunnel(server: viser.ViserServer, seconds: float = TUNNEL_SECONDS) -> str | None:
    """Open a public address of the server through viser's relay, share.viser.studio; ``server.stop`` closes it.

    Returns:
        The address, or None when the relay did not answer in time.
    """
    answers: list[str | None] = []
    request = threading.Thread(
        target=lambda: answers.append(server.request_share_url(verbose=False)), name="inspector-tunnel", daemon=True
    )
    request.start()
    request.join(seconds)
    if not answers:  # a late answer must not open a tunnel unnoticed
        server.disconnect_share_url()
        return None
    return answers[0]
