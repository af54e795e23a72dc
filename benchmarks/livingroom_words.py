"""Text queries on a capture with a teacher of named classes: heat maps of ten phrases.

Class scores are lifted onto the capture's points (or predicted by a run's model) and compared with CLIP's text vectors
of the class names, see `core.query.ChannelText`.
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
"""The second is no class of the network, the last is not in the scene."""


@dataclass(frozen=True)
class LivingroomWords:
    """Query a capture with precomputed class scores for ten phrases."""

    data: tyro.conf.Positional[Path]
    """An RGB-D capture with class scores in teacher_ade20k."""
    text_vectors: tyro.conf.Positional[Path]
    """Text vectors FILE.npy [V, D], with their names in FILE_names.json."""
    run: Path | None = None
    """Run trained on the capture, to query instead of lifted features."""
    phrases: tuple[str, ...] = PHRASES
    """Phrases to query."""
    width: int = 400
    """Width of one image, pixels."""
    out: Path = Path("bench/livingroom_words")
    """Folder for the output of `gaussiancross query`."""


def main() -> int:
    args = tyro.cli(LivingroomWords)
    command = ["query", str(args.data if args.run is None else args.run), *args.phrases]
    teacher = f"precomputed:{args.data / 'teacher_ade20k'}"
    options = ["--teacher", teacher, "--text-vectors", str(args.text_vectors), "--out", str(args.out)]
    started = time.perf_counter()
    status = gaussiancross([*command, *options, "--width", str(args.width), "--views", "1"])
    print(f"{time.perf_counter() - started:.1f} s for {len(args.phrases)} phrases, pictures and files")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
