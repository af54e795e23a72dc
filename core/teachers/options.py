"""Options of checkpoints, written after their name on the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TeacherConfig:
    """Options of a checkpoint, written after its name and separated by commas:
    ``clip:openai/clip-vit-base-patch16,short=640,window=224,trust_remote_code``."""

    short: int = 480
    """Shorter side of the input frames in pixels, rounded to whole patches."""
    window: int = 0
    """Side of a sliding window in pixels; 0 for the whole image. Small windows resolve small objects."""
    stride: int = 0
    """Distance between windows in pixels; half a window by default. Overlaps are averaged."""
    scales: tuple[float, ...] = (1.0,)
    """Scales of the frame whose features are averaged, joined by +, as in ``scales=1+2``."""
    layers: tuple[int, ...] = ()
    """DINO: layers whose tokens are joined, from 1, each normalised, as in ``layers=9+11``; none: the last one."""
    batch: int = 8
    """Number of images or windows per pass."""
    dtype: Precision = "auto"
    """Precision; "auto" is bfloat16 (autocast) on CUDA and float32 on the CPU."""
    device: str = "auto"
    """Device; "auto" is CUDA if available."""
    trust_remote_code: bool = False
    """Run the Python code of the checkpoint (needed for RADIO before v4 and for RADIO's adaptors)."""
    adaptor: str = ""
    """RADIO: adaptor that maps features to the space of a text tower ("clip", "siglip2-g", …)."""
    text: str = ""
    """RADIO: teacher whose text tower belongs to the adaptor; needed for adaptors not listed in `ADAPTOR_TEXT`."""
    revision: str = "main"
    """Branch, tag or commit of the checkpoint."""

    def __post_init__(self) -> None:
        if self.short < 1 or self.window < 0 or self.stride < 0 or self.batch < 1:
            found = f"short {self.short}, window {self.window}, stride {self.stride}, batch {self.batch}"
            raise InputError("teacher options", "positive sizes", found)
        if not self.scales or not all(0 < s < 100 for s in self.scales):
            raise InputError("teacher option scales", "factors above 0, as in scales=1+2", repr(self.scales))
        if min(self.layers, default=1) < 1 or len(set(self.layers)) < len(self.layers):
            raise InputError("teacher option layers", "different numbers from 1, as in layers=9+11", repr(self.layers))
        if self.dtype not in get_args(Precision):
            raise InputError("teacher option dtype", "one of " + ", ".join(get_args(Precision)), repr(self.dtype))


def parse_options(argument: str) -> tuple[str, TeacherConfig]:
    """Split ``"CHECKPOINT,name=value,flag"`` into the checkpoint and its options.

    Raises:
        InputError: an unknown option or an impossible value; lists the options.
    """
    checkpoint, *parts = argument.split(",")
    fields = {f.name: type(f.default) for f in dataclasses.fields(TeacherConfig)}
    values = {}
    for part in parts:
        name, equals, value = part.strip().partition("=")
        kind = fields.get(name)
        if kind is None:
            raise InputError(f"teacher option {name!r}", "one of " + ", ".join(fields), "an unknown option")
        try:
            values[name] = _parse_value(kind, value if equals else "true", whole=name == "layers")
        except ValueError:
            expected = {bool: "true or false", int: "a whole number", tuple: "numbers joined by +"}.get(kind, "text")
            raise InputError(f"teacher option {name}", expected, repr(value)) from None
    return checkpoint, TeacherConfig(**values)


def _parse_value(kind: type, value: str, whole: bool) -> object:
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(value)
        return value.lower() == "true"
    if kind is tuple:
        return tuple((int if whole else float)(v) for v in value.split("+"))
    return kind(value)
