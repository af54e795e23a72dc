"""Speed of scene queries: relevancy of 1,000,000 × 512 features, 32-channel pick, threshold and components.

Times are the best of several runs; in brackets the median, and the processor time per thread, more reliable on a shared
machine. They are compared with a plain float32 matrix product and with the time to read the features from memory, at
the bandwidth measured in the same run.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.query import FeatureStore, auto_threshold, combine, components, relevancy, similarity
from ..core.query.store import Precision

PHRASES, NEGATIVES = 4, 4


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, default=1_000_000, help="features in the large store")
    parser.add_argument("--dim", type=int, default=512, help="their width")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--repeats", type=int, default=11, help="runs of each measurement")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"query benchmark, {date.today()}, {_cpu_name()}, {args.threads} threads, torch {torch.__version__}")

    features = _clip_like(args.points, args.dim)
    speed = features.numel() * 4 / _time(features.sum, args.repeats)[0]
    print(f"memory read by a float32 sum: {speed / 1e9:.1f} GB/s\n")
    _relevancy(features, speed, args.repeats)
    del features
    _pick(speed, args.repeats)
    _decisions(args.repeats)
    return 0


def _relevancy(features: Tensor, speed: float, repeats: int) -> None:
    n, dim = features.shape
    g = torch.Generator().manual_seed(1)
    # Phrases similar to some features, as in a real scene; random ones would all have the same scores.
    phrases = features[torch.randint(n, (PHRASES,), generator=g)] + features.std() * torch.randn(
        PHRASES, dim, generator=g
    )
    negatives = _clip_like(NEGATIVES, dim, seed=2)
    queries = torch.cat([phrases, negatives])
    plain = _time(lambda: features @ queries.T, repeats)
    print(f"{n:,} × {dim}, {PHRASES} phrases and {NEGATIVES} negatives")
    print(f"  plain float32 features @ queries.T, nothing else   {_ms(plain)}")

    sample = torch.arange(0, n, max(1, n // 20_000))
    exact_cosine = similarity(features[sample].double(), queries.double())
    exact = relevancy(features[sample].double(), phrases.double(), negatives.double())
    stores: list[tuple[str, Precision]] = [("cpu", "int8"), ("cpu", "float32")]
    if torch.cuda.is_available():
        stores.append(("cuda", "float16"))
    for device, precision in stores:
        start = time.perf_counter()
        store = FeatureStore.build(features.to(device), precision)
        built = time.perf_counter() - start
        seconds = _time(lambda store=store: store.relevancy(phrases, negatives), repeats)
        rows = sample.to(device)
        cosine = (store.scores(queries)[rows].cpu() - exact_cosine).abs()
        error = (store.relevancy(phrases, negatives)[rows].cpu() - exact).abs()
        floor = f"memory bound {store.nbytes / speed * 1e3:5.1f} ms" if device == "cpu" else _gpu_name()
        print(
            f"  FeatureStore.relevancy, {precision:<7} on {device:<4}             {_ms(seconds)}"
            f"  {plain[0] / seconds[0]:.2f} × as fast as plain, {floor}\n"
            f"      {store.nbytes / 1e6:,.0f} MB, built in {built:.1f} s;"
            f" cosine error max {cosine.max():.1e} rms {cosine.square().mean().sqrt():.1e}"
            f" (bound for any query {store.error_bound:.1e}); relevancy error max {error.max():.1e}"
        )
        del store


def _pick(speed: float, repeats: int, n: int = 300_000, dim: int = 32) -> None:
    features = _clip_like(n, dim)
    picks = features[[5, 77]]
    plain = _time(lambda: features @ combine(picks), repeats)
    store = FeatureStore.build(features)
    seconds = _time(lambda: store.scores(combine(picks)[None]), repeats)
    print(f"\ncosine pick, {n:,} × {dim}, two picks combined, {store.precision}, {store.nbytes / 1e6:.0f} MB")
    print(f"  plain float32 features @ query, not normalised     {_ms(plain)}")
    print(
        f"  FeatureStore.scores                                {_ms(seconds)}"
        f"  {plain[0] / seconds[0]:.2f} × as fast as plain, memory bound {store.nbytes / speed * 1e3:.1f} ms"
    )


def _decisions(repeats: int, n: int = 1_000_000, selected: int = 100_000) -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(np.where(np.arange(n) < n // 50, 0.75, 0.4) + 0.05 * rng.standard_normal(n)).float()
    print(f"\nauto_threshold, {n:,} scores                       {_ms(_time(lambda: auto_threshold(scores), repeats))}")
    # Surfaces of furniture size sampled every 2 cm or so, joined at 5 cm.
    centers = rng.uniform(0, [20, 20, 2], (40, 3))
    surface = rng.standard_normal((selected, 3))
    surface *= 0.6 / np.linalg.norm(surface, axis=1, keepdims=True)
    coord = (centers[rng.integers(0, 40, selected)] + surface).astype(np.float32)
    mask, score = np.ones(selected, bool), rng.random(selected)
    for radius in (0.02, 0.05, 0.2):
        seconds = _time(lambda radius=radius: components(coord, mask, radius, score), repeats)
        count = len(components(coord, mask, radius, score))
        print(f"components, {selected:,} points, radius {radius} m, {count:>3} objects  {_ms(seconds)}")


def _clip_like(n: int, dim: int, seed: int = 0) -> Tensor:
    """Return features [n, dim], float32, with a strong common direction, as of image and text models."""
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(dim, generator=torch.Generator().manual_seed(99))
    out = torch.empty(n, dim)
    for piece in out.split(65536):
        piece.normal_(generator=g).add_(common)
    return out


def _time(function: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Return (best, median, lowest processor time per thread) in seconds."""
    seconds, processor = [], []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start, busy = time.perf_counter(), time.process_time()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    return min(seconds[1:]), statistics.median(seconds[1:]), min(processor[1:]) / torch.get_num_threads()


def _ms(seconds: tuple[float, float, float]) -> str:
    best, median, processor = (s * 1e3 for s in seconds)
    return f"{best:7.1f} ms ({median:.1f}, {processor:.1f})"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.processor())


def _gpu_name() -> str:
    return torch.cuda.get_device_name()


if __name__ == "__main__":
    raise SystemExit(main())
