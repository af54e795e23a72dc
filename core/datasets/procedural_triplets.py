"""Procedural objects as triplets of Gaussians, renders and captions, stored per category.

    <root>/objects-<digest>/<category>/<split>-<number>.npz    Gaussians, Y up (`core.data.objects.read_object`)
    <root>/objects-<digest>/<category>/<split>-<number>.jpg    renders side by side
    <root>/objects-<digest>/<category>/captions.json           file stem → caption

The folder name holds a digest of the generator's version and the configuration, so others never read its files.
`core.datasets.objects.embeddings` embeds them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.objects import rotate_to_y_up, write_object_npz
from ..errors import InputError
from ..io.json_files import read_json
from ..io.plain_files import check_plain
from ..synthetic.objects.build import OBJECTS_VERSION, build_object
from ..synthetic.objects.captions import describe
from ..synthetic.objects.catalogue import CATEGORIES, HELD_OUT
from ..synthetic.objects.gaussians import object_gaussians
from ..synthetic.objects.light import light_object
from ..synthetic.objects.render import render_object
from ..synthetic.rooms.captions import Description
from .objects.triplets import TripletObject
from .prepare.tasks import Task
from .procedural_objects import FIRST_SEED, SEEDS_PER_SPLIT

UNSEEN = "unseen"
"""Split of the held-out categories."""
CAPTIONS = "captions.json"
_VERSION = 2
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class ObjectTripletsConfig:
    """Numbers of objects, and what is recorded of each."""

    train: int = 40
    """Training objects per seen category."""
    val: int = 1
    """Validation objects per seen category."""
    test: int = 5
    """Test objects per seen category."""
    unseen: int = 20
    """Test objects per held-out category."""
    gaussians: int = 1024
    """Gaussians per object."""
    views: int = 6
    """Renders per object."""
    size: int = 128
    """Width and height of a render, pixels."""
    categories: tuple[str, ...] = CATEGORIES
    """Categories to use, seen and held out."""

    def __post_init__(self) -> None:
        counts = (self.train, self.val, self.test, self.unseen)
        if min(counts) < 0 or max(counts) > SEEDS_PER_SPLIT or self.train < 1:
            expected = f"0 to {SEEDS_PER_SPLIT:,}, and at least 1 to train on"
            raise InputError("objects per category", expected, str(counts))
        if self.gaussians < 64 or self.views < 1 or self.size < 16:
            found = f"{self.gaussians}, {self.views}, {self.size}"
            raise InputError("gaussians, views and size", "at least 64, 1 and 16", found)
        unknown = sorted(set(self.categories) - set(CATEGORIES))
        if unknown or not set(self.categories) - set(HELD_OUT):
            expected = "categories, some of them not held out"
            raise InputError("categories", expected, ", ".join(unknown or self.categories) or "none")

    @property
    def seen(self) -> tuple[str, ...]:
        """Categories that are trained on."""
        return tuple(c for c in self.categories if c not in HELD_OUT)

    def counts(self, category: str) -> dict[str, tuple[int, int]]:
        """Split → (first seed, number of objects) of a category."""
        if category in HELD_OUT:
            return {UNSEEN: (FIRST_SEED["test"], self.unseen)}
        return {s: (FIRST_SEED[s], n) for s, n in (("train", self.train), ("val", self.val), ("test", self.test))}

    @property
    def folder(self) -> str:
        """Name of the folder; see the module."""
        own = {k: v for k, v in asdict(self).items() if k != "categories"}
        key = json.dumps([_VERSION, OBJECTS_VERSION, own], sort_keys=True)
        return f"objects-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def object_tasks(root: Path | str, config: ObjectTripletsConfig) -> list[Task]:
    """One task per category, for `core.datasets.prepare.tasks.run_tasks`."""
    folder = Path(root) / config.folder
    size = 45 * config.gaussians + config.views * config.size**2 // 4
    return [
        Task(name, folder / name, partial(write_category, name, config), size * sum(n for _, n in counts.values()))
        for name, counts in ((name, config.counts(name)) for name in config.categories)
    ]


def write_category(category: str, config: ObjectTripletsConfig, folder: Path) -> None:
    """Write all objects of one category into its folder."""
    captions = {}
    for split, (first, count) in config.counts(category).items():
        for i in range(count):
            lit = light_object(build_object(category, first + i))
            name = f"{split}-{i:05d}"
            description = describe(lit.obj)
            # Half of the training objects are captioned by their name alone, as in zero-shot classification.
            captions[name] = description.name if split == "train" and i % 2 else short_caption(description)
            gaussians = rotate_to_y_up(object_gaussians(lit, config.gaussians), "z")
            write_object_npz(folder / f"{name}.npz", gaussians)
            color, _ = render_object(lit, config.views, config.size, config.size)
            Image.fromarray(np.concatenate(list(color), 1)).save(
                folder / f"{name}.jpg", quality=_JPEG_QUALITY, subsampling=0
            )
    (folder / CAPTIONS).write_text(json.dumps(captions, indent=1), encoding="utf-8")


def short_caption(description: Description) -> str:
    """Short, specific caption: "tall red wooden chair"."""
    d = description
    return " ".join([*d.sizes[:1], *d.colors[:1], *d.materials[:1], d.name])


def list_triplets(root: Path | str, config: ObjectTripletsConfig) -> list[TripletObject]:
    """All objects of finished folders, categories interleaved within a split.

    Raises:
        InputError: a missing or damaged category.
    """
    found = []
    for number, category in enumerate(config.categories):
        path = Path(root) / config.folder / category / CAPTIONS
        try:
            captions = {_split_and_number(name): (name, str(text)) for name, text in read_json(path).items()}
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(path, "the captions of a category", str(error), "generate the objects again") from error
        for (split, i), (name, text) in captions.items():
            file = f"{config.folder}/{category}/{name}.npz"
            found.append(((split, i, number), TripletObject(f"{category}/{name}", file, text, split, category)))
    return [o for _, o in sorted(found, key=lambda pair: pair[0])]


def _split_and_number(name: str) -> tuple[str, int]:
    """Parts of a name such as "train-00012"; ValueError for others."""
    split, number = name.rsplit("-", 1)
    return split, int(number)


def read_renders(root: Path | str, file: str) -> NDArray[np.uint8]:
    """[V, S, S, 3] renders of the object whose Gaussians are in ``file``, relative to ``root``."""
    path = (Path(root) / file).with_suffix(".jpg")
    try:
        check_plain(path)
        with Image.open(path) as picture:
            strip = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise InputError(path, "an object's renders side by side", str(error)) from error
    size, width = strip.shape[:2]
    if width % size:
        raise InputError(path, "square renders side by side", f"{width} × {size} pixels")
    return np.ascontiguousarray(strip.reshape(size, width // size, size, 3).swapaxes(0, 1))
