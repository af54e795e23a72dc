"""Read and write SPZ files: 20 bytes per Gaussian and one per spherical harmonic, compressed.

Versions 1–3 are one gzip stream of a 16-byte header and the attributes; version 4 has a 32-byte header, a table of
sizes and one zstd stream per attribute. Attributes, in this order, each for all Gaussians:

    positions   3 × i24 fixed point with ``fractional`` bits after the point (version 1: 3 × f16)
    opacities   u8
    colours     3 × u8, f_dc = (byte / 255 − ½) / 0.15
    scales      3 × u8, logarithm = byte / 16 − 10
    rotations   version 3 on: u32, index of the largest of x y z w and the others as sign and 9 bits; before: 3 × u8
    harmonics   K × 3 × u8, (byte − 128) / 128

The format's axes are x right, y up, z back; coordinates are read and written as they are.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..plain_files import read_bytes
from .data import SH_C0, SH_COUNTS, SplatData, join_smallest_three, log_scales, splat_data, split_smallest_three

MAGIC = b"NGSP"
COLOR_SCALE = 0.15
"""f_dc per unit of the stored colour."""

FRACTIONAL = 12
"""Bits after the binary point of written positions, less where the scene is larger than ±2 km."""

RATIO = 1100
"""Largest ratio of data to compressed data; gzip reaches 1032. A header that promises more is damaged."""

_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, count, degree, fractional bits, flags, reserved or streams


def read_spz(path: Path | str) -> SplatData:
    """Read the Gaussians of an SPZ file of version 1 to 4. Extensions and levels of detail are ignored.

    Raises:
        InputError: missing, damaged, truncated, of another version, or no usable Gaussian.
    """
    path = Path(path)
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise InputError(path, "an SPZ file", "no such file") from None
    except OSError as error:
        raise InputError(path, "an SPZ file", f"something unreadable ({error})") from error
    return decode_spz(content, path)


def decode_spz(content: bytes, path: Path) -> SplatData:
    """Decode the bytes of an SPZ file; ``path`` is named in errors."""
    unpacker = None
    if content[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(31)
        head = _inflate(path, unpacker, content, _HEADER.size)
    else:
        head = content[: _HEADER.size]
    if len(head) < _HEADER.size or head[:4] != MAGIC:
        raise InputError(path, "an SPZ file", f"{len(content)} bytes of something else or of a truncated one")
    _, version, count, degree, fractional, _flags, streams = _HEADER.unpack(head)
    if degree >= len(SH_COUNTS):
        raise InputError(path, "spherical harmonics of degree 0 to 4", f"degree {degree}")
    if version not in ((1, 2, 3) if unpacker else (4,)):
        raise InputError(path, "SPZ version 1 to 3 in gzip or 4", f"version {version}{' in gzip' if unpacker else ''}")
    sizes = [6 if version == 1 else 9, 1, 3, 3, 3 if version < 3 else 4, 3 * SH_COUNTS[degree]]
    if count * sum(sizes) > RATIO * len(content):
        raise InputError(
            path, f"at most {RATIO * len(content) // sum(sizes):,} Gaussians in {len(content):,} bytes", f"{count:,}"
        )
    if unpacker:
        body = _inflate(path, unpacker, unpacker.unconsumed_tail, count * sum(sizes))
        _finish(path, unpacker)
        ends = np.cumsum([0, *sizes]) * count
        parts = [body[a:b] for a, b in pairwise(ends)]
    else:
        parts = _zstd_streams(path, content, streams, [s * count for s in sizes if s])
    raw = [np.frombuffer(part, np.uint8).reshape(count, -1) for part in parts]
    if count == 0:
        raise InputError(path, "Gaussians to read", "an empty file")
    return _decoded(path, version, fractional, raw)


def write_spz(path: Path | str, data: SplatData, version: int = 3) -> None:
    """Write an SPZ file of version 3 (gzip, which every reader takes) or 4 (zstd); features and labels are not stored.

    Raises:
        InputError: a coordinate that is not representable (beyond ±8000 km), or another version.
    """
    g = data.gaussians
    if version not in (3, 4):
        raise InputError("version", "3 or 4", str(version))
    reach = float(g.means.abs().max())
    if not reach < 2**23 - 1:
        raise InputError(path, "coordinates below 8,000 km", f"{reach:g}")
    fractional = min(FRACTIONAL, int(np.floor(np.log2((2**23 - 1) / max(reach, 1.0)))))
    fixed = np.round(g.means.double().numpy() * 2**fractional).astype("<i4")
    largest, others = split_smallest_three(g.quats[:, [1, 2, 3, 0]])
    parts = [
        fixed.view(np.uint8).reshape(-1, 3, 4)[:, :, :3],
        _bytes(g.opacities.double().numpy() * 255),
        _bytes(((g.colors.double().numpy() - 0.5) / SH_C0 * COLOR_SCALE + 0.5) * 255),
        _bytes((log_scales(g) + 10) * 16),
        _pack_rotation(largest, others).astype("<u4"),
    ]
    if data.sh is not None:
        parts.append(_quantize_harmonics(data.sh.double().numpy()))
    degree = SH_COUNTS.index(0 if data.sh is None else data.sh.shape[1])
    blobs = [np.ascontiguousarray(p).tobytes() for p in parts]
    if version == 3:
        head = _HEADER.pack(MAGIC, 3, len(g), degree, fractional, 0, 0)
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        Path(path).write_bytes(b"".join([packer.compress(b) for b in [head, *blobs]] + [packer.flush()]))
        return
    zstd = _zstandard(Path(path))
    packed = [zstd.ZstdCompressor(level=12).compress(b) for b in blobs]
    head = _HEADER.pack(MAGIC, 4, len(g), degree, fractional, 0, len(blobs)) + struct.pack("<I12x", 32)
    table = b"".join(struct.pack("<QQ", len(p), len(b)) for p, b in zip(packed, blobs, strict=True))
    Path(path).write_bytes(head + table + b"".join(packed))


def _decoded(path: Path, version: int, fractional: int, raw: list[NDArray[np.uint8]]) -> SplatData:
    position, opacity, color, scale, rotation = raw[:5]
    if version == 1:
        means = position.view("<f2").astype(np.float32)
    else:
        low, middle, high = (position[:, k::3].astype(np.int32) for k in range(3))
        fixed = low | middle << 8 | high << 16
        means = ((fixed ^ 0x800000) - 0x800000) * 2.0**-fractional  # sign of 24 bits
    if version < 3:
        xyz = rotation / 127.5 - 1
        w = np.sqrt(np.maximum(0, 1 - (xyz**2).sum(1, keepdims=True)))
        quats = np.concatenate([w, xyz], 1)
    else:
        words = rotation.view("<u4")[:, 0]
        fields = np.stack([words >> shift & 0x3FF for shift in (20, 10, 0)], 1).astype(np.int64)
        others = np.where(fields & 0x200, -1.0, 1.0) * (fields & 0x1FF) / 0x1FF * 0.5**0.5
        quats = join_smallest_three(words >> 30, others)[:, [3, 0, 1, 2]]
    harmonics = None
    if len(raw) > 5 and raw[5].size:
        harmonics = ((raw[5].astype(np.float32) - 128) / 128).reshape(len(opacity), -1, 3)
    return splat_data(
        path,
        means,
        quats,
        np.exp(scale / 16.0 - 10.0),
        opacity[:, 0] / 255.0,
        0.5 + SH_C0 * (color / 255.0 - 0.5) / COLOR_SCALE,
        harmonics,
    )


def _inflate(path: Path, unpacker: zlib._Decompress, content: bytes, size: int) -> bytes:
    """The next ``size`` bytes of a gzip stream, never more."""
    try:
        out = unpacker.decompress(content, size) if size else b""
    except zlib.error as error:
        raise InputError(path, "an SPZ file", f"a damaged gzip stream ({error})") from error
    if len(out) < size:
        raise InputError(path, f"{size} bytes in the gzip stream", f"{len(out)}", "the file may be truncated")
    return out


def _finish(path: Path, unpacker: zlib._Decompress) -> None:
    """Read a gzip stream to its end, which checks its checksum. Writers may append data; up to 1 GB of it is skipped.

    Raises:
        InputError: damaged or truncated.
    """
    try:
        for _ in range(1 << 10):
            if unpacker.eof or not (unpacker.decompress(unpacker.unconsumed_tail, 1 << 20) or unpacker.unconsumed_tail):
                break
    except zlib.error as error:
        raise InputError(path, "an SPZ file", f"a damaged gzip stream ({error})") from error
    if not unpacker.eof:
        raise InputError(path, "an SPZ file", "a gzip stream without end", "the file may be truncated")


def _zstd_streams(path: Path, content: bytes, streams: int, sizes: list[int]) -> list[bytes]:
    """The decompressed attributes of a version 4 file."""
    expected = f"{len(sizes)} zstd streams of {sizes} bytes"
    offset = struct.unpack_from("<I", content, 16)[0] if len(content) >= 32 else 0
    if streams != len(sizes) or offset < 32 or offset + 16 * streams > len(content):
        raise InputError(path, expected, f"a table of {streams} streams at byte {offset}", "the file may be truncated")
    table = [struct.unpack_from("<QQ", content, offset + 16 * i) for i in range(streams)]
    start = offset + 16 * streams
    if [size for _, size in table] != sizes or start + sum(packed for packed, _ in table) > len(content):
        raise InputError(path, expected, f"a table that says {table}", "the file may be truncated")
    zstd, parts = _zstandard(path), []
    for packed, size in table:
        try:
            with zstd.ZstdDecompressor().stream_reader(content[start : start + packed]) as reader:
                parts.append(reader.read(size + 1))
        except zstd.ZstdError as error:
            raise InputError(path, expected, f"a damaged stream ({error})") from error
        if len(parts[-1]) != size:
            raise InputError(path, expected, f"a stream of {len(parts[-1])} bytes instead of {size}")
        start += packed
    return parts


def _zstandard(path: Path):
    try:
        import zstandard
    except ImportError as error:
        raise InputError(
            path, "the package zstandard for SPZ version 4", "none", "`pip install zstandard` adds it"
        ) from error
    return zstandard


def _pack_rotation(largest: NDArray[np.int64], others: NDArray[np.float64]) -> NDArray[np.uint32]:
    magnitude = np.minimum(np.floor(np.abs(others) * 2**0.5 * 0x1FF + 0.5), 0x1FF).astype(np.int64)
    fields = magnitude | np.where(others < 0, 0x200, 0)
    return (largest << 30 | fields[:, 0] << 20 | fields[:, 1] << 10 | fields[:, 2]).astype(np.uint32)


def _quantize_harmonics(sh: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Bytes [N, K, 3] of 5 significant bits for degree 1 and 4 for the others, as the reference library writes."""
    step = np.where(np.arange(sh.shape[1]) < 3, 8, 16)[:, None]
    return _bytes(np.floor((np.round(sh * 128) + 128 + step // 2) / step) * step)


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.round(values).clip(0, 255).astype(np.uint8)
