"""Zero-shot classification of objects by the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .retrieval import EQUAL

if TYPE_CHECKING:
    from ..query.text import TextEncoder

_LOOKS = ("photo of a nice", "photo of a cool", "photo of a weird", "photo of a small", "photo of a large")
_STATES = ("photo of a clean", "photo of a dirty")


def _both(before: str, after: str = "") -> list[str]:
    """The prompt with "a" and with "the"."""
    return [f"{before} a {{}}{after}.", f"{before} the {{}}{after}."]


def _adjective(before: str) -> list[str]:
    """ "a photo of a nice {}." and "a photo of the nice {}."."""
    return [f"a {before} {{}}.", f"a {before.replace('of a', 'of the')} {{}}."]


TEMPLATES: tuple[str, ...] = (
    "a point cloud model of {}.",
    *_both("There is", " in the scene"),
    *(f"a photo of {which} {{}} in the scene." for which in ("a", "the", "one")),
    *(f"itap of {which} {{}}." for which in ("a", "my", "the")),
    *(f"a photo of {which} {{}}." for which in ("a", "my", "the", "one", "many")),
    *(p for quality in ("good", "bad") for p in _both(f"a {quality} photo of")),
    *(p for look in (*_LOOKS, *_STATES) for p in _adjective(look)),
    *(p for light in ("bright", "dark") for p in _both(f"a {light} photo of")),
    *_adjective("photo of a hard to see"),
    *(
        p
        for kind in ("low resolution", "cropped", "close-up", "jpeg corrupted", "blurry", "pixelated")
        for p in _both(f"a {kind} photo of")
    ),
    "a black and white photo of the {}.",
    "a black and white photo of a {}",
    *(f"{which} {thing} {{}}." for thing in ("plastic", "toy", "plushie", "cartoon") for which in ("a", "the")),
    "an embroidered {}.",
    "the embroidered {}.",
    *(f"a painting of {which} {{}}." for which in ("the", "a")),
)
"""The 64 prompts of the point-cloud benchmarks (ULIP, OpenShape, Uni3D): CLIP's and four about scenes."""

KS = (1, 3, 5)


def class_vectors(encoder: TextEncoder, names: Sequence[str], templates: Sequence[str] = TEMPLATES) -> Tensor:
    """Compute a unit vector per class, [C, D]: the mean of the unit vectors of its name in every template.

    Templates that the encoder cannot encode are left out; if it can encode none of them, the name alone is used. So it
    is for an encoder with a vocabulary of its own, which was not trained on such sentences.

    Raises:
        InputError: a class that the encoder does not know, or a template without exactly one {}.
    """
    bad = [t for t in templates if t.count("{}") != 1]
    if bad or not names:
        raise InputError("zero-shot classes", "names, and templates with one {}", repr(bad[0]) if bad else "no names")
    from ..query.ask import template_for

    used_templates = ("{}",) if template_for(encoder) == "{}" else templates
    rows = []
    for name in names:
        phrase = name.replace("_", " ")
        encoded = encoder.encode([t.replace("{}", phrase) for t in used_templates])
        if not bool(encoded.known.any()):
            encoded = encoder.encode([phrase])
        if not bool(encoded.known.any()):
            raise InputError(f"class {name!r}", "a name that the text tower knows", "an unknown one")
        rows.append(F.normalize(encoded.vectors[encoded.known].float(), dim=-1).mean(0))
    return F.normalize(torch.stack(rows), dim=-1).cpu()


def zero_shot_scores(objects: Tensor, labels: Tensor, classes: Tensor, ks: Sequence[int] = KS) -> dict[str, float]:
    """``top1, top3, top5``, the shares of objects with their class among the k nearest, and ``macc``, the mean of top 1
    over classes. Among equal cosines the right class is last.

    Args:
        objects: [M, D] embeddings.
        labels: [M] integers, rows of ``classes``.
        classes: [C, D] result of `class_vectors`.

    Raises:
        InputError: labels that do not match the objects or classes.
    """
    labels = labels.long().cpu()
    if len(labels) != len(objects) or len(labels) == 0:
        raise InputError("zero-shot labels", f"{len(objects)}, one per object", str(len(labels)))
    if int(labels.min()) < 0 or int(labels.max()) >= len(classes):
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise InputError("zero-shot labels", f"classes from 0 to {len(classes) - 1}", found)
    scores = F.normalize(objects.float().cpu(), dim=-1) @ F.normalize(classes.float().cpu(), dim=-1).T
    rank = (scores >= scores.gather(1, labels[:, None]) - EQUAL).sum(1)
    found = {f"top{k}": float((rank <= k).float().mean()) for k in ks}
    right = (rank <= 1).double()
    counts = torch.bincount(labels, minlength=len(classes)).double()
    per_class = torch.zeros(len(classes), dtype=torch.float64).index_add_(0, labels, right)[counts > 0]
    return found | {"macc": float((per_class / counts[counts > 0]).mean())}
