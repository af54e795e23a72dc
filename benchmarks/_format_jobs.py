"""One reading or writing of a file of splats by one library, measured in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.geometry.gaussians import Gaussians
from ..core.io.formats import read_splats, write_splats
from ..core.io.splat_files.data import SplatData

FORMATS = ("ply", "compressed.ply", "splat", "spz", "sog", "glb")
"""Endings of the files."""

PEERS = {
    "gaussforge": {"compressed.ply": "compressed.ply", "splat": "splat", "spz": "spz", "sog": "sog"},
    "gsply": {"ply": "ply", "compressed.ply": "compressed", "spz": "spz"},
    "plyfile": {"ply": "ply"},
}
"""Library → its name of each format that it has.

gaussforge 0.6.0 converts files only (its `read` ends with std::bad_cast), so that its work includes that of a PLY.
"""

WARM = 2000
"""Gaussians of a first run that is not measured: it compiles and imports."""


def installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def splats(count: int, degree: int) -> SplatData:
    """Random Gaussians in a room of 10 × 8 × 3 m, as trained ones are: small, flat, mostly opaque."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    means = torch.rand(count, 3, generator=g) * torch.tensor([10.0, 8.0, 3.0])
    scales = (normal(count, 3) * 0.7 - 4.6).exp()
    colors = (0.5 + 0.2 * normal(count, 3)).clamp(0, 1)
    gaussians = Gaussians(means, normal(count, 4), scales, torch.sigmoid(2 * normal(count) + 1), colors)
    harmonics = 0.1 * normal(count, (degree + 1) ** 2 - 1, 3) if degree else None
    return SplatData(gaussians, sh=harmonics)


def job(library: str, action: str, ending: str, folder: Path, count: int, degree: int) -> Callable[[], Any]:
    """The work to be measured; what it needs is read beforehand."""
    path, out, name = folder / f"{count}.{ending}", folder / f"out.{ending}", PEERS.get(library, {}).get(ending, "")
    if library == "gaussiancross":
        if action == "read":
            return lambda: read_splats(path)
        data = splats(count, degree)
        return lambda: write_splats(path, data)
    if library == "gaussforge":
        return _gaussforge(action, name, path, out, folder / f"{count}.ply")
    if library == "gsply":
        return _gsply(action, name, path, out, folder / f"{count}.ply")
    return _plyfile(action, path, out)


def _gaussforge(action: str, name: str, path: Path, out: Path, source: Path) -> Callable[[], Any]:
    import gaussforge  # pyright: ignore[reportMissingImports]

    forge = gaussforge.GaussForge()

    def checked(result: dict) -> Any:
        if result.get("error"):
            raise SystemExit(f"gaussforge: {result['error']}")
        return result["data"]

    if action == "read":
        return lambda: checked(forge.convert(path.read_bytes(), name, "ply"))
    return lambda: out.write_bytes(checked(forge.convert(source.read_bytes(), "ply", name)))


def _gsply(action: str, name: str, path: Path, out: Path, source: Path) -> Callable[[], Any]:
    import gsply  # pyright: ignore[reportMissingImports]

    if action == "read":
        return lambda: gsply.read_spz(path) if name == "spz" else gsply.plyread(path)
    data = gsply.plyread(source)
    if name == "spz":
        return lambda: gsply.write_spz(out, data)
    return lambda: gsply.plywrite(out, data, compressed=name == "compressed")


def _plyfile(action: str, path: Path, out: Path) -> Callable[[], Any]:
    from plyfile import PlyData  # pyright: ignore[reportMissingImports]

    if action == "read":

        def read() -> NDArrays:
            table = PlyData.read(path)["vertex"].data
            return {name: np.ascontiguousarray(table[name]) for name in table.dtype.names}

        return read
    data = PlyData.read(path, mmap=False)
    return lambda: data.write(out)


NDArrays = dict[str, np.ndarray]


def peak_memory() -> tuple[float, float]:
    """Resident memory of this process now, and its peak since the last `reset_peak`, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return tuple(1024 * float(lines[name].split()[0]) for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    library, action, ending, folder, count, degree = sys.argv[1:]
    job(library, action, ending, Path(folder), WARM, int(degree))()
    work = job(library, action, ending, Path(folder), int(count), int(degree))
    reset_peak()
    before, _ = peak_memory()
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_memory()[1] - before
    del result
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak / 1e6}))


if __name__ == "__main__":
    main()
