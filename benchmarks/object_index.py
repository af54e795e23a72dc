"""Speed and recall of the object index, compared with an exhaustive search.

Embeddings are sampled around many centres, like objects of many categories; queries are noisy copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from ..core.query.index import VectorIndex, exact_nearest
from ._machine import environment, markdown, write_report

WANTED_MS = 20.0


@dataclass(frozen=True)
class ObjectIndexBench:
    """Time the search for the nearest objects."""

    count: int = 1_000_000
    """Number of objects."""
    dim: int = 64
    """Width of the embeddings (built-in towers: 64)."""
    centers: int = 5000
    """Number of centres of the embeddings."""
    k: int = 10
    """Number of neighbours."""
    queries: int = 50
    """Number of queries, run one after the other."""
    threads: int = 2
    """Number of threads."""
    out: Path = Path("bench")
    """Folder for object_index.json and .md."""


def main() -> int:
    args = tyro.cli(ObjectIndexBench, prog="gaussiancross bench object_index")
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(args.centers, args.dim)).astype(np.float32)
    vectors = torch.empty(args.count, args.dim)
    for a in range(0, args.count, 100_000):
        picked = centers[rng.integers(len(centers), size=min(100_000, args.count - a))]
        noise = rng.normal(size=picked.shape).astype(np.float32)
        vectors[a : a + len(picked)] = torch.from_numpy(picked + 0.6 * noise)
    vectors /= vectors.norm(dim=1, keepdim=True)
    begun = time.perf_counter()
    index = VectorIndex(vectors)
    built = time.perf_counter() - begun
    queries = vectors[torch.from_numpy(rng.integers(args.count, size=args.queries))]
    queries = queries + 0.3 * torch.nn.functional.normalize(torch.randn_like(queries), dim=1)
    nearest = index.nearest(queries, args.k).rows
    true = exact_nearest(vectors, torch.nn.functional.normalize(queries, dim=1), args.k).rows
    recall = float((nearest[:, :, None] == true[:, None]).any(2).float().mean())
    once = _best([lambda q=q: index.nearest(q, args.k) for q in queries])
    plain = _best([lambda q=q: exact_nearest(vectors, q[None], args.k) for q in queries[:5]])
    report = {
        "environment": environment(torch.device("cpu")),
        "objects": args.count,
        "dim": args.dim,
        "exact": index.exact,
        "probes": index.probes,
        "recall": recall,
        "build_s": built,
        "search_ms": once,
        "plain_ms": plain,
    }
    rows = [
        ("objects", f"{args.count:,} × {args.dim}", ""),
        ("one search, median", f"{once:.2f} ms", f"under {WANTED_MS:g} ms"),
        ("exhaustive search", f"{plain:.1f} ms", ""),
        (f"recall of the {args.k} nearest", f"{recall:.1%}", ""),
        ("building", f"{built:.1f} s", ""),
    ]
    write_report(args.out, "object_index", report, markdown(("", "figure", "wanted"), rows))
    return 0


def _best(calls: list[Callable[[], object]]) -> float:
    """Return the median over the calls of the best of three runs each, milliseconds."""
    best = []
    for call in calls:
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
        best.append(min(times))
    return 1e3 * float(np.median(best))


if __name__ == "__main__":
    raise SystemExit(main())
