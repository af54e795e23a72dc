"""Descriptions of the things in a room: names, synonyms, colours, materials, sizes and relations.

`vocabulary` lists all words; they are those of the bundled text model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ...data.classes import SCANNET20
from ..materials import textures as T
from ..materials.materials import RGB, to_linear
from .room import Room

SYNONYMS: dict[str, tuple[str, ...]] = {
    "armchair": ("easy chair", "chair"),
    "basket": (),
    "bathtub": ("tub", "bath"),
    "bed": (),
    "bench": (),
    "bin": ("trash can", "waste bin"),
    "blind": ("window blind", "roller blind"),
    "books": ("book", "row of books"),
    "bookshelf": ("bookcase", "shelf"),
    "bottle": (),
    "bowl": (),
    "box": ("carton", "cardboard box"),
    "cabinet": ("cupboard",),
    "ceiling": (),
    "ceiling lamp": ("ceiling light", "lamp"),
    "chair": (),
    "clock": ("wall clock",),
    "coat rack": ("coat stand",),
    "counter": ("countertop", "worktop"),
    "cup": ("mug",),
    "curtain": ("drapes",),
    "desk": ("writing desk",),
    "desk lamp": ("reading lamp", "lamp"),
    "door": (),
    "dresser": ("chest of drawers",),
    "filing cabinet": ("file cabinet", "cabinet"),
    "floor": (),
    "floor lamp": ("standing lamp", "lamp"),
    "hob": ("stove", "cooktop"),
    "hood": ("range hood", "extractor hood"),
    "kettle": (),
    "keyboard": (),
    "kitchen cabinets": ("kitchen cabinet", "base cabinet", "cabinet"),
    "knife block": (),
    "laptop": ("notebook computer",),
    "microwave": ("microwave oven",),
    "mirror": (),
    "monitor": ("computer screen", "computer monitor"),
    "nightstand": ("bedside table",),
    "office chair": ("swivel chair", "chair"),
    "ottoman": ("footstool", "pouffe"),
    "oven": (),
    "papers": ("paper", "sheet of paper"),
    "photo": ("photograph", "framed photo"),
    "picture": ("painting", "framed picture"),
    "plant": ("potted plant", "houseplant"),
    "plate": (),
    "pot": ("cooking pot", "saucepan"),
    "printer": (),
    "radiator": ("heater",),
    "refrigerator": ("fridge",),
    "rug": ("carpet", "mat"),
    "shower curtain": (),
    "sideboard": ("credenza", "cabinet"),
    "sink": ("washbasin", "basin"),
    "sofa": ("couch", "settee"),
    "stool": (),
    "table": (),
    "table lamp": ("bedside lamp", "lamp"),
    "toilet": (),
    "towel": ("hand towel",),
    "tv": ("television", "tv set"),
    "tv stand": ("tv cabinet", "media console"),
    "vanity": ("bathroom cabinet", "cabinet"),
    "vase": (),
    "wall": (),
    "wall cabinet": ("upper cabinet", "cabinet"),
    "wall shelf": ("floating shelf", "shelf"),
    "wardrobe": ("closet",),
    "whiteboard": ("white board",),
    "window": (),
}
"""Synonyms of each label, specific ones first; a general one at the end ("lamp") may be shared by several labels."""

COLORS: dict[str, tuple[RGB, ...]] = {
    "black": ((0.06, 0.06, 0.06), (0.14, 0.14, 0.15)),
    "white": ((0.97, 0.97, 0.97), (0.92, 0.92, 0.90)),
    "grey": ((0.35, 0.35, 0.36), (0.52, 0.52, 0.52), (0.70, 0.70, 0.70)),
    "brown": ((0.33, 0.20, 0.12), (0.47, 0.31, 0.20), (0.58, 0.40, 0.24), (0.45, 0.36, 0.28)),
    "beige": ((0.87, 0.78, 0.62), (0.80, 0.66, 0.47), (0.90, 0.85, 0.75), (0.70, 0.62, 0.52)),
    "red": ((0.75, 0.12, 0.12), (0.55, 0.15, 0.14), (0.80, 0.32, 0.28)),
    "orange": ((0.90, 0.50, 0.15), (0.78, 0.45, 0.20)),
    "yellow": ((0.90, 0.80, 0.20), (0.80, 0.70, 0.30), (0.92, 0.86, 0.55)),
    "green": ((0.20, 0.55, 0.22), (0.40, 0.60, 0.30), (0.25, 0.40, 0.25), (0.68, 0.82, 0.62), (0.50, 0.58, 0.25)),
    "teal": ((0.15, 0.50, 0.50), (0.35, 0.65, 0.62), (0.65, 0.85, 0.82)),
    "blue": ((0.15, 0.25, 0.65), (0.25, 0.45, 0.75), (0.22, 0.30, 0.45), (0.65, 0.76, 0.90), (0.40, 0.55, 0.75)),
    "purple": ((0.42, 0.20, 0.60), (0.50, 0.35, 0.65), (0.75, 0.68, 0.88), (0.40, 0.25, 0.40)),
    "pink": ((0.90, 0.50, 0.65), (0.92, 0.75, 0.80), (0.75, 0.35, 0.55)),
}
"""Colour words and their shades, sRGB in [0, 1]."""

_MATERIALS: dict[int, tuple[str, ...]] = {
    T.WOOD: ("wooden", "wood"),
    T.PLANKS: ("wooden", "plank"),
    T.STRIPES: ("striped", "fabric"),
    T.CHECKS: ("checked", "fabric"),
    T.FABRIC: ("fabric", "cloth"),
    T.TILES: ("tiled",),
    T.SPECKLE: ("speckled",),
    T.MARBLE: ("marble",),
    T.WALLPAPER: ("patterned",),
    T.RUG: ("patterned",),
}
"""Material words of each texture."""
_PICTURES = (T.PAINTING, T.OUTDOORS, T.SCREEN)
"""Textures that show pictures, whose colours are not those of a surface."""
SIZES = ("small", "large", "tall", "low", "long")
"""Size words."""
RELATIONS = ("on", "under", "next to", "by")
"""Relations between two things."""

_MIN_SHARE = 0.2
"""Share of an object's surface above which a colour or material is named."""


