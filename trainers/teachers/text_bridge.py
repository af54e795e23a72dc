"""Names outside the words of the bundled text tower, from CLIP text vectors.

    python -m gaussiancross.trainers.teachers.text_bridge clip_vitb32_lvis.npy --export assets

A linear map from CLIP's vectors to the tower's space is fitted to the names that both know. Names whose meaning is near
one of these get a vector by it; for the others the nearest known names are stored, as suggestions.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from ...core.errors import InputError
from ...core.query.scoring import unit
from ...core.query.text import TextEncoder, TextVectors, encode
from ...core.synthetic.objects.captions import all_names
from ...core.synthetic.rooms.captions import SYNONYMS
from ...core.teachers.builtin import BuiltinTeacher
from ...core.teachers.further_names import save_further_names

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Candidates of the ridge, as a multiple of the mean squared length."""
NEAR = 0.5
"""Least cosine of CLIP vectors, relative to their mean, between a name with a vector and a shared one."""


@dataclass(frozen=True)
class TextBridge:
    """Fit the map, and write further names beside the weights of `builtin`."""

    clip: tyro.conf.Positional[Path]
    """CLIP text vectors FILE.npy [V, E], their names in FILE_names.json."""
    export: Path = Path("assets")
    """Folder for builtin_names.safetensors."""


@dataclass(frozen=True)
class Bridge:
    """Further names.

    Attributes:
        names: names with a vector.
        vectors: [V, D] their unit vectors in the tower's space.
        near: name without a vector → the three nearest names that the tower knows.
        rank: mean reciprocal rank of held-out shared names, see `best_ridge`.
    """

    names: list[str]
    vectors: Tensor
    near: dict[str, list[str]]
    rank: float


def bridge(text: TextEncoder, clip: TextVectors) -> Bridge:
    """Map the names of CLIP vectors that a text tower does not know."""
    known_names = [name for name in caption_names() if isinstance(clip.find(name), str)]
    targets, known = encode(text, known_names)
    known_names = [name for name, k in zip(known_names, known.tolist(), strict=True) if k]
    targets, inputs = targets[known], clip.encode(known_names).vectors
    ridge, rank = best_ridge(inputs, targets)
    weight, bias = fit(inputs, targets, ridge)
    _, in_tower = text.encode([plain(name) for name in clip.names])
    extra = [name for name, is_known in zip(clip.names, in_tower.tolist(), strict=True) if not is_known]
    vectors, mean = clip.encode(extra).vectors, clip.common()
    cosine = unit(vectors - mean)[0] @ unit(inputs - mean)[0].T
    is_near = cosine.amax(1) >= NEAR
    order = cosine.topk(3).indices.tolist()
    near = {plain(extra[i]): [known_names[k] for k in order[i]] for i in (~is_near).nonzero()[:, 0].tolist()}
    chosen = [name for name, k in zip(extra, is_near.tolist(), strict=True) if k]
    return Bridge(chosen, unit(vectors[is_near] @ weight + bias)[0], near, rank)


def caption_names() -> list[str]:
    """All names and synonyms of the captions."""
    return sorted({*all_names(), *SYNONYMS, *(s for many in SYNONYMS.values() for s in many)})


def plain(name: str) -> str:
    """The name without its note in brackets, and with spaces: "bow_(weapon)" → "bow"."""
    return re.sub(r"_?\(.*?\)", "", name).replace("_", " ").strip()


def fit(inputs: Tensor, targets: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Ridge regression: weight [E, D] and bias [D] from inputs [S, E] to targets [S, D]."""
    center, bias = inputs.mean(0), targets.mean(0)
    x = inputs - center
    gram = x @ x.T
    gram = gram + ridge * gram.diagonal().mean() * torch.eye(len(x))
    weight = x.T @ torch.linalg.solve(gram, targets - bias)
    return weight, bias - center @ weight


def best_ridge(inputs: Tensor, targets: Tensor, folds: int = 10) -> tuple[float, float]:
    """Ridge with the best mean reciprocal rank of held-out names among all targets, and that rank."""
    order, best = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0)), (RIDGES[0], -1.0)
    for ridge in RIDGES:
        ranks: list[float] = []
        for k in range(folds):
            held = order[k::folds]
            keep = torch.ones(len(inputs), dtype=torch.bool).index_fill(0, held, False)
            weight, bias = fit(inputs[keep], targets[keep], ridge)
            cosine = unit(inputs[held] @ weight + bias)[0] @ unit(targets)[0].T
            above = (cosine > cosine.gather(1, held[:, None])).sum(1)
            ranks += (1 / (above + 1)).tolist()
        best = max(best, (ridge, sum(ranks) / len(ranks)), key=lambda pair: pair[1])
    return best


def main() -> int:
    options = tyro.cli(TextBridge, prog="python -m gaussiancross.trainers.teachers.text_bridge")
    try:
        teacher = BuiltinTeacher()
        found = bridge(teacher.tower, TextVectors.load(options.clip))
        source = f"names and text vectors of {options.clip.name}: CLIP ViT-B/32 (MIT), names of LVIS"
        save_further_names(options.export, teacher.digest, found.names, found.vectors, found.near, source)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(found.names)} names with vectors, {len(found.near)} with suggestions; held-out rank {found.rank:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
