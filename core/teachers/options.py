"""How a checkpoint is asked: options that follow it on the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TeacherConfig:
    """Options of a teacher from a checkpoint, written after it and separated by commas:
    ``clip:openai/clip-vit-base-patch16,short=640,window=224,trust_remote_code``."""

    short: int = 480
    """Shorter side of the frames it sees, pixels, rounded to whole patches; the longer follows from the camera."""
    window: int = 0
    """Side of a sliding window, pixels; 0 shows it the whole image. Small windows on large frames find small
    objects."""
    stride: int = 0
    """From window to window, pixels; half a window by default. Overlaps are averaged."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes of the frame whose features are averaged, joined by +, as in ``scales=1+2``."""
    batch: int = 8
    """Images or windows at a time."""
    dtype: Precision = "auto"
    """Arithmetic: bfloat16 (autocast) on CUDA and float32 on the CPU, unless given."""
    device: str = "auto"
    """"cuda" where there is one, unless given."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the checkpoint (RADIO before v4, and RADIO's adaptors)."""
    adaptor: str = ""
    """RADIO: the adaptor whose space features are taken to, for text ("clip", "siglip2-g", …)."""
    text: str = ""
    """RADIO: the teacher whose text tower belongs to the adaptor, where it is not known."""
    revision: str = "main"
    """Branch, tag or commit of the checkpoint."""

    def __post_init__(self) -> None:
        if self.short < 1 or self.window < 0 or self.stride < 0 or self.batch < 1:
            found = f"short {self.short}, window {self.window}, stride {self.stride}, batch {self.batch}"
            raise InputError("teacher options", "positive sizes", found)
        if not self.scales or not all(0 < s < 100 for s in self.scales):
            raise InputError("teacher option scales", "factors above 0, as in scales=1+2", repr(self.scales))
        if self.dtype not in get_args(Precision):
            raise InputError("teacher option dtype", "one of " + ", ".join(get_args(Precision)), repr(self.dtype))


def parse_options(argument: str) -> tuple[str, TeacherConfig]:
    """``"CHECKPOINT,name=value,flag"`` → the checkpoint and its options.

    Raises:
        InputError: an unknown option or an impossible value; lists the options.
    """
    checkpoint, *parts = argument.split(",")
    fields = {f.name: type(f.default) for f in dataclasses.fields(TeacherConfig)}
    given = {}
    for part in parts:
        name, equals, value = part.strip().partition("=")
        kind = fields.get(name)
        if kind is None:
            raise InputError(f"teacher option {name!r}", "one of " + ", ".join(fields), "an unknown option")
        try:
            given[name] = _parsed(kind, value if equals else "true")
        except ValueError:
            wanted = {bool: "true or false", int: "a whole number", tuple: "numbers joined by +"}.get(kind, "text")
            raise InputError(f"teacher option {name}", wanted, repr(value)) from None
    return checkpoint, TeacherConfig(**given)


def _parsed(kind: type, value: str) -> object:
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(value)
        return value.lower() == "true"
    if kind is tuple:
        return tuple(float(v) for v in value.split("+"))
    return kind(value)
