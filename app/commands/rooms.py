"""`gaussiancross rooms`: the built-in rooms on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ...core.errors import InputError
from ...core.synthetic.rooms.preview import save_sheet
from ...core.synthetic.rooms.recipes import KINDS


@dataclass(frozen=True)
class RoomSheet:
    """Draw procedural rooms: pictures of a walk, depth, labels, and the room from above; one row per seed."""

    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Which rooms. Training rooms count from 0, held-out ones from 1000000, test rooms from 2000000."""
    out: Path = Path("rooms.png")
    """Image file to write."""
    views: int = 4
    """Pictures per room."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="{" + ",".join(KINDS) + "}")] = None
    """Make every room one of this kind."""


def main(args: Sequence[str]) -> int:
    given = tyro.cli(RoomSheet, args=args, prog="gaussiancross rooms")
    if given.kind is not None and given.kind not in KINDS:
        raise InputError("--kind", "one of " + ", ".join(KINDS), repr(given.kind))
    if not given.out.absolute().parent.is_dir():
        raise InputError(given.out, "a file in an existing folder", "no such folder")
    save_sheet(given.seeds, given.out, given.views, given.kind)
    print(f"wrote {given.out}")
    return 0
