"""Classification and nearest-neighbour search of single objects with CLIP-GS, shared by all browser sessions."""

from __future__ import annotations

import io
import math
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
import torch
from PIL import Image as Pil
from torch import Tensor
from torch.nn import functional as F

from ...core.data.objects import MIN_GAUSSIANS, normalize_object
from ...core.errors import InputError
from ...core.geometry.cameras import Cameras, intrinsics, look_at
from ...core.geometry.gaussians import Gaussians, transform_gaussians
from ...core.io.lru import LruCache
from ...core.models.clipgs import ClipGS
from ...core.query import MAX_LETTERS, QueryObject
from ...core.query.index import VectorIndex
from ...core.splat import rasterize
from ..render.colors import BACKGROUND, Image
from ..scenes.geometry import world_gaussians
from ..scenes.source import SceneState
from .load_object import OBJECT_FILES, read_any_object
from .search import IMAGE_SIZE, IMAGES, Embedded, Tower, classify, open_tower, short_names

PICTURE = 128
"""Side of an object's small picture, pixels."""
KEPT = 512
"""Number of small pictures in memory."""
MAX_LABELS = 300
"""Largest number of labels to compare an object with."""


class Gallery:
    """Objects that can be searched.

    Args:
        embedded: their files and unit embeddings.
        root: folder of relative files.
    """

    def __init__(self, embedded: Embedded, root: Path | None = None) -> None:
        self.files = embedded.files
        self.names = tuple(str(PurePath(name).with_suffix("")) for name in short_names(embedded.files))
        self._vectors, self._root = embedded.vectors, root
        self._pictures: LruCache[int, Image] = LruCache(KEPT)

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def index(self) -> VectorIndex:
        """Index of the embeddings, built on first use."""
        return VectorIndex(self._vectors)

    def nearest(self, vector: Tensor, count: int) -> list[tuple[int, float]]:
        """Row and cosine of the objects nearest to a vector [D], best first."""
        scores, rows = self.index.nearest(vector, count)
        return list(zip(rows[0].tolist(), scores[0].tolist(), strict=True))

    def load(self, row: int) -> Gaussians:
        """One object, Y up."""
        return read_any_object(self._path(row))

    def picture(self, row: int) -> Image:
        """Small picture of an object, drawn on first use; grey if the file is no longer readable."""

        def make() -> Image:
            try:
                return object_picture(self.load(row))
            except InputError:
                return np.full((PICTURE, PICTURE, 3), 60, np.uint8)

        return self._pictures.get(row, make)

    def _path(self, row: int) -> Path:
        return Path(self.files[row]) if self._root is None else self._root / self.files[row]


@dataclass(frozen=True)
class OpenObject:
    """An object open in the viewer.

    Attributes:
        name: name in the viewer.
        gaussians: Gaussians, Y up.
        vector: [D] unit embedding.
        picture: small picture.
    """

    name: str
    gaussians: Gaussians
    vector: Tensor
    picture: Image


