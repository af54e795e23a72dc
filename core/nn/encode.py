"""Per-point features of a whole, unmasked and unaugmented scene from a backbone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.batch import InputConfig, make_input
from ..data.scene import PointScene
from .stages import Stages


class Backbone(Protocol):
    """Interface of a network on voxels that `encode_points` uses (`core.nn.SpUNet`)."""

    @property
    def stages(self) -> Callable[[Tensor, Tensor, Tensor], Stages]: ...

    def __call__(self, grid_coord: Tensor, feat: Tensor, offset: Tensor) -> Tensor: ...


@torch.no_grad()
def encode_points(
    backbone: Backbone,
    coord: NDArray[np.floating],
    color: NDArray[np.uint8],
    normal: NDArray[np.floating] | None = None,
    voxel_size: float = 0.02,
    device: torch.device | str = "cpu",
    hypercolumn: bool = False,
) -> Tensor:
    """Compute the features of every point; points of one voxel share them.

    Args:
        coord: [N, 3] metres, z up.
        color: [N, 3] uint8.
        normal: [N, 3] unit vectors; None stands for zeros, the value of unknown normals.
        voxel_size: edge of the voxels in pre-training, metres.
        device: the backbone's device.
        hypercolumn: concatenate the features of every stage, fine to coarse to fine, instead of the last stage's.

    Returns:
        [N, C] float32 on the CPU, in input order.

    Raises:
        InputError: arrays that do not match, are not finite, or colours that are not uint8.
    """
    normal = np.zeros_like(coord) if normal is None else normal  # [N, 3]
    scene = PointScene("scene", np.asarray(coord, np.float32), np.asarray(color), np.asarray(normal, np.float32))
    network_input = make_input(scene.validated(), InputConfig(voxel_size=voxel_size))
    points = network_input.points.to(device)
    inputs = points.grid_coord, points.feat, points.offset  # [V, 3], [V, 6], [1]
    features = torch.cat(backbone.stages(*inputs).spread(), 1) if hypercolumn else backbone(*inputs)  # [V, C]
    return features.float().cpu()[network_input.inverse]  # [N, C]
