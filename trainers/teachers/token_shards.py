"""Stored tokens of a frozen DINOv2 on captioned views: computed once, one file per room, resumable.

python -m gaussiancross.trainers.teachers.token_shards --checkpoint FOLDER --out FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...core.datasets.captioned_rooms import read_captioned_room
from ...core.datasets.rooms import Rooms
from ...core.errors import InputError
from ...core.io.atomic import atomic_file
from ...core.io.json_files import parse_json, read_json
from ...core.io.plain_files import check_plain
from ...core.synthetic.objects import CATEGORIES
from ...core.synthetic.objects.categories.furniture import FURNITURE
from ...core.synthetic.rooms.captions import Description
from ...core.teachers.builtin_dino import joined_layers, standard_tokens
from ...core.teachers.transformer import TransformerTeacher
from .captioned_views import object_view, room_view
from .captions import captioned_object

GRID = (16, 22)
"""(h, w) tokens of a view."""
CELLS = 2
"""Cells of ids per side of a token."""
ABOUT = "about.json"
"""File that describes checkpoint, layers and command."""
REMEDY = "delete the file, and run token_shards again"


@dataclass(frozen=True)
class TokenShards:
    """Render captioned rooms, and store the tokens of augmented views of each."""

    checkpoint: str
    """Folder or name of the DINOv2 checkpoint."""
    out: Path
    """Folder of the files."""
    backbone: str = "DINOv2-S"
    """Name of the checkpoint and its origin, for the card of the head."""
    rooms: int = 120
    """Number of rooms."""
    split: str = "train"
    """Split of the rooms."""
    layers: tuple[int, ...] = (9, 11)
    """Layers whose tokens are joined."""
    room_views: int = 8
    """Views of a room."""
    object_views: int = 3
    """Views of objects, per room."""
    objects: int = 6
    """Procedural objects per room; half of them furniture."""
    part: tuple[int, int] = (0, 1)
    """(k, n): only rooms k, k + n, k + 2n, …, to share the work between processes."""


@dataclass(frozen=True)
class TokenShard:
    """Views of one room.

    Attributes:
        tokens: [V, h, w, D] float16.
        ids: [V, 2h, 2w] int16.
        things: per view, id → description.
    """

    tokens: Tensor
    ids: NDArray[np.int16]
    things: list[dict[int, Description]]


def shard_path(folder: Path, split: str, index: int) -> Path:
    return folder / f"{split}_{index:06d}.safetensors"


def write_shard(config: TokenShards, teacher: TransformerTeacher, rooms: Rooms, index: int) -> None:
    """Compute and store the views of room ``index``, unless they are stored already."""
    path = shard_path(config.out, config.split, index)
    if path.is_file():
        return
    rng = np.random.default_rng([index, 7])
    room = read_captioned_room(rooms, index, every=3)
    keys = object_keys(index, config.objects)
    objects = [captioned_object(category, seed, 3, sizes=False) for category, seed in keys]
    size, cell = (GRID[0] * teacher.patch, GRID[1] * teacher.patch), teacher.patch // CELLS
    views = [room_view(room, objects, rng, size, cell) for _ in range(config.room_views)]
    views += [object_view(room, objects, rng, size, cell) for _ in range(config.object_views)]
    tokens = standard_tokens(teacher, torch.stack([v.image.permute(1, 2, 0) for v in views]))
    things = [room.things | v.things if k < config.room_views else v.things for k, v in enumerate(views)]
    save_shard(path, TokenShard(tokens.half(), np.stack([v.ids for v in views]), things))


def save_shard(path: Path, shard: TokenShard) -> None:
    """Write one file."""
    about = [{i: asdict(d) for i, d in one.items()} for one in shard.things]
    with atomic_file(path) as partial:
        content = {"tokens": shard.tokens.contiguous(), "ids": torch.from_numpy(shard.ids)}
        save_file(content, partial, {"things": json.dumps(about)})


def object_keys(index: int, count: int) -> list[tuple[str, int]]:
    """(category, seed) of the objects of room ``index``: half of them furniture, half of all categories, in turn."""
    furniture, keys = sorted(FURNITURE), []
    for n in range(index * count, (index + 1) * count):
        names = furniture if n % 2 else CATEGORIES
        keys.append((names[n // 2 % len(names)], n // 2 // len(names)))
    return keys


def write_about(config: TokenShards, teacher: TransformerTeacher) -> None:
    """Write `ABOUT`: what the tokens are.

    Raises:
        InputError: the folder holds tokens of another checkpoint, other layers or other views.
    """
    about = {
        "backbone": config.backbone,
        "digest": teacher.digest,
        "layers": list(config.layers),
        "patch": teacher.patch,
        "command": "python -m gaussiancross.trainers.teachers.token_shards --checkpoint CHECKPOINT --out TOKENS "
        f"--rooms {config.rooms} --room-views {config.room_views} --object-views {config.object_views} "
        f"--objects {config.objects}",
    }
    path = config.out / ABOUT
    if path.is_file():
        old = read_json(path)
        differs = [k for k in about if k != "backbone" and not (isinstance(old, dict) and old.get(k) == about[k])]
        if differs:
            found = f"another {' and '.join(differs)}"
            raise InputError(path, "tokens of the same checkpoint and command", found, "give another --out")
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def read_about(path: Path) -> dict[str, Any]:
    """Read `ABOUT`.

    Raises:
        InputError: missing, damaged, or without the keys that the head's card repeats.
    """
    try:
        about = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(path, "a readable JSON file", str(error), "run token_shards again") from error
    types = {"backbone": str, "digest": str, "command": str, "layers": list, "patch": int}
    if not isinstance(about, dict) or any(not isinstance(about.get(key), kind) for key, kind in types.items()):
        raise InputError(path, f"JSON with {', '.join(types)}", "other content", "run token_shards again")
    if any(type(layer) is not int for layer in about["layers"]):
        raise InputError(path, "layers by their integer numbers", str(about["layers"])[:200], "run token_shards again")
    return about


def read_shard(path: Path) -> TokenShard:
    """Read one file of `save_shard`.

    Raises:
        InputError: missing or damaged.
    """
    try:
        check_plain(path)
        with safe_open(path, "pt") as file:
            tokens, ids = file.get_tensor("tokens"), file.get_tensor("ids").numpy()
            about = parse_json(file.metadata()["things"])
        things = [{int(i): _description(d) for i, d in one.items()} for one in about]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(path, "tokens of views, as token_shards writes them", repr(error)[:200], REMEDY) from error
    views = len(things)
    if tokens.dim() != 4 or ids.dtype != np.int16 or not (views == len(tokens) == len(ids)) or ids.ndim != 3:
        found = f"shapes {tuple(tokens.shape)} and {ids.shape} of {views} views"
        raise InputError(path, "tokens [V, h, w, D] and ids [V, 2h, 2w] of V views", found, REMEDY)
    if not torch.isfinite(tokens).all():
        raise InputError(path, "finite tokens", "values that are not finite", REMEDY)
    return TokenShard(tokens, ids, things)


def _description(entry: dict) -> Description:
    relations = tuple((str(a), str(b)) for a, b in entry["relations"])
    return Description(
        entry["name"], *(tuple(entry[k]) for k in ("words", "colors", "materials", "sizes")), relations=relations
    )


def main() -> int:
    config = tyro.cli(TokenShards, prog="python -m gaussiancross.trainers.teachers.token_shards")
    try:
        teacher = joined_layers(config.checkpoint, config.layers)
        rooms = Rooms(config.split, config.rooms)
        config.out.mkdir(parents=True, exist_ok=True)
        write_about(config, teacher)
        for index in track(range(config.rooms)[config.part[0] :: config.part[1]], description="rooms"):
            write_shard(config, teacher, rooms, index)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
