"""Conversion of SpUNet-v1m1 weights from and to Pointcept's checkpoints (GaussianCross's released ones, too).

A checkpoint holds ``state_dict`` with the backbone under ``backbone.`` (``module.backbone.`` after training on several
GPUs) beside class heads and other parts of the method. Convolution weights have spconv 2.x's layout [out, k, k, k, in].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..io.pretrained import check_names
from ..io.torch_files import read_weights
from .spunet import STAGES, SpUNet

STEM = "conv_input.0.weight"
"""Name of a backbone's first weight; the text before it is the backbone's prefix."""

HEAD = "final."
"""Prefix of the class head inside Pointcept's backbone; `SpUNet` has none."""

COUNTER = ".num_batches_tracked"
"""Suffix of counters that some older files lack; unused with a fixed momentum."""


@dataclass(frozen=True)
class Conversion:
    """A backbone read from a file of weights.

    Attributes:
        backbone: on the CPU, in eval mode.
        prefix: prefix of its names in the file, such as "module.backbone.".
        left_out: the other names in the file, such as class heads.
        filled: names of batch norm counters missing in the file, set to 0.
    """

    backbone: SpUNet
    prefix: str
    left_out: tuple[str, ...]
    filled: tuple[str, ...]


def read_pointcept(path: Path | str, prefix: str | None = None, own_statistics: bool = False) -> Conversion:
    """Read the SpUNet-v1m1 in a ``.pth`` or ``.safetensors`` file; widths and depths follow from the shapes.

    Args:
        prefix: prefix of the backbone's names; None finds it in a file with one backbone.
        own_statistics: see `SpUNet`.

    Raises:
        InputError: no backbone or several (lists their prefixes), another layout, or weights that are missing or too
            many (names each).
    """
    weights = read_weights(path)
    prefixes = sorted(k.removesuffix(STEM) for k in weights if k == STEM or k.endswith("." + STEM))
    if prefix is None:
        if len(prefixes) != 1:
            found = f"{len(prefixes)} at the prefixes {prefixes}" if prefixes else f"none among {sorted(weights)[:6]} …"
            hint = "choose one by its prefix" if prefixes else ""
            raise InputError(path, f"one SpUNet, with a weight {STEM}", found, hint)
        prefix = prefixes[0]
    elif prefix not in prefixes:
        raise InputError(path, f"a weight {prefix}{STEM}", f"backbones at the prefixes {prefixes}")
    inside = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    own = {k: v for k, v in inside.items() if not k.startswith(HEAD)}
    if prefix == "":  # a bare backbone: other names belong to other parts
        own = {k: v for k, v in own.items() if k.split(".")[0] in ("conv_input", "down", "enc", "up", "dec")}
    config = _architecture(path, own)
    with torch.random.fork_rng(devices=[]):
        net = SpUNet(**config, own_statistics=own_statistics)
    expected = net.state_dict()
    filled = tuple(k for k in expected if k.endswith(COUNTER) and k not in own)
    own |= {k: expected[k] for k in filled}
    check_names(path, expected, own)
    net.load_state_dict({k: v.to(expected[k].dtype) for k, v in own.items()})
    taken = {prefix + k for k in own}
    left_out = tuple(k for k in weights if k not in taken)
    return Conversion(net.eval(), prefix, left_out, filled)


def to_pointcept(net: SpUNet) -> dict[str, Any]:
    """Make a checkpoint for Pointcept: write it by ``torch.save`` and load it with ``weight=…``.

    It has no class head, so Pointcept must load it with ``strict=False``.
    """
    weights = {f"backbone.{k}": v.detach().to("cpu", copy=True).contiguous() for k, v in net.state_dict().items()}
    return {"epoch": 0, "state_dict": weights}


def _architecture(path: Path | str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the arguments of the `SpUNet` with weights of these shapes."""
    stem = tuple(weights[STEM].shape)
    if len(stem) != 5 or stem[1:4] != (5, 5, 5):
        older = len(stem) == 5 and stem[:3] == (5, 5, 5)
        found = f"{list(stem)}{', the layout of spconv 1' if older else ''}"
        raise InputError(path, f"{STEM} of shape [out, 5, 5, 5, in]", found, "save it with spconv 2" if older else "")
    needed = [f"{part}.{s}.0.weight" for part in ("down", "up") for s in range(STAGES)]
    missing = [k for k in needed if k not in weights]
    if missing:
        raise InputError(path, f"SpUNet-v1m1 with {STAGES} stages", f"no {', '.join(missing)}")
    down, up = ([weights[f"{part}.{s}.0.weight"].shape[0] for s in range(STAGES)] for part in ("down", "up"))

    def depth(part: str, stage: int) -> int:
        start = f"{part}.{stage}.block"
        blocks = {k.removeprefix(start).split(".")[0] for k in weights if k.startswith(start)}
        return max((int(b) + 1 for b in blocks if b.isdecimal()), default=0)

    # Decoder stages are numbered by the resolution of their output, and listed coarsest first.
    layers = [depth("enc", s) for s in range(STAGES)] + [depth("dec", s) for s in reversed(range(STAGES))]
    return {
        "in_channels": stem[4],
        "base_channels": stem[0],
        "channels": (*down, *reversed(up)),
        "layers": tuple(layers),
    }
