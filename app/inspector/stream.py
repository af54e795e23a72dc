"""The CUDA stream of the render thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class RenderStream:
    """Context of one job of the render thread: on CUDA, a stream of its own.

    On the training's stream, each kernel of a picture would queue behind the kernels of a training step, which are
    launched far ahead. The job begins after what the device had to do at its start, and ends when its own kernels have,
    so that other threads may use its results.

    Args:
        device: device of the pictures.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if self._device.type != "cuda":
            yield
            return
        if self._stream is None:  # 0 is the lowest priority
            self._stream = torch.cuda.Stream(self._device, priority=0)
        self._stream.wait_stream(torch.cuda.default_stream(self._device))
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            self._stream.synchronize()
