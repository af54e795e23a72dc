"""Uni3D's checkpoints (``model.pt``: fp16 tensors under "module") into `ClipGS`."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from .clipgs import ClipGS

UNUSED = (
    "point_encoder.visual.cls_token",
    "point_encoder.visual.pos_embed",
    "point_encoder.visual.patch_embed.",
    "point_encoder.visual.head.",
)
"""What the checkpoints hold of the 2D network whose blocks they took, and Uni3D itself never runs."""
_FIRST = "point_encoder.encoder.first_conv.0.weight"
_ADDED = "point_encoder.refine."


def read_uni3d(path: Path | str) -> dict[str, Tensor]:
    """The weights of a Uni3D checkpoint that its network uses, float32 on the CPU.

    Args:
        path: a file of torch (read with ``weights_only``) or safetensors; the weights may lie under "module" or
            "state_dict", and their names may begin with "module.".

    Raises:
        InputError: missing, damaged, or without Uni3D's names.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a Uni3D checkpoint", "no such file")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # unpicklers meet damaged bytes with almost any exception
        found = f"a file that cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        raise InputError(path, "a Uni3D checkpoint", found) from error
    for name in ("module", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict):
        raise InputError(path, "a Uni3D checkpoint: weights by name", type(state).__name__)
    tensors = {str(k).removeprefix("module."): v.float() for k, v in state.items() if isinstance(v, Tensor)}
    tensors = {k: v for k, v in tensors.items() if not k.startswith(UNUSED)}
    if _FIRST not in tensors:
        raise InputError(path, f"a Uni3D checkpoint, with {_FIRST}", f"{len(tensors)} tensors of other names")
    return tensors


def load_uni3d(model: ClipGS, path: Path | str) -> None:
    """Start ``model`` from a Uni3D checkpoint: until it is trained, it computes what Uni3D does of position and colour.

    The refinement branch stays zero; a point encoder of all attributes gets zero weights for the new ones.

    Raises:
        InputError: not a Uni3D checkpoint, or one of another size.
    """
    given = read_uni3d(path)
    own = model.state_dict()
    first = given[_FIRST]
    if first.shape[1] < own[_FIRST].shape[1]:
        given[_FIRST] = torch.cat([first, first.new_zeros(len(first), own[_FIRST].shape[1] - first.shape[1], 1)], 1)
    wanted = {k for k in own if not k.startswith(_ADDED)}
    if wanted != set(given):
        missing, extra = sorted(wanted - set(given)), sorted(set(given) - wanted)
        found = ", ".join([*(f"no {k}" for k in missing[:2]), *(f"also {k}" for k in extra[:2])])
        raise InputError(path, "the weights of a Uni3D of this size", found, "choose the preset of its size")
    for name in sorted(wanted):
        if given[name].shape != own[name].shape:
            shapes = f"{tuple(own[name].shape)}", f"{tuple(given[name].shape)}"
            raise InputError(path, f"{name} of shape {shapes[0]}", shapes[1], "choose the preset of its size")
    model.load_state_dict(given, strict=False)
