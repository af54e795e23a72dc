"""What a reader may do with a damaged file: read finite numbers or raise an `InputError`, soon, in little memory."""

from __future__ import annotations

import dataclasses
import faulthandler
import signal
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gaussiancross.core.errors import InputError

MOST_SECONDS = 2.0
"""Of processor time, for one file."""

HANGS = 60.0
"""Of wall-clock time: a reader that takes longer is stopped."""

MOST_TIMES, SPARE = 4, 16 << 20
"""Memory: this many times the file's size, plus this many bytes."""


class Hang(BaseException):
    """A reader was stopped. No `Exception`, so that no reader takes it for an error of its own."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Hang` in the main thread after some seconds of wall-clock time.

    Code that never returns to Python is not stopped; after twice the time the stacks are printed and the process ends.
    """

    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(2 * seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def verdict(read: Callable[[], Any], size: int, measure_memory: bool = False, hangs: float = HANGS) -> tuple[str, str]:
    """("accepted" or "refused", ""), or ("crash", "hang", "slow", "memory" or "not finite", what was seen)."""
    if measure_memory:
        tracemalloc.start()
    began = time.process_time()
    try:
        with warnings.catch_warnings(), time_limit(hangs):
            warnings.simplefilter("ignore")
            result, kind = read(), "accepted"
    except InputError as error:
        result, kind = None, "refused"
        if len(str(error)) > 2000:
            return "crash", f"a message of {len(str(error))} letters"
    except Hang:
        return "hang", f"stopped after {hangs:g} s"
    except Exception as error:
        return "crash", f"{type(error).__name__}: {error}"[:300]
    finally:
        seconds = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1] if measure_memory else 0
        tracemalloc.stop()
    if seconds > MOST_SECONDS:
        return "slow", f"{seconds:.1f} s"
    if peak > MOST_TIMES * size + SPARE:
        return "memory", f"{peak / 1e6:.0f} MB for {size} bytes"
    if bad := next((name for name, values in arrays(result) if not np.isfinite(values).all()), None):
        return "not finite", bad
    return kind, ""


def arrays(value: Any, name: str = "result", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(name, array) of all floating-point arrays and tensors in a result."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        if value.dtype.names:
            value = {field: value[field] for field in value.dtype.names}
        elif value.dtype.kind == "f":
            yield name, value
            return
    if depth > 5:
        return
    if isinstance(value, float):
        yield name, np.float64(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from arrays(item, f"{name}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value[:50]):
            yield from arrays(item, f"{name}[{i}]", depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from arrays(getattr(value, field.name), f"{name}.{field.name}", depth + 1)
