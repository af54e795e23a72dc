"""`gaussiancross rooms`: draw procedural rooms on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...core.errors import InputError
from ...core.synthetic.rooms.preview import save_sheet
from ...core.synthetic.rooms.recipes import ROOM_KINDS


@dataclass(frozen=True)
class RoomSheet:
    """Draw procedural rooms: pictures of a walk, depth, labels, and the room from above; one row per seed."""

    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Seeds of the rooms: training from 0, validation from 1000000, test from 2000000."""
    out: Path = Path("rooms.png")
    """Image file to write."""
    views: int = 4
    """Pictures per room."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="{" + ",".join(ROOM_KINDS) + "}")] = None
    """Kind of all rooms."""


def main(args: Sequence[str]) -> int:
    options = tyro.cli(RoomSheet, args=args, prog="gaussiancross rooms")
    if options.kind is not None and options.kind not in ROOM_KINDS:
        raise InputError("--kind", "one of " + ", ".join(ROOM_KINDS), repr(options.kind))
    if not options.out.absolute().parent.is_dir():
        raise InputError(options.out, "a file in an existing folder", "no such folder")
    save_sheet(options.seeds, options.out, options.views, options.kind)
    print(f"wrote {options.out}")
    return 0
