"""Simulated browser: speaks viser's protocol, moves its camera and counts images, without rendering anything.

Measurements with it contain the server's work alone.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

_BLANK = 1000
"""Image size in bytes below which a message holds only the grey placeholder."""


class BlindBrowser:
    """Client of the inspector, connected until closed. Needs viser's dependencies.

    Args:
        url: address of the inspector.
        center: centre of the orbit, metres.
        radius: radius of the orbit, metres.
        width, height: size of its canvas, pixels.
        rate: camera messages per second while orbiting.
    """

    def __init__(
        self,
        url: str,
        center: np.ndarray,
        radius: float = 2.0,
        width: int = 1280,
        height: int = 960,
        rate: float = 30.0,
    ) -> None:
        import msgspec
        import viser
        import zstandard
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        self._encode, self._decode = msgspec.msgpack.encode, msgspec.msgpack.decode
        self._expand = zstandard.ZstdDecompressor().decompress
        self._center, self._radius, self._size, self._rate = np.asarray(center, float), radius, (width, height), rate
        self._angle, self.orbiting, self._closed = 0.0, False, False
        self.pictures: list[float] = []
        """Arrival times of images, seconds of ``time.perf_counter``."""
        protocol = Subprotocol(f"viser-v{viser.__version__}")
        self._socket = connect(url.replace("http", "ws", 1), subprotocols=[protocol], max_size=None)
        self._look()
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._listen, self._move)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> BlindBrowser:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._threads[1].join(5)  # before closing: it sends to the connection
        self._socket.close()
        self._threads[0].join(5)

    def wait(self, pictures: int, seconds: float = 120.0) -> None:
        """Wait until ``pictures`` images have arrived in total.

        Raises:
            TimeoutError: after ``seconds``.
        """
        wait_until(lambda: len(self.pictures) >= pictures, seconds)

    def _look(self) -> None:
        c, s = math.cos(self._angle), math.sin(self._angle)
        position = self._center + self._radius * np.array([c, s, 0.3])
        forward = (self._center - position) / np.linalg.norm(self._center - position)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        from viser import transforms

        wxyz = transforms.SO3.from_matrix(np.stack([right, np.cross(forward, right), forward], 1)).wxyz
        message = {
            "type": "ViewerCameraMessage",
            "wxyz": wxyz.tolist(),
            "position": position.tolist(),
            "fov": 1.0,
            "near": 0.01,
            "far": 1000.0,
            "image_height": self._size[1],
            "image_width": self._size[0],
            "look_at": self._center.tolist(),
            "up_direction": [0.0, 0.0, 1.0],
        }
        self._socket.send(self._encode(message))

    def _move(self) -> None:
        while not self._closed:
            time.sleep(1 / self._rate)
            if self.orbiting and not self._closed:
                self._angle += 0.6 / self._rate
                self._look()

    def _listen(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while not self._closed:
                data = self._socket.recv()
                assert isinstance(data, bytes)
                packed = int.from_bytes(data[8:16], "little")
                for message in self._decode(self._expand(data[16 : 16 + packed]))["messages"]:
                    # Before the first render the page shows a placeholder of a few grey pixels.
                    if message["type"] == "BackgroundImageMessage" and len(message["rgb_data"] or b"") > _BLANK:
                        self.pictures.append(time.perf_counter())
        except ConnectionClosed:
            return


class BrowserElsewhere:
    """A `BlindBrowser` in a process of its own, so that its work is not counted as the server's.

    Args:
        url, center, radius: see `BlindBrowser`.
    """

    def __init__(self, url: str, center: np.ndarray, radius: float = 2.0) -> None:
        arguments = [url, str(radius), *(str(float(v)) for v in center)]
        command = [sys.executable, "-m", __name__, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._send("look")

    def orbit(self) -> None:
        """Move the camera from now on."""
        self._send("orbit")

    def _send(self, command: str) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise RuntimeError(f"the browser ended with exit code {self._process.wait()}")

    def __enter__(self) -> BrowserElsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closing its input ends it


def _elsewhere(arguments: Sequence[str]) -> None:
    """Run the browser in the other process: execute the commands on stdin line by line, answering each."""
    url, radius, *center = arguments
    with BlindBrowser(url, np.array([float(v) for v in center]), float(radius)) as browser:
        for line in sys.stdin:
            browser.wait(1)
            browser.orbiting |= line.strip() == "orbit"
            print("done", flush=True)


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: after ``seconds``.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"no response within {seconds:.0f} s")
        time.sleep(0.002)


if __name__ == "__main__":
    _elsewhere(sys.argv[1:])
