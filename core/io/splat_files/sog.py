"""Read and write SOG version 2 (Spatially Ordered Gaussians): WebP images and ``meta.json``, in a folder or a zip.

Pixel i of every image belongs to Gaussian i:

    means_l, means_u   low and high byte of sign(x) · ln(|x| + 1), between ``mins`` and ``maxs``
    scales             index into a codebook of logarithms, per axis
    quats              three smaller components in ±√½, and 252 + index of the largest of w x y z
    sh0                index into a codebook of f_dc per channel, and the opacity
    shN_labels         16-bit index of a centroid; shN_centroids has 64 of them per row, K pixels each, whose bytes
                       are indices into a codebook (optional)
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import InputError
from ..archives import check_unpacked_size
from ..json_files import parse_json
from ..plain_files import read_bytes
from .codebooks import line_codebook, nearest, palette
from .data import SH_C0, SH_COUNTS, SplatData, join_smallest_three, log_scales, splat_data, split_smallest_three

META = "meta.json"
MAX_META = 1 << 24
"""Largest size of ``meta.json`` in bytes."""

_TAG = 252
_PER_ROW = 64
_Read = Callable[[str], bytes]


def is_sog_folder(path: Path) -> bool:
    """Whether a folder has the files of a SOG."""
    return (path / META).is_file() and any(path.glob("means_l.*"))


def read_sog(path: Path | str) -> SplatData:
    """Read the Gaussians of a SOG: a zip, ``meta.json``, or its folder.

    Raises:
        InputError: missing, damaged, of another version, an image without a pixel per Gaussian, or no usable Gaussian.
    """
    path = Path(path)
    if path.name == META:
        path = path.parent
    if path.is_dir():
        return _read(path, lambda name: read_bytes(path / Path(name).name))
    if not path.is_file():
        raise InputError(path, "a SOG", "no such file")
    check_unpacked_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, lambda name: _member(archive, name))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(path, "a SOG (a zip of meta.json and WebP images)", f"a damaged file ({error})") from error


def write_sog(path: Path | str, data: SplatData) -> None:
    """Write a SOG as a zip; features and labels are not stored.

    Scales and colours become one of 256 values each, view-dependent harmonics one of at most 65,536 centroids.
    """
    g = data.gaussians
    count = len(g)
    position = g.means.double().numpy()
    position = np.sign(position) * np.log1p(np.abs(position))
    low, high = position.min(0), position.max(0)
    step = np.round((position - low) / np.maximum(high - low, 1e-12) * 65535).astype(np.uint16)
    largest, others = split_smallest_three(g.quats)
    scale, dc = log_scales(g), (g.colors.double().numpy() - 0.5) / SH_C0
    books = {"scales": line_codebook(scale), "sh0": line_codebook(dc)}
    images = {
        "means_l": step & 0xFF,
        "means_u": step >> 8,
        "scales": nearest(books["scales"], scale),
        "quats": np.column_stack([np.round((others * 2**0.5 + 1) * 127.5), _TAG + largest]),
        "sh0": np.column_stack([nearest(books["sh0"], dc), np.round(g.opacities.double().numpy() * 255)]),
    }
    meta: dict[str, Any] = {
        "version": 2,
        "asset": {"generator": "gaussiancross"},
        "count": count,
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": ["means_l.webp", "means_u.webp"]},
        "quats": {"files": ["quats.webp"]},
    }
    meta |= {name: {"codebook": book.tolist(), "files": [f"{name}.webp"]} for name, book in books.items()}
    width = 4 * max(1, int(np.ceil(count**0.5 / 4)))
    packed = {name: _webp(values, width) for name, values in images.items()}
    if data.sh is not None:
        k = data.sh.shape[1]
        centroids, label = palette(data.sh.flatten(1).numpy())
        book = line_codebook(centroids)
        pixels = np.zeros((-(-len(centroids) // _PER_ROW) * _PER_ROW * k, 3))
        pixels[: len(centroids) * k] = nearest(book, centroids).reshape(-1, 3)
        packed["shN_centroids"] = _webp(pixels, _PER_ROW * k)
        packed["shN_labels"] = _webp(np.column_stack([label & 0xFF, label >> 8, 0 * label]), width)
        bands = SH_COUNTS.index(k)
        files = ["shN_centroids.webp", "shN_labels.webp"]
        meta["shN"] = {"count": len(centroids), "bands": bands, "codebook": book.tolist(), "files": files}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(META, json.dumps(meta))
        for name, content in packed.items():
            archive.writestr(f"{name}.webp", content)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    found = [i for i in archive.infolist() if Path(i.filename).name == Path(name).name]
    if not found:
        raise FileNotFoundError(name)
    return archive.read(found[0])


def _read(path: Path, read: _Read) -> SplatData:
    meta = _meta(path, read)
    count = meta.get("count")
    if meta.get("version") != 2 or not isinstance(count, int) or count < 1:
        found = f"version {meta.get('version')!r} and count {count!r}"
        raise InputError(path, "a SOG of version 2 with a positive count", found, "convert it with splat-transform")
    steps = [_pixels(path, read, meta, "means", i, count)[:, :3].astype(np.float64) for i in (0, 1)]
    low, high = (_numbers(path, meta, "means", name, 3) for name in ("mins", "maxs"))
    position = low + (high - low) * (steps[0] + 256 * steps[1]) / 65535
    scales = _numbers(path, meta, "scales", "codebook", 256)[_pixels(path, read, meta, "scales", 0, count)[:, :3]]
    color = _pixels(path, read, meta, "sh0", 0, count)
    dc = _numbers(path, meta, "sh0", "codebook", 256)[color[:, :3]]
    turn = _pixels(path, read, meta, "quats", 0, count)
    if turn[:, 3].min() < _TAG:
        raise InputError(path, f"quaternions with a tag of {_TAG} to 255", f"a tag of {turn[:, 3].min()}")
    with np.errstate(over="ignore"):  # infinite values are dropped
        return splat_data(
            path,
            np.sign(position) * np.expm1(np.abs(position)),
            join_smallest_three(turn[:, 3] - _TAG, (turn[:, :3] / 127.5 - 1) * 0.5**0.5),
            np.exp(scales),
            color[:, 3] / 255.0,
            0.5 + SH_C0 * dc,
            _harmonics(path, read, meta, count),
        )


def _harmonics(path: Path, read: _Read, meta: dict[str, Any], count: int) -> NDArray[np.float32] | None:
    if not isinstance(meta.get("shN"), dict):
        return None
    bands, size = meta["shN"].get("bands"), meta["shN"].get("count")
    if bands not in (1, 2, 3) or not isinstance(size, int) or not 1 <= size <= 65536:
        raise InputError(path, "shN of 1 to 3 bands and up to 65536 centroids", f"{bands!r} and {size!r}")
    k = SH_COUNTS[bands]
    rows = -(-size // _PER_ROW) * _PER_ROW * k
    pixels = _pixels(path, read, meta, "shN", 0, rows, _PER_ROW * k)[:, :3]
    book = _numbers(path, meta, "shN", "codebook", 256).astype(np.float32)
    label = _pixels(path, read, meta, "shN", 1, count).astype(np.int64)
    label = label[:, 0] | label[:, 1] << 8
    if label.max() >= size:
        raise InputError(path, f"labels of {size} centroids", f"the label {label.max()}")
    return book[pixels].reshape(-1, k, 3)[label]


def _meta(path: Path, read: _Read) -> dict[str, Any]:
    try:
        content = read(META)
        if len(content) > MAX_META:
            raise ValueError(f"{len(content)} bytes")
        meta = parse_json(content)
    except (FileNotFoundError, KeyError):
        raise InputError(path, "a SOG with meta.json", "none in it") from None
    except (OSError, ValueError) as error:
        raise InputError(path, "a SOG with a readable meta.json", f"a damaged one ({error})") from error
    if not isinstance(meta, dict):
        raise InputError(path, "a SOG with a JSON object as meta.json", type(meta).__name__)
    return meta


def _part(path: Path, meta: dict[str, Any], part: str, name: str) -> Any:
    entry = meta.get(part)
    if not isinstance(entry, dict) or not isinstance(entry.get(name), list):
        raise InputError(path, f"a list {part}.{name} in meta.json", "none")
    return entry[name]


def _numbers(path: Path, meta: dict[str, Any], part: str, name: str, count: int) -> NDArray[np.float64]:
    values = _part(path, meta, part, name)
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise InputError(path, f"{count} finite numbers {part}.{name} in meta.json", f"{len(values)} others")
    return array


def _pixels(
    path: Path, read: _Read, meta: dict[str, Any], part: str, index: int, count: int, width: int | None = None
) -> NDArray[np.uint8]:
    """The first ``count`` pixels [count, 4] of an image, which must be ``width`` wide if that is given."""
    files = _part(path, meta, part, "files")
    if len(files) <= index or not isinstance(files[index], str):
        raise InputError(path, f"{index + 1} file names {part}.files in meta.json", repr(files))
    name = files[index]
    try:
        with Image.open(io.BytesIO(read(name))) as image:
            size = image.size
            if size[0] * size[1] < count or (width is not None and size[0] != width):
                shape = f"{count} pixels" if width is None else f"{count} pixels in rows of {width}"
                raise InputError(path, f"{shape} in {name}", f"{size[0]}×{size[1]}")
            return np.asarray(image.convert("RGBA")).reshape(-1, 4)[:count]
    except FileNotFoundError:
        raise InputError(path, f"the image {name}", "no such file") from None
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(path, f"the image {name}", f"one that cannot be decoded ({error})") from error


def _webp(values: NDArray, width: int) -> bytes:
    """A lossless image of ``values`` [N, 3] or [N, 4], row by row; the rest of the last row is 0."""
    pixels = np.zeros((-(-len(values) // width) * width, values.shape[1]), np.uint8)
    pixels[: len(values)] = values
    out = io.BytesIO()
    image = Image.fromarray(pixels.reshape(-1, width, values.shape[1]))
    image.save(out, "WEBP", lossless=True, exact=True, quality=50, method=2)
    return out.getvalue()
