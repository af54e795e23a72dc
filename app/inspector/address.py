"""What a browser shows as the query string of the page's address: ``?scene=2&layer=Depth&cam=…``.

Not its fragment: viser's page takes all of its address before a ``?`` for that of the server. It also writes the query
string again without escapes, so characters with a meaning in it are written in an escape of our own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import parse_qsl, quote, urlencode

from ...core.errors import InputError
from ..render.catalog import LAYERS, MIXABLE, Layer
from ..render.options import Mix

MAX_LENGTH = 2000
"""Largest number of characters of a query string."""

_MIXES = get_args(Mix)
_RESERVED, _ESCAPE = re.compile(r"[&#%+=?~;\"<>]"), re.compile(r"~([0-9a-f]{2})")


@dataclass(frozen=True)
class Address:
    """A view that can be opened again.

    Attributes:
        scene: index of the scene, counted from 0.
        layer: layer of the canvas, or None for the scene's own choice.
        second, mix, at: the second layer, see `RenderOptions`.
        question: phrases of the text query, or "".
        camera: position [3] and orbit centre [3] (m, world) and vertical field of view (radians), or None.
        step: training step of the time line, or None for the newest.
    """

    scene: int = 0
    layer: Layer | None = None
    second: Layer = "Features"
    mix: Mix = "Off"
    at: float = 0.5
    question: str = ""
    camera: tuple[float, ...] | None = None
    step: int | None = None

    def text(self) -> str:
        """The query string, without its ``?``."""
        values: dict[str, Any] = {"scene": self.scene + 1}
        if self.layer is not None:
            values["layer"] = self.layer
        if self.mix != "Off":
            values |= {"second": self.second, "mix": self.mix, "at": f"{self.at:.3g}"}
        if self.question:
            values["q"] = _RESERVED.sub(lambda found: f"~{ord(found[0]):02x}", self.question)
        if self.step is not None:
            values["step"] = self.step
        if self.camera is not None:
            values["cam"] = ",".join(f"{v:.4g}" if abs(v) < 1 else f"{v:.3f}" for v in self.camera)
        return urlencode(values, quote_via=quote, safe=",")

    @staticmethod
    def parse(text: str) -> Address:
        """Read a query string; `InputError` for values that cannot be read. Unknown names are ignored."""
        if len(text) > MAX_LENGTH:
            raise _refused(f"at most {MAX_LENGTH} characters", f"{len(text):,}")
        values = dict(parse_qsl(text.removeprefix("?")))
        camera = None
        if "cam" in values:
            camera = tuple(_number(v) for v in values["cam"].split(","))
            if len(camera) != 7 or not 0.05 < camera[6] < 3.1 or camera[:3] == camera[3:6]:
                raise _refused("cam=X,Y,Z,X,Y,Z,FOV of two places", values["cam"])
        return Address(
            _index(values["scene"]) - 1 if "scene" in values else 0,
            _among(values["layer"], LAYERS) if "layer" in values else None,
            _among(values.get("second", "Features"), MIXABLE),
            _among(values.get("mix", "Off"), _MIXES),
            min(1.0, max(0.0, _number(values.get("at", "0.5")))),
            _ESCAPE.sub(lambda found: chr(int(found[1], 16)), values.get("q", "")),
            camera,
            _index(values["step"], 0) if "step" in values else None,
        )


def _refused(expected: str, found: str) -> InputError:
    return InputError("the page's address", expected, found[:80], "open the page without what follows the ?")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _refused("a number", text) from None
    if not math.isfinite(value) or abs(value) > 1e6:
        raise _refused("a number up to a million", text)
    return value


def _index(text: str, least: int = 1) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) >= least):
        raise _refused(f"a whole number from {least} on", text)
    return int(text)


def _among(text: str, options: Any) -> Any:
    if text not in options:
        raise _refused("one of " + ", ".join(options), text)
    return text
