"""Nearest neighbours by cosine in a large set of vectors: exact for small sets, an inverted file of faiss for large."""

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
"""Size in bytes of float32 vectors up to which the search is exact (a few milliseconds)."""
RECALL = 0.97
"""Lowest share of the true ten nearest neighbours that an approximate index must find; measured when it is built."""

_CHECKED, _NEIGHBOURS = 64, 10
_ROWS = 1 << 16
_NOISE = 0.3
"""Norm of the noise added to stored vectors to make the queries that recall is measured with."""


class Neighbours(NamedTuple):
    """The k nearest vectors of Q queries, best first.

    Attributes:
        scores: [Q, k] cosines.
        rows: [Q, k] int64 indices of the vectors.
    """

    scores: Tensor
    rows: Tensor


class VectorIndex:
    """Search vectors by cosine.

    Args:
        vectors: [N, D], of any length except zero.
        exact_bytes: size of the float32 vectors up to which the search is exact. Beyond, it uses faiss-cpu (the extra
            ``index``); without it, it stays exact and warns.
        recall: see `RECALL`.

    Attributes:
        exact: whether the search is exact.
        recall: share of the true ten nearest neighbours found for noisy copies of the vectors; 1 if exact.
        probes: number of lists read per query; 0 if exact.

    Raises:
        InputError: a shape other than [N ≥ 1, D], or vectors that are zero or not finite.
    """

    def __init__(
        self, vectors: Tensor | NDArray[np.float32], exact_bytes: int = EXACT_BYTES, recall: float = RECALL
    ) -> None:
        rows = torch.as_tensor(vectors).detach().float().cpu()
        if rows.ndim != 2 or 0 in rows.shape:
            raise InputError("vectors", "shape [N, D] with N ≥ 1", str(tuple(rows.shape)))
        length = rows.norm(dim=1, keepdim=True)
        if not bool((length.isfinite() & (length > 0)).all()):
            raise InputError("vectors", "finite vectors that are not zero", "others")
        self._vectors = (rows / length).contiguous()
        self._lists: Any = None
        self.recall, self.probes = 1.0, 0
        if self._vectors.nbytes > exact_bytes and (faiss := _faiss(len(rows))) is not None:
            self._lists = self._build(faiss, recall)

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dim(self) -> int:
        """D, the width of the vectors."""
        return self._vectors.shape[1]

    @property
    def exact(self) -> bool:
        return self._lists is None

    def nearest(self, queries: Tensor | NDArray[np.float32], k: int) -> Neighbours:
        """The k nearest vectors of each query [Q, D] (or of one, [D]), at most N of them.

        Raises:
            InputError: queries of another width, or k below 1.
        """
        query = torch.as_tensor(queries).detach().float().cpu()
        query = query[None] if query.ndim == 1 else query
        if query.ndim != 2 or query.shape[1] != self.dim:
            raise InputError("queries", f"shape [Q, {self.dim}]", str(tuple(query.shape)))
        if k < 1:
            raise InputError("k", "at least 1 neighbour", str(k))
        query, k = F.normalize(query, dim=1).contiguous(), min(k, len(self))
        if self._lists is None:
            return exact_nearest(self._vectors, query, k)
        scores, rows = self._lists.search(query.numpy(), k)
        neighbours = Neighbours(torch.from_numpy(scores), torch.from_numpy(rows))
        short = (neighbours.rows < 0).any(1)  # the lists that were read hold fewer than k vectors
        if bool(short.any()):
            neighbours.scores[short], neighbours.rows[short] = exact_nearest(self._vectors, query[short], k)
        return neighbours

    def _build(self, faiss: Any, recall: float) -> Any:
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
        # The number of lists to read depends on the distribution of the vectors: compare with the exact search.
        picked = torch.from_numpy(rng.choice(len(vectors), min(_CHECKED, len(vectors)), replace=False))
        noise = F.normalize(torch.from_numpy(rng.normal(size=(len(picked), self.dim))).float(), dim=1)
        query = F.normalize(self._vectors[picked] + _NOISE * noise, dim=1)
        k = min(_NEIGHBOURS, len(vectors))
        true = exact_nearest(self._vectors, query, k).rows
        probes = 4
        while True:
            index.nprobe = min(probes, count)
            found = torch.from_numpy(index.search(query.numpy(), k)[1])
            self.recall = float((found[:, :, None] == true[:, None]).any(2).float().mean())
            self.probes = index.nprobe
            if self.recall >= recall or probes >= count:
                return index
            probes *= 2


def exact_nearest(vectors: Tensor, queries: Tensor, k: int) -> Neighbours:
    """Reference search: the k largest cosines of unit queries [Q, D] with all unit vectors [N, D]."""
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
