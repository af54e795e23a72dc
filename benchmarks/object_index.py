"""Search in a large gallery of objects: the index against comparing with every one of them.

Embeddings are drawn around so many centres, as those of objects of many categories lie; questions are noisy copies.
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
    """Objects."""
    dim: int = 64
    """Width of their embeddings (the built-in towers': 64)."""
    centers: int = 5000
    """Groups that they lie in."""
    k: int = 10
    """Neighbours."""
    queries: int = 50
    """Questions, one after the other."""
    threads: int = 2
    """Cores to use."""
    out: Path = Path("bench")
    """Folder for object_index.json and .md."""


def main() -> int:
    given = tyro.cli(ObjectIndexBench, prog="gaussiancross bench object_index")
    torch.set_num_threads(given.threads)
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(given.centers, given.dim)).astype(np.float32)
    vectors = torch.empty(given.count, given.dim)
    for a in range(0, given.count, 100_000):
        picked = centers[rng.integers(len(centers), size=min(100_000, given.count - a))]
        noise = rng.normal(size=picked.shape).astype(np.float32)
        vectors[a : a + len(picked)] = torch.from_numpy(picked + 0.6 * noise)
    vectors /= vectors.norm(dim=1, keepdim=True)
    begun = time.perf_counter()
    index = VectorIndex(vectors)
    built = time.perf_counter() - begun
    asked = vectors[torch.from_numpy(rng.integers(given.count, size=given.queries))]
    asked = asked + 0.3 * torch.nn.functional.normalize(torch.randn_like(asked), dim=1)
    found = index.nearest(asked, given.k).rows
    true = exact_nearest(vectors, torch.nn.functional.normalize(asked, dim=1), given.k).rows
    recall = float((found[:, :, None] == true[:, None]).any(2).float().mean())
    once = _best([lambda q=q: index.nearest(q, given.k) for q in asked])
    plain = _best([lambda q=q: exact_nearest(vectors, q[None], given.k) for q in asked[:5]])
    report = {
        "environment": environment(torch.device("cpu")),
        "objects": given.count,
        "dim": given.dim,
        "exact": index.exact,
        "probes": index.probes,
        "recall": recall,
        "build_s": built,
        "search_ms": once,
        "plain_ms": plain,
    }
    rows = [
        ("objects", f"{given.count:,} × {given.dim}", ""),
        ("one search, median", f"{once:.2f} ms", f"under {WANTED_MS:g} ms"),
        ("comparing with all of them", f"{plain:.1f} ms", ""),
        (f"of the true {given.k} nearest", f"{recall:.1%}", ""),
        ("building", f"{built:.1f} s", ""),
    ]
    write_report(given.out, "object_index", report, markdown(("", "figure", "wanted"), rows))
    return 0


def _best(calls: list[Callable[[], object]]) -> float:
    """Median over the calls of each one's best of three, milliseconds."""
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
