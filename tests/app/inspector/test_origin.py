"""Which web pages may connect to the inspector."""

from __future__ import annotations

import pytest
from gaussiancross.app.inspector.access import is_loopback, origin_allowed


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
        ("http://evil.example", "gpu-box:7007", "0.0.0.0", False),
    ],
)
def test_origin(origin, host, bound, allowed):
    assert origin_allowed(origin, host, bound) is allowed


def test_loopback():
    assert is_loopback("localhost") and is_loopback("127.0.0.2") and is_loopback("::1")
    assert not is_loopback("0.0.0.0") and not is_loopback("10.0.0.1") and not is_loopback("example.org")
