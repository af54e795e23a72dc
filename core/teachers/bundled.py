"""Loading of the bundled networks: a safetensors file in half precision, described by a JSON card beside it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..config import from_dict
from ..errors import InputError, first_line
from ..io.checkpoint import load_weights

Network = TypeVar("Network", bound=nn.Module)
Sizes = TypeVar("Sizes")

MOST = 4096
"""Largest size of a bundled network: of its channels, blocks and words."""


def read_sizes(kind: type[Sizes], entry: Any) -> Sizes:
    """Read the sizes of a network from a card: a dataclass of integers, tuples of them, and shares.

    Raises:
        InputError, TypeError, ValueError: other fields, types, numbers of entries, or sizes beyond `MOST`.
    """
    sizes = from_dict(kind, entry, "config")
    for field in dataclasses.fields(sizes):  # type: ignore[arg-type]
        value, default = getattr(sizes, field.name), field.default
        if isinstance(default, float):
            good = isinstance(value, (int, float)) and 0 <= value <= 1
        else:
            row, like = (v if isinstance(v, tuple) else (v,) for v in (value, default))
            good = len(row) == len(like) and all(type(v) is int and 0 <= v <= MOST for v in row)
        if not good:
            raise ValueError(f"{field.name}: {value!r}"[:200])
    return sizes


def read_words(entry: Any) -> tuple[str, ...]:
    """A list of texts, at least one.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(entry, list) or not entry or not all(isinstance(word, str) for word in entry):
        raise ValueError(f"no list of words: {entry!r}"[:200])
    return tuple(entry)


def finite(entry: Any) -> float:
    """A finite number.

    Raises:
        TypeError, ValueError: anything else.
    """
    value = float(entry)
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return value


def load_network(make: Callable[[], Network], weights: Path, card: str) -> Network:
    """Build a network and load its weights, in float32, in evaluation mode and without gradients.

    Args:
        make: builds the network with any weights.
        card: name of the file that describes the network, for messages.

    Raises:
        InputError: sizes that make no network; weights that are missing, damaged or of another network.
    """
    tensors = load_weights(weights)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # without memory
            shapes = {name: tensor.shape for name, tensor in make().state_dict().items()}
    except Exception as error:  # layers check their sizes in their own ways
        raise InputError(weights.with_name(card), "the sizes of a network", f"others ({first_line(error)})") from error
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        names = sorted(k for k in {*shapes, *tensors} if k not in tensors or shapes.get(k) != tensors[k].shape)
        raise InputError(weights, f"the weights that {card} describes", f"others as {', '.join(names[:3])}")
    with torch.random.fork_rng(devices=[]):  # initialisation must not change the random state of a run
        network = make()
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        found = str(error).splitlines()[-1].strip()
        raise InputError(weights, f"the weights that {card} describes", found) from error
    return network.eval().requires_grad_(False)