Fact = tuple[str, str]
"""("word", "sofa"), ("color", "red"), ("material", "wooden"), ("size", "tall"), ("on", "table"), …"""


@dataclass(frozen=True)
class Phrase:
    """A text and the facts it claims; it is true of things that have all of them."""

    text: str
    claims: tuple[Fact, ...]


@dataclass(frozen=True)
class Description:
    """True statements about one thing.

    Attributes:
        name: its label.
        words: the label, then its synonyms.
        colors: colour words by covered area; empty when no colour covers enough.
        materials: material words by covered area.
        sizes: size words relative to others of its label; empty when it is of usual size.
        relations: pairs of a relation and the other thing's label, such as ("on", "table").
    """

    name: str
    words: tuple[str, ...]
    colors: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()

    def facts(self) -> frozenset[Fact]:
        """All facts that a phrase can claim of it."""
        kinds = (("word", self.words), ("color", self.colors), ("material", self.materials), ("size", self.sizes))
        single = {(kind, word) for kind, words in kinds for word in words}
        return frozenset(single | {(relation, other) for relation, other in self.relations})

    def phrase(self, rng: Generator) -> Phrase:
        """A random phrase that is true of it: "wooden chair next to the table", "blue sofa"."""
        word = _choose_word(rng, self.words)
        text, claims = [word], [("word", word)]
        for kind, words, chance in (
            ("material", self.materials, 0.3),
            ("color", self.colors, 0.5),
            ("size", self.sizes, 0.3),
        ):
            if words and rng.uniform() < chance:
                adjective = words[int(rng.integers(len(words)))]
                text.insert(0, adjective)
                claims.append((kind, adjective))
        if self.relations and rng.uniform() < 0.2:
            relation, other = self.relations[int(rng.integers(len(self.relations)))]
            text += [relation, "the", other]
            claims.append((relation, other))
        return Phrase(" ".join(text), tuple(claims))


