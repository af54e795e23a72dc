"""Store of normalised, packed features for fast repeated queries."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .dot import CHUNK, TILE, int8_pack, int8_scores
from .scoring import TEMPERATURE, check_widths, margin_to_relevancy, unit, usable_negatives

Precision = Literal["float32", "float16", "int8"]

_BLOCK = 8192  # rows per task: scores and temporaries of a task stay in the L2 cache
_SMALL = 64 << 20  # bytes of float32 up to which plain float32 is fast enough
_SAMPLE = 4096  # approximate number of rows that the mean direction is computed from


@dataclass(frozen=True)
class FeatureStore:
    """N unit feature vectors of D dimensions for repeated queries. Made by `build`.

    Attributes:
        shape: (N, D).
        precision: storage type: "float32", "float16" or "int8".
        rows: float32/float16: [N, D] unit vectors. int8: [N', D'] codes, zero-padded to the kernel's tile size.
        mean: int8: [D] float32; the codes hold the difference of a unit vector from this mean. CLIP-like features
            share a strong common direction; without it the 8-bit error is at most half. Its contribution is added
            exactly, as one constant per query. Otherwise empty.
        scale: int8: [N'] float32; row n is ``mean + scale[n] · rows[n]``. Otherwise empty.
        unusable: [M] indices of rows that were zero or not finite; their scores are 0.
        error_bound: the largest ‖stored − exact‖ of any row, an upper bound on the error of a cosine (0 for float32,
            whose rounding is not counted).
        error_typical: rms error of a cosine with a query of random direction.
    """

    shape: tuple[int, int]
    precision: Precision
    rows: Tensor
    mean: Tensor
    scale: Tensor
    unusable: Tensor
    error_bound: float
    error_typical: float

    @staticmethod
    def build(features: Tensor, precision: Precision | None = None) -> FeatureStore:
        """Normalise and pack features, block by block.

        Args:
            features: [N, D] of any length, any floating dtype, on any device; not referenced afterwards.
            precision: None chooses float16 on a GPU; on a CPU int8 above 64 MiB of float32, float32 below. int8 is
                for the CPU only; float16 is slow there.

        Raises:
            InputError: wrong shape or type, or int8 for features on a GPU.
        """
        check_widths(tuple(features.shape))
        if not features.is_floating_point():
            raise InputError("features", "floating-point values", str(features.dtype))
        on_cpu = features.device.type == "cpu"
        if precision is None:
            small = features.numel() * 4 <= _SMALL
            precision = ("float32" if small else "int8") if on_cpu else "float16"
        if precision == "int8":
            if not on_cpu:
                raise InputError("FeatureStore", "features on the CPU for int8", str(features.device), "use float16")
            return _build_int8(features.detach())
        return _build_float(features.detach(), precision)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes."""
        tensors = (self.rows, self.mean, self.scale, self.unusable)
        return sum(t.numel() * t.element_size() for t in tensors)

    @property
    def device(self) -> torch.device:
        return self.rows.device

    def center(self) -> Tensor:
        """[D] mean of the unit vectors (int8: of the sample that gave ``mean``)."""
        if self.precision == "int8":
            return self.mean
        return self.rows.sum(0, dtype=torch.float32) / max(1, len(self) - len(self.unusable))

    def scores(self, vectors: Tensor) -> Tensor:
        """Cosines with the queries [Q, D], as `scoring.similarity`: [N, Q] float32, contiguous per query."""
        check_widths(self.shape, queries=vectors)
        query = unit(vectors.to(self.device, torch.float32))[0]
        if self.precision != "int8":
            out = self._float_scores(query).T.contiguous()
        else:
            out = torch.empty(len(query), len(self))
            self._int8_blocks(
                query, lambda start, block: np.copyto(out.numpy()[:, start : start + block.shape[1]], block)
            )
        out[:, self.unusable] = 0
        return out.T

    def relevancy(self, phrases: Tensor, negatives: Tensor) -> Tensor:
        """`scoring.relevancy` to phrases [P, D] with negatives [K, D]: [N, P] float32, one phrase after another."""
        check_widths(self.shape, phrases=phrases, negatives=negatives)
        phrase, known = unit(phrases.to(self.device, torch.float32))
        query = torch.cat([phrase, usable_negatives(negatives.to(self.device, torch.float32))])
        count = len(phrase)
        if self.precision != "int8":
            cosine = self._float_scores(query)
            out = margin_to_relevancy(cosine[:, :count], cosine[:, count:]).T.contiguous()
        else:
            out = torch.empty(count, len(self))
            target = out.numpy()

            def finish(start: int, block: NDArray[np.float32]) -> None:
                # Sigmoid in place, while the block is in the cache. Cosines differ by at most 2: exp cannot overflow.
                part = target[:, start : start + block.shape[1]]
                np.subtract(block[count:].max(0), block[:count], out=part)
                np.exp(np.multiply(part, TEMPERATURE, out=part), out=part)
                np.reciprocal(np.add(part, 1, out=part), out=part)

            self._int8_blocks(query, finish)
        out[:, self.unusable] = 0
        return (out * known[:, None]).T if not known.all() else out.T

    def _float_scores(self, query: Tensor) -> Tensor:
        """[N, Q] float32."""
        return (self.rows @ query.to(self.rows.dtype).T).float()

    def _int8_blocks(self, query: Tensor, receive: Callable[[int, NDArray[np.float32]], None]) -> None:
        """Call ``receive(first row, cosines [Q, rows])`` for every block of rows, from several threads."""
        count = len(query)
        offset = query @ self.mean
        codes, step = _quantise_queries(query, self.rows.shape[1])
        offset = torch.nn.functional.pad(offset, (0, len(codes) - count))
        rows, scale = self.rows.numpy(), self.scale.numpy()
        arguments = codes.numpy(), step.numpy(), offset.numpy()

        def work(start: int) -> None:
            stop = min(start + _BLOCK, len(rows))
            block = np.empty((len(codes), stop - start), np.float32)
            int8_scores(rows[start:stop], scale[start:stop], *arguments, block)
            receive(start, block[:count, : len(self) - start])

        _in_threads(work, range(0, len(rows), _BLOCK))


def _in_threads(work: Callable[[int], None], starts: range) -> None:
    """Call ``work(start)`` for every start, on as many threads as torch uses.

    Plain threads: the kernels release the GIL, and numba's thread pool does not support concurrent callers such as a
    viewer and a training loop.
    """
    with ThreadPoolExecutor(min(torch.get_num_threads(), os.cpu_count() or 1)) as pool:
        for _ in pool.map(work, starts):
            pass


def _build_float(features: Tensor, precision: Precision) -> FeatureStore:
    dtype = {"float32": torch.float32, "float16": torch.float16}[precision]
    n, dim = features.shape
    packed = torch.empty(n, dim, dtype=dtype, device=features.device)
    usable = torch.empty(n, dtype=torch.bool, device=features.device)
    square_error = torch.zeros(n, device=features.device)
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        vectors, usable[rows] = unit(features[rows].float())
        packed[rows] = vectors.to(dtype)
        square_error[rows] = (packed[rows].float() - vectors).square().sum(-1)
    empty = torch.empty(0, device=features.device)
    unusable = (~usable).nonzero()[:, 0]
    return FeatureStore((n, dim), precision, packed, empty, empty, unusable, *_error(square_error, dim))


def _build_int8(features: Tensor) -> FeatureStore:
    n, dim = features.shape
    sample = features[:: max(1, n // _SAMPLE)]
    directions, ok = unit(sample.float())
    mean = directions.sum(0) / ok.sum().clamp_min(1)

    codes = torch.zeros(_round_up(n, TILE), _round_up(dim, CHUNK), dtype=torch.int8)
    scale, square_error = torch.zeros(len(codes)), torch.zeros(n)

    def pack(start: int) -> None:
        rows = slice(start, min(start + _BLOCK, n))
        block = features[rows].float().contiguous().numpy()
        int8_pack(block, mean.numpy(), codes[rows].numpy(), scale[rows].numpy(), square_error[rows].numpy())

    _in_threads(pack, range(0, n, _BLOCK))
    unusable = (scale < 0).nonzero()[:, 0]
    scale[unusable] = 0
    store = FeatureStore((n, dim), "int8", codes, mean, scale, unusable, *_error(square_error, dim))
    store.scores(torch.zeros(1, dim))  # compile now, not at the first query
    return store


def _quantise_queries(query: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Unit vectors [Q, D] → int16 codes [Q', width] and step [Q'], Q' a multiple of TILE.

    Sixteen bits, or fewer for very wide features so that 32-bit sums do not overflow; the error is negligible.
    """
    levels = min(32767, (2**31 - 1) // (127 * width))
    step = query.abs().amax(-1).clamp_min(1e-30) / levels
    codes = torch.zeros(_round_up(len(query), TILE), width, dtype=torch.int16)
    codes[: len(query), : query.shape[1]] = (query / step[:, None]).round().to(torch.int16)
    return codes, torch.nn.functional.pad(step, (0, len(codes) - len(query)))


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _error(square_error: Tensor, dim: int) -> tuple[float, float]:
    """(bound, typical) from the squared norm of every row's error; a random query direction sees 1/√D of the norm."""
    if len(square_error) == 0:
        return 0.0, 0.0
    return float(square_error.max().sqrt()), float((square_error.mean() / dim).sqrt())
