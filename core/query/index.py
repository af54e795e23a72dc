"""Nearest vectors of a large set: exact while that is quick, an inverted file of faiss beyond."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError

EXACT_BYTES = 64 << 20
"""Vectors of so many bytes are compared one by one: a few milliseconds."""
RECALL = 0.97
"""Share of the true ten nearest that an inexact index must find, measured on itself when it is built."""

_CHECKED, _NEIGHBOURS = 64, 10
_ROWS = 1 << 16
_NOISE = 0.3
"""Length of what is added to stored vectors to make the questions that recall is measured with."""


class Neighbours(NamedTuple):
    """The k nearest of Q questions, best first.

    Attributes:
        scores: [Q, k] cosines.
        rows: [Q, k] int64 which vectors.
    """

    scores: Tensor
    rows: Tensor


class VectorIndex:
    """Vectors to be searched by cosine.

    Args:
        vectors: [N, D] of any length but zero.
        exact_bytes: up to so many bytes as float32 the search is exact; beyond, it uses faiss-cpu (the extra
            ``index``) where it is installed, and stays exact where it is not, with a warning.
        recall: see `RECALL`.

    Attributes:
        exact: whether it is.
        recall: share of the true ten nearest found in a check with noisy copies of the vectors; 1 when exact.
        probes: how many of its lists are read per question; 0 when exact.

    Raises:
        InputError: not [N, D], none, or vectors that are zero or not finite.
    """

    def __init__(
        self, vectors: Tensor | NDArray[np.float32], exact_bytes: int = EXACT_BYTES, recall: float = RECALL
    ) -> None:
        given = torch.as_tensor(vectors).detach().float().cpu()
        if given.ndim != 2 or 0 in given.shape:
            raise InputError("vectors", "shape [N, D] with N ≥ 1", str(tuple(given.shape)))
        length = given.norm(dim=1, keepdim=True)
        if not bool((length.isfinite() & (length > 0)).all()):
            raise InputError("vectors", "finite vectors that are not zero", "others")
        self._vectors = (given / length).contiguous()
        self._lists: Any = None
        self.recall, self.probes = 1.0, 0
        if self._vectors.nbytes > exact_bytes and (faiss := _faiss(len(given))) is not None:
            self._lists = self._build(faiss, recall)

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dim(self) -> int:
        """D."""
        return self._vectors.shape[1]

    @property
    def exact(self) -> bool:
        return self._lists is None

    def nearest(self, queries: Tensor | NDArray[np.float32], k: int) -> Neighbours:
        """The k nearest vectors of each query [Q, D] (or of one, [D]), at most N of them.

        Raises:
            InputError: queries of another width, or k below 1.
        """
        asked = torch.as_tensor(queries).detach().float().cpu()
        asked = asked[None] if asked.ndim == 1 else asked
        if asked.ndim != 2 or asked.shape[1] != self.dim:
            raise InputError("queries", f"shape [Q, {self.dim}]", str(tuple(asked.shape)))
        if k < 1:
            raise InputError("k", "at least 1 neighbour", str(k))
        asked, k = F.normalize(asked, dim=1).contiguous(), min(k, len(self))
        if self._lists is None:
            return exact_nearest(self._vectors, asked, k)
        scores, rows = self._lists.search(asked.numpy(), k)
        found = Neighbours(torch.from_numpy(scores), torch.from_numpy(rows))
        short = (found.rows < 0).any(1)  # the lists that were read hold fewer than k
        if bool(short.any()):
            again = exact_nearest(self._vectors, asked[short], k)
            found.scores[short], found.rows[short] = again
        return found

    def _build(self, faiss: Any, wanted: float) -> Any:
        vectors = self._vectors.numpy()
        count = int(np.clip(2 * np.sqrt(len(vectors)), 1, len(vectors) // 39 + 1))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(self.dim), self.dim, count, faiss.METRIC_INNER_PRODUCT)
        index.own_fields = False
        self._coarse = index.quantizer  # faiss keeps no reference of its own
        index.cp.niter, index.cp.seed = 6, 0
        rng = np.random.default_rng(0)
        index.train(vectors[rng.permutation(len(vectors))[: 40 * count]])
        for rows in np.array_split(vectors, max(1, len(vectors) // _ROWS)):
            index.add(rows)
        # How many lists must be read depends on how the vectors lie: found by asking what the exact search knows.
        picked = torch.from_numpy(rng.choice(len(vectors), min(_CHECKED, len(vectors)), replace=False))
        noise = F.normalize(torch.from_numpy(rng.normal(size=(len(picked), self.dim))).float(), dim=1)
        asked = F.normalize(self._vectors[picked] + _NOISE * noise, dim=1)
        k = min(_NEIGHBOURS, len(vectors))
        true = exact_nearest(self._vectors, asked, k).rows
        probes = 4
        while True:
            index.nprobe = min(probes, count)
            found = torch.from_numpy(index.search(asked.numpy(), k)[1])
            self.recall = float((found[:, :, None] == true[:, None]).any(2).float().mean())
            self.probes = index.nprobe
            if self.recall >= wanted or probes >= count:
                return index
            probes *= 2


def exact_nearest(vectors: Tensor, queries: Tensor, k: int) -> Neighbours:
    """The definition: all cosines of unit vectors [N, D] with unit queries [Q, D], and the k largest."""
    parts = [(queries[a : a + 64] @ vectors.T).topk(k, dim=1) for a in range(0, len(queries), 64)]
    if not parts:
        return Neighbours(torch.zeros(0, k), torch.zeros(0, k, dtype=torch.int64))
    return Neighbours(torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts]))


def _faiss(count: int) -> Any:
    try:
        import faiss
    except ModuleNotFoundError:
        warnings.warn(
            f"{count:,} vectors are compared one by one: faster with faiss-cpu (pip install 'gaussiancross[index]').",
            stacklevel=3,
        )
        return None
    return faiss
