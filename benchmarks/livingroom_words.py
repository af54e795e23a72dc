"""A page of heat maps: ten phrases asked of a capture whose teacher is a network with named classes.

Class scores are lifted onto the capture's points (or come out of a run's model) and meet CLIP's text vectors of the
class names, see `core.query.ChannelText`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..app.cli import main as gaussiancross

PHRASES = (
    "chair",
    "rocking chair",
    "curtain",
    "cabinet",
    "window",
    "floor",
    "wall",
    "painting",
    "mirror",
    "giraffe",
)
"""The second is no class of the network, the last is not there."""


@dataclass(frozen=True)
class LivingroomWords:
    """Ask a capture with precomputed class scores for ten things."""

    data: tyro.conf.Positional[Path]
    """An RGB-D capture with class scores in teacher_ade20k."""
    text_vectors: tyro.conf.Positional[Path]
    """Text vectors with names: FILE.npy [V, D], its words in FILE_names.json."""
    run: Path | None = None
    """A run that was trained on the capture, instead of lifting."""
    phrases: tuple[str, ...] = PHRASES
    """What to ask for."""
    width: int = 400
    """Of one picture, pixels."""
    out: Path = Path("bench/livingroom_words")
    """Folder for page.png and everything else that `gaussiancross query` writes."""


def main() -> int:
    given = tyro.cli(LivingroomWords)
    asked = ["query", str(given.data if given.run is None else given.run), *given.phrases]
    teacher = f"precomputed:{given.data / 'teacher_ade20k'}"
    options = ["--teacher", teacher, "--text-vectors", str(given.text_vectors), "--out", str(given.out)]
    started = time.perf_counter()
    status = gaussiancross([*asked, *options, "--width", str(given.width), "--views", "1"])
    print(f"{time.perf_counter() - started:.1f} s for {len(given.phrases)} phrases, pictures and files")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
