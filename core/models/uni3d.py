"""Loading of Uni3D's checkpoints (``model.pt``: fp16 tensors under "module") into `ClipGS`."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from ..io.torch_files import torch_load
from .clipgs import ClipGS

UNUSED = (
    "point_encoder.visual.cls_token",
    "point_encoder.visual.pos_embed",
    "point_encoder.visual.patch_embed.",
    "point_encoder.visual.head.",
)
"""Prefixes of unused weights: parts of the 2D network from which Uni3D took its blocks."""
_FIRST = "point_encoder.encoder.first_conv.0.weight"
_ADDED = "point_encoder.refine."


def read_uni3d(path: Path | str) -> dict[str, Tensor]:
    """Read the used weights of a Uni3D checkpoint, as float32 on the CPU.

    Args:
        path: a torch (read with ``weights_only``) or safetensors file; the weights may lie under "module" or
            "state_dict", and their names may start with "module.".

    Raises:
        InputError: missing, damaged, or without Uni3D's names.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a Uni3D checkpoint", "no such file")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch_load(path)
    except InputError:
        raise
    except Exception as error:  # damaged files raise almost any exception
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
    """Initialise ``model`` from a Uni3D checkpoint; it then computes the same as Uni3D from position and colour.

    The refinement branch stays zero; a point encoder of all attributes has zero weights for the new ones.

    Raises:
        InputError: not a Uni3D checkpoint, or one of another size.
    """
    state_dict = read_uni3d(path)
    expected = model.state_dict()
    first = state_dict[_FIRST]  # [128, 6, 1]
    added = expected[_FIRST].shape[1] - first.shape[1]
    if added > 0:
        state_dict[_FIRST] = torch.cat([first, first.new_zeros(len(first), added, 1)], 1)
    names = {k for k in expected if not k.startswith(_ADDED)}
    if names != set(state_dict):
        missing, extra = sorted(names - set(state_dict)), sorted(set(state_dict) - names)
        found = ", ".join([*(f"no {k}" for k in missing[:2]), *(f"also {k}" for k in extra[:2])])
        raise InputError(path, "the weights of a Uni3D of this size", found, "choose the preset of its size")
    for name in sorted(names):
        if state_dict[name].shape != expected[name].shape:
            shapes = f"{tuple(expected[name].shape)}", f"{tuple(state_dict[name].shape)}"
            raise InputError(path, f"{name} of shape {shapes[0]}", shapes[1], "choose the preset of its size")
    model.load_state_dict(state_dict, strict=False)
