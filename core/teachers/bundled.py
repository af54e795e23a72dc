"""Loading of the bundled networks: a safetensors file in half precision, described by a JSON card beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ..errors import InputError
from ..io.checkpoint import load_weights

Network = TypeVar("Network", bound=nn.Module)


def load_network(make: Callable[[], Network], weights: Path, card: str) -> Network:
    """Build a network and load its weights, in float32, in evaluation mode and without gradients.

    Args:
        make: builds the network with any weights.
        card: name of the file that describes the network, for messages.

    Raises:
        InputError: weights that are missing, damaged or of another network.
    """
    tensors = load_weights(weights)
    with torch.random.fork_rng(devices=[]):  # initialisation must not change the random state of a run
        network = make()
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        found = str(error).splitlines()[-1].strip()
        raise InputError(weights, f"the weights that {card} describes", found) from error
    return network.eval().requires_grad_(False)
