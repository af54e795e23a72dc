"""Model families of teachers, and licences of checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.plain_files import read_text
from .dense import ClipDense, DenseNetwork, DinoDense, RadioDense, SiglipDense


@dataclass(frozen=True)
class Family:
    """Properties of one family of checkpoints.

    Attributes:
        model_types: accepted values of ``model_type`` in ``config.json``.
        dense: model → dense network.
        label_free: whether it was trained without manual labels and text.
        text: format of phrases for the text tower: "clip" (unchanged), "siglip" (lower case, no punctuation, padded to
            full length), or None without a text tower.
        normalises: whether the network normalises pixels.
        example: a checkpoint to name in messages.
    """

    model_types: tuple[str, ...]
    dense: Callable[..., DenseNetwork]
    label_free: bool
    text: str | None
    normalises: bool
    example: str


FAMILIES: dict[str, Family] = {
    "clip": Family(("clip", "metaclip_2"), ClipDense, False, "clip", False, "openai/clip-vit-base-patch16"),
    "siglip2": Family(("siglip2", "siglip"), SiglipDense, False, "siglip", False, "google/siglip2-base-patch16-512"),
    "dinov2": Family(("dinov2", "dinov2_with_registers"), DinoDense, True, None, False, "facebook/dinov2-base"),
    "dinov3": Family(
        ("dinov3_vit", "dinov3_convnext"), DinoDense, True, None, False, "facebook/dinov3-vitb16-pretrain-lvd1689m"
    ),
    "radio": Family(("radio", ""), RadioDense, False, None, True, "nvidia/C-RADIOv4-H"),
}
"""Name on the command line → family. Image–text pairs count as labels; RADIO is distilled from models trained on such
pairs and on masks."""

ADAPTOR_TEXT = {
    "clip": "clip:apple/DFN5B-CLIP-ViT-H-14-378",
    "siglip": "siglip2:google/siglip-so400m-patch14-384",
    "siglip2": "siglip2:google/siglip2-so400m-patch16-naflex",
    "siglip2-g": "siglip2:google/siglip2-giant-opt-patch16-384",
}
"""RADIO's adaptor → the teacher whose text tower shares its space."""

_LICENCES = (
    (r"^openai/clip", "MIT"),
    (r"^laion/", "MIT"),
    (r"^apple/DFN", "Apple Machine Learning Research (research only)"),
    (r"^facebook/metaclip", "CC-BY-NC-4.0 (non-commercial)"),
    (r"^google/siglip", "Apache-2.0"),
    (r"^facebook/dinov2", "Apache-2.0"),
    (r"^facebook/dinov3", "DINOv3 License (commercial use under its terms)"),
    (r"(^|/)C-RADIO", "NVIDIA Open Model License (commercial use allowed)"),
    (r"(^|/)E?-?RADIO", "NSCLv1 (non-commercial)"),
)
"""Checkpoint → licence of its weights, first match."""


def licence_of(checkpoint: str) -> str:
    """Licence of a checkpoint's weights, from the model card in its folder, else by its name."""
    card = Path(checkpoint).expanduser() / "README.md"
    if card.is_file():
        try:
            head = read_text(card, errors="replace").partition("\n---")[0]
        except OSError as error:
            raise InputError(card, "the checkpoint's model card", f"nothing readable ({error.strerror})") from error
        entries = {k: v.strip(" '\"") for k, v in re.findall(r"^(license|license_name):(.+)$", head, re.MULTILINE)}
        if entries and entries.get("license") != "other":
            if found := entries.get("license") or entries.get("license_name"):
                return found
        elif "license_name" in entries:
            return entries["license_name"]
    matches = (licence for pattern, licence in _LICENCES if re.search(pattern, checkpoint))
    return next(matches, "unknown: see the checkpoint's model card")


def adaptors_of(config: Any) -> tuple[str, ...]:
    """Names of the adaptors in the config of a RADIO checkpoint."""
    return tuple(getattr(config, "adaptor_configs", None) or ())
