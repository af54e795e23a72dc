"""Frames of rooms with what can be said of each thing in them: what the built-in image/text model learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..synthetic.render.trace import Tracer
from ..synthetic.rooms.captions import Description, describe, thing_ids
from ..synthetic.rooms.render import PixelRays
from ..synthetic.rooms.room import build_room
from .rooms import Rooms

NOTHING = -9
"""Id of pixels that show nothing that has a description."""


@dataclass(frozen=True)
class CaptionedRoom:
    """F frames of one room.

    Attributes:
        color: [F, H, W, 3] uint8 sRGB.
        ids: [F, h, w] int16, which thing each pixel shows (see `thing_ids`), on a grid that covers the same image.
        things: id → description.
        kind: "kitchen", "bedroom", …
    """

    color: NDArray[np.uint8]
    ids: NDArray[np.int16]
    things: dict[int, Description]
    kind: str


def captioned_room(rooms: Rooms, index: int, every: int = 1, shrink: int = 2) -> CaptionedRoom:
    """Room ``index`` with every ``every``-th of its frames; ids at 1/``shrink`` of their size, by casting rays."""
    frames = rooms.frames(index)
    picked = list(range(0, len(frames), every))
    cameras = frames.cameras
    color = [frames.read(i, cameras.width, cameras.height).color for i in picked]
    room = build_room(rooms.seed(index))
    tracer = Tracer(room.vertices, room.faces)
    things = describe(room)
    owner = thing_ids(room)
    small = cameras.resized(cameras.width // shrink, cameras.height // shrink)
    ids = np.full((len(picked), small.height, small.width), NOTHING, np.int16)
    for row, i in enumerate(picked):
        face = tracer.first(*PixelRays(small, i).through(0.5, 0.5))
        met = face >= 0
        ids[row].reshape(-1)[met] = owner[face[met]]
    return CaptionedRoom(np.rint(np.stack(color) * 255).astype(np.uint8), ids, things, room.kind)