class ObjectRecognizer:
    """Model, towers and gallery, opened when first needed.

    Args:
        open_model: returns the model (eval mode), the spec of its tower and its default labels.
        gallery: objects to search, or None.
        tower: image/text model to use instead of the model's own.
    """

    def __init__(
        self,
        open_model: Callable[[], tuple[ClipGS, str, Sequence[str]]],
        gallery: Gallery | None = None,
        tower: str = "",
    ) -> None:
        self._open, self._tower_spec, self.gallery = open_model, tower, gallery
        self._lock = threading.RLock()

    @cached_property
    def _opened(self) -> tuple[ClipGS, str, tuple[str, ...]]:
        model, tower, labels = self._open()
        return model, self._tower_spec or tower, tuple(labels)

    @property
    def model(self) -> ClipGS:
        with self._lock:
            return self._opened[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """Default labels of objects."""
        with self._lock:
            return self._opened[2]

    @cached_property
    def _tower(self) -> Tower:
        return open_tower(self._opened[1], self.model.config.embed_dim)

    @property
    def tower(self) -> Tower:
        """Image/text model of phrases and pictures."""
        with self._lock:
            return self._tower

    def open(self, name: str, gaussians: Gaussians) -> OpenObject:
        """Encode and draw an object (Y up)."""
        return OpenObject(name, gaussians, self.model.encode([gaussians])[0], object_picture(gaussians))

    def read(self, name: str, content: bytes) -> OpenObject:
        """Read an object from an uploaded file, whose name decides the format.

        Raises:
            InputError: not an object file; the message has the user's file name.
        """
        shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
        suffix = PurePath(shown).suffix.lower()
        if suffix not in OBJECT_FILES:
            raise InputError(shown, f"an object as {', '.join(OBJECT_FILES)}", f"the ending {suffix!r}")
        with tempfile.TemporaryDirectory(prefix="gaussiancross-upload-") as folder:
            path = Path(folder) / f"upload{suffix}"
            path.write_bytes(content)
            try:
                gaussians = read_any_object(path, count=self.model.config.gaussians)
            except InputError as error:
                raise _Renamed(str(error).replace(str(path), shown)) from error
        return self.open(re.sub(r"[^\w.-]+", "_", PurePath(shown).stem) or "upload", gaussians)

    def scores(self, vectors: Tensor, labels: Sequence[str] = ()) -> list[list[tuple[str, float]]]:
        """Labels and probabilities for each of the embeddings [M, D], best first.

        Raises:
            InputError: a label that the text tower does not know, or none at all.
        """
        names = list(labels or self.labels)
        if not names:
            raise InputError("labels", "some to choose from", "none", "write them with commas between them")
        shares = classify(self.model, vectors, self.tower, names)
        return [[(names[i], float(row[i])) for i in row.argsort(descending=True).tolist()] for row in shares]

    def words(self, text: str) -> Tensor:
        """[D] unit vector of a phrase.

        Raises:
            InputError: words that the tower does not know.
        """
        encoded = self.tower.text.encode([text])
        if not bool(encoded.known[0]):
            find = getattr(self.tower.text, "find", None)
            found = str(find(text)).rstrip(".") if find else "others"
            raise InputError(repr(text), "words that the text tower knows", found)
        return F.normalize(encoded.vectors[0].float().cpu(), dim=0)

    def picture(self, name: str, content: bytes) -> Tensor:
        """[D] unit vector of an uploaded picture file.

        Raises:
            InputError: no picture, or a tower that knows words only.
        """
        shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
        if PurePath(shown).suffix.lower() not in IMAGES:
            raise InputError(shown, f"a picture as {', '.join(IMAGES)}", "another kind of file")
        if self.tower.image is None:
            raise InputError(shown, "a tower that encodes images", f"{self.tower.spec}, which knows words only")
        try:
            with Pil.open(io.BytesIO(content)) as opened:
                small = opened.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Pil.Resampling.BILINEAR)
        except (OSError, ValueError, Pil.DecompressionBombError) as error:
            raise InputError(shown, "a picture", f"a damaged file ({error})") from error
        pixels = torch.from_numpy(np.array(small)).float()[None] / 255
        return F.normalize(self.tower.image(pixels)[0].float().cpu(), dim=0)

    def name_parts(
        self, state: SceneState, objects: Sequence[QueryObject], labels: Sequence[str] = ()
    ) -> list[tuple[str, float] | None]:
        """Best label of each object of a scene (z up) and its probability; None for objects of too few Gaussians.

        Args:
            labels: candidate labels; unknown ones are ignored, and without known ones the default labels are used.
        """
        known = self.tower.text.encode(list(labels)).known.tolist() if labels else []
        labels = [name for name, is_known in zip(labels, known, strict=True) if is_known]
        world = world_gaussians(state)
        enough = [o for o in objects if o.size >= MIN_GAUSSIANS]
        if not enough:
            return [None] * len(objects)
        cut = [upright(world[torch.from_numpy(o.indices)]) for o in enough]
        rows = iter(self.scores(self.model.encode(cut), labels))
        return [next(rows)[0] if o.size >= MIN_GAUSSIANS else None for o in objects]


def label_list(text: str) -> tuple[str, ...]:
    """Labels from text, separated by commas or lines; never read from a file.

    Raises:
        InputError: too many of them, or too long ones.
    """
    found = [" ".join(part.split()) for part in re.split(r"[,;\n]", text[: 2 * MAX_LABELS * MAX_LETTERS])]
    labels = tuple(dict.fromkeys(name for name in found if name))
    expected = f"at most {MAX_LABELS} of {MAX_LETTERS} letters"
    if (longest := max(map(len, labels), default=0)) > MAX_LETTERS:
        raise InputError("labels", expected, f"one of {longest:,} letters")
    if len(labels) > MAX_LABELS:
        raise InputError("labels", expected, f"{len(labels)} labels")
    return labels


class _Renamed(InputError):
    """An `InputError` with the message of another one, in which the user's file name replaces the temporary one."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)


# --- pictures ---------------------------------------------------------------------------------------------------


def upright(gaussians: Gaussians) -> Gaussians:
    """Rotate from z up to Y up."""
    return _turned(gaussians, -1)


def standing(gaussians: Gaussians) -> Gaussians:
    """Rotate from Y up to z up, the direction of scenes."""
    return _turned(gaussians, 1)


def _turned(gaussians: Gaussians, way: int) -> Gaussians:
    half = 0.5**0.5
    return transform_gaussians(gaussians, torch.tensor([half, way * half, 0.0, 0.0]), 1.0, torch.zeros(3))


def object_picture(gaussians: Gaussians, size: int = PICTURE) -> Image:
    """Picture [size, size, 3] of an object (Y up), seen from the front, the side and above."""
    g = standing(normalize_object(gaussians.detach().to("cpu")))
    some = g.means[:: max(1, len(g) // 50_000)]
    low, high = (torch.quantile(some, q, dim=0) for q in (0.002, 0.998))
    middle = (low + high) / 2
    radius = max(float(torch.quantile((some - middle).norm(dim=1), 0.998)), 1e-6)
    middle = middle.double()
    turn, rise, fov = math.radians(58), math.radians(22), math.radians(40)
    away = torch.tensor([math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise)]).double()
    eye = middle + 1.1 * radius / math.sin(fov / 2) * away
    cameras = Cameras(look_at(eye, middle)[None].float(), intrinsics(fov, size, size)[None], size, size)
    back = torch.tensor(BACKGROUND)
    color = rasterize(g, cameras.viewmats, cameras.Ks, size, size, background=back).color[0]
    return (color.clamp(0, 1) * 255 + 0.5).byte().numpy()
