"""`Objects`: which objects belong to which split."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from ..synthetic.objects.build import ProceduralObject, build_object
from ..synthetic.objects.catalogue import CATEGORIES, HELD_OUT

FIRST_SEED = {"train": 0, "val": 1_000_000, "test": 2_000_000}
"""Seeds of a split: a million from here on."""
MOST = 1_000_000
SEEN: tuple[str, ...] = tuple(c for c in CATEGORIES if c not in HELD_OUT)
"""Categories that may be trained on."""


class Objects:
    """Procedural objects as a list of (category, seed), the categories taking turns.

    Splits never share an object. Held-out categories are in no split unless they are asked for, and never in "train".

    Args:
        split: "train", "val" or "test".
        count: objects per category, a million at most.
        categories: some of `CATEGORIES`; by default those that are not held out. `HELD_OUT` tests unseen categories.

    Raises:
        InputError: an unknown split or category, an impossible count, a held-out category in "train".
    """

    def __init__(self, split: str = "train", count: int = 100, categories: Sequence[str] | None = None) -> None:
        if split not in FIRST_SEED:
            raise InputError("split", "train, val or test", repr(split))
        if not 1 <= count <= MOST:
            raise InputError("count", f"1 to {MOST:,} objects per category", f"{count}")
        self.class_names = SEEN if categories is None else tuple(categories)
        unknown = [c for c in self.class_names if c not in CATEGORIES]
        if unknown or not self.class_names:
            raise InputError("categories", "some of " + ", ".join(CATEGORIES), ", ".join(unknown) or "none")
        withheld = [c for c in self.class_names if split == "train" and c in HELD_OUT]
        if withheld:
            raise InputError("categories", "none of the held-out ones in the training split", ", ".join(withheld))
        self.split = split
        self.count = count

    def __len__(self) -> int:
        return self.count * len(self.class_names)

    def __getitem__(self, index: int) -> tuple[str, int]:
        """Category and seed of object ``index``, for `build_object`."""
        row, column = divmod(range(len(self))[index], len(self.class_names))
        return self.class_names[column], FIRST_SEED[self.split] + row

    def label(self, index: int) -> int:
        """Row of ``class_names`` that object ``index`` belongs to."""
        return range(len(self))[index] % len(self.class_names)

    def object(self, index: int) -> ProceduralObject:
        """Object ``index``, made now."""
        return build_object(*self[index])
