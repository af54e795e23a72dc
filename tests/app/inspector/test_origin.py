"""Which web pages may connect to the inspector."""

from __future__ import annotations

import socket
import urllib.request

import pytest
import viser
from gaussiancross.app.inspector.access import HEADERS, is_loopback, origin_allowed
from gaussiancross.app.inspector.viser_internals import send_headers


@pytest.mark.parametrize(
    ("origin", "host", "bound", "allowed"),
    [
        (None, "127.0.0.1:7007", "127.0.0.1", True),  # not a browser
        ("http://127.0.0.1:7007", "127.0.0.1:7007", "127.0.0.1", True),
        ("http://localhost:7007", "localhost:7007", "127.0.0.1", True),
        ("http://[::1]:7007", "[::1]:7007", "::1", True),
        ("http://evil.example", "127.0.0.1:7007", "127.0.0.1", False),
        ("http://evil.example:7007", "evil.example:7007", "127.0.0.1", False),  # a name that resolves to 127.0.0.1
        ("http://localhost:8000", "localhost:7007", "127.0.0.1", False),  # another server of this machine
        ("null", "127.0.0.1:7007", "127.0.0.1", False),
        ("http://[bad", "127.0.0.1:7007", "127.0.0.1", False),
        ("file://", "127.0.0.1:7007", "127.0.0.1", False),
        ("http://gpu-box:7007", "gpu-box:7007", "0.0.0.0", True),
        ("http://gpu-box.lab.example:7007", "gpu-box.lab.example:7007", "0.0.0.0", True),
        ("http://10.0.0.5:7007", "10.0.0.5:7007", "0.0.0.0", True),
        ("http://proxy.example:7007", "proxy.example:7007", "0.0.0.0", True),  # named by --allow-host
        ("http://proxy.example", "proxy.example", "127.0.0.1", True),  # a proxy on this machine
        ("http://gpu-box:7007", "gpu-box:7007", "127.0.0.1", False),
        ("http://evil:7007", "evil:7007", "0.0.0.0", False),  # a name that was made to resolve to this machine
        ("http://evil.example", "gpu-box:7007", "0.0.0.0", False),
    ],
)
def test_origin(origin, host, bound, allowed, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-box.lab.example")
    assert origin_allowed(origin, host, bound, names=("proxy.example",)) is allowed


def test_the_page_is_shown_in_no_frame():
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    try:
        for _ in range(2):
            send_headers(HEADERS)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}/", timeout=10) as page:
            assert page.headers.get_all("X-Frame-Options") == ["DENY"]
            assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
            assert b"<html" in page.read().lower()
    finally:
        server.stop()


def test_loopback():
    assert is_loopback("localhost") and is_loopback("127.0.0.2") and is_loopback("::1")
    assert not is_loopback("0.0.0.0") and not is_loopback("10.0.0.1") and not is_loopback("example.org")