def _choose_word(rng: Generator, words: Sequence[str]) -> str:
    """The first word with probability 0.5, else any: usual names should be frequent in captions."""
    return words[0] if rng.uniform() < 0.5 else words[int(rng.integers(len(words)))]


def _srgb_to_lab(rgb: NDArray) -> NDArray:
    """sRGB [..., 3] in [0, 1] → CIE L*a*b* (D65)."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_linear(rgb) @ matrix.T / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


_SHADES = [(name, shade) for name, shades in COLORS.items() for shade in shades]
_SHADES_LAB = _srgb_to_lab(np.array([shade for _, shade in _SHADES]))


def color_names(rgb: Sequence[float] | NDArray) -> tuple[str, ...]:
    """The nearest colour word for an sRGB colour in [0, 1], and a second one that is almost as near (brown, orange).

    Nearest of `COLORS` in CIE L*a*b*, lightness counting half: "red" is a hue, not a lightness.
    """
    apart = (_srgb_to_lab(np.asarray(rgb, float)) - _SHADES_LAB) * (0.5, 1.0, 1.0)
    distance = np.linalg.norm(apart, axis=1)
    nearest = {name: min(d for (n, _), d in zip(_SHADES, distance, strict=True) if n == name) for name in COLORS}
    ordered = sorted(nearest, key=lambda name: nearest[name])
    close = nearest[ordered[1]] < nearest[ordered[0]] + 4.0
    return tuple(ordered[: 2 if close else 1])


def color_name(rgb: Sequence[float] | NDArray) -> str:
    """The nearest colour word for an sRGB colour in [0, 1]."""
    return color_names(rgb)[0]


def material_names(kind: int) -> tuple[str, ...]:
    """Material words for a texture kind; none for plain surfaces, which may be paint, metal or plastic."""
    return _MATERIALS.get(kind, ())


def thing_ids(room: Room) -> NDArray[np.int64]:
    """[F] thing of each triangle: its instance, or −1 for walls, −2 for the floor, −3 for the ceiling."""
    ids = room.instance.copy()
    ids[(ids < 0) & (room.segment == SCANNET20.index("floor"))] = -2
    ids[(ids < 0) & (room.segment < 0)] = -3
    return ids


def describe(room: Room) -> dict[int, Description]:
    """Description of each thing (see `thing_ids`)."""
    ids = thing_ids(room)
    areas = room.areas()
    names = {-1: "wall", -2: "floor", -3: "ceiling", **dict(enumerate(room.labels))}
    things = [i for i in np.unique(ids).tolist() if i in names]
    boxes = {i: _bounds(room, ids == i) for i in things}
    relations = _relations(boxes, names)
    return {i: _description(names[i], room, ids == i, areas, boxes[i], tuple(relations.get(i, ()))) for i in things}


def _bounds(room: Room, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    v = room.vertices[room.faces[mask].ravel()]
    return np.concatenate([v.min(0), v.max(0)]).astype(np.float64)


def _description(
    name: str,
    room: Room,
    mask: NDArray[np.bool_],
    areas: NDArray,
    box: NDArray,
    relations: tuple[tuple[str, str], ...],
) -> Description:
    table = room.materials
    share = np.bincount(room.material[mask], areas[mask], minlength=len(table.kind))
    share = share / max(share.sum(), 1e-12)
    colors: dict[str, float] = {}
    materials: dict[str, float] = {}
    pictured = float(share[np.isin(table.kind, _PICTURES)].sum())
    for m in np.flatnonzero(share):
        kind = int(table.kind[m])
        for word in () if kind in _PICTURES else color_names(_average_color(table.color[m], kind)):
            colors[word] = colors.get(word, 0.0) + share[m]
        for word in material_names(kind):
            materials[word] = materials.get(word, 0.0) + share[m]
    return Description(
        name,
        (name, *SYNONYMS.get(name, ())),
        # Ignore the frame's colour when most of the surface is a picture texture.
        _frequent_words({word: part for word, part in colors.items() if part > pictured}),
        _frequent_words(materials),
        _size_words(name, box[3:] - box[:3]),
        relations,
    )


def _frequent_words(shares: dict[str, float]) -> tuple[str, ...]:
    return tuple(word for word in sorted(shares, key=lambda w: -shares[w]) if shares[word] > _MIN_SHARE)


def _average_color(colors: NDArray, kind: int) -> NDArray:
    """Approximate mean sRGB [3] of a texture with three linear colours [3, 3]."""
    weight = {T.WOOD: 0.35, T.PLANKS: 0.45, T.STRIPES: 0.35, T.CHECKS: 0.4, T.MARBLE: 0.25, T.SPECKLE: 0.3}.get(
        kind, 0.0
    )
    linear = (1 - weight) * colors[0] + weight * colors[1]
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


_USUAL_SIZES = {
    "bed": (1.1, 1.7, None),
    "bookshelf": (None, 1.1, 1.9),
    "cabinet": (None, 0.9, 1.6),
    "mirror": (None, 0.6, 1.1),
    "picture": (0.45, 0.85, None),
    "plant": (None, 0.45, 1.0),
    "refrigerator": (None, 1.0, 1.6),
    "rug": (1.2, 2.0, None),
    "sofa": (1.6, 2.1, None),
    "table": (0.8, 1.3, None),
    "window": (0.9, 1.4, None),
}
"""Usual sizes by label, metres: (smallest width, largest width, None) or (None, smallest height, largest height)."""


def _size_words(name: str, extent: NDArray) -> tuple[str, ...]:
    limits = _USUAL_SIZES.get(name)
    if limits is None:
        return ()
    if limits[0] is None:
        low, high = limits[1], limits[2]
        assert low is not None and high is not None
        return ("low", "small") if extent[2] < low else ("tall", "large") if extent[2] > high else ()
    low, high = limits[0], limits[1]
    width = float(np.sort(extent)[-1])
    return ("small",) if width < low else ("large", "long") if width > high else ()


_BASES = ("table", "desk", "bookshelf", "counter", "nightstand", "dresser", "sideboard", "tv stand", "cabinet", "bed")
_BESIDE = ("bed", "sofa", "desk", "table", "refrigerator", "toilet", "bathtub", "wardrobe", "bookshelf")


def _relations(boxes: dict[int, NDArray], names: dict[int, str]) -> dict[int, list[tuple[str, str]]]:
    """Which things stand on others (`_BASES`, the floor), and which next to large ones (`_BESIDE`)."""
    out: dict[int, list[tuple[str, str]]] = {}
    for i, a in boxes.items():
        if i < 0:
            continue
        center = 0.5 * (a[:2] + a[3:5])
        for j, b in boxes.items():
            if i == j or j < 0 or names[i] == names[j]:
                continue
            inside = bool((center > b[:2]).all() and (center < b[3:5]).all())
            gap = np.maximum(np.maximum(a[:2] - b[3:5], b[:2] - a[3:5]), 0).max()
            if names[j] in _BASES and inside and abs(a[2] - b[5]) < 0.03:
                out.setdefault(i, []).append(("on", names[j]))
            elif names[j] in _BESIDE and a[2] < 0.1 and not inside and gap < 0.3 and (a[5] - a[2]) > 0.3:
                out.setdefault(i, []).append(("next to", names[j]))
        if a[2] < 0.02 and (a[5] - a[2]) < 0.03:
            out.setdefault(i, []).append(("on", "floor"))
    return out


def vocabulary(extra: Iterable[str] = ()) -> tuple[str, ...]:
    """All words of captions and of ``extra`` phrases, sorted."""
    phrases = [*SYNONYMS, *(s for many in SYNONYMS.values() for s in many), *COLORS, *SIZES, *RELATIONS, *extra]
    phrases += [w for words in _MATERIALS.values() for w in words]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))
