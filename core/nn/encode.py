"""Per-point features of a whole, unmasked and unaugmented scene from a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data.batch import InputConfig, SceneInput, make_input
from ..data.scene import PointScene

if TYPE_CHECKING:
    from .spunet import SpUNet


def encode_points(
    backbone: SpUNet,
    coord: NDArray[np.floating],
    color: NDArray[np.uint8],
    normal: NDArray[np.floating] | None = None,
    voxel_size: float = 0.02,
    hypercolumn: bool = False,
) -> Tensor:
    """Compute the features of every point; points of one voxel share them. Large scenes are computed in blocks.

    Args:
        coord: [N, 3] metres, z up.
        color: [N, 3] uint8.
        normal: [N, 3] unit vectors; None stands for zeros, the value of unknown normals.
        voxel_size: edge of the voxels in pre-training, metres.
        hypercolumn: concatenate the features of every stage, fine to coarse to fine, instead of the last stage's.

    Returns:
        [N, C] float32 on the CPU, in input order.

    Raises:
        InputError: arrays that do not match, are not finite, or colours that are not uint8.
    """
    from .blocks import block_voxels, encode_in_blocks

    network_input = voxels_of(coord, color, normal, voxel_size)
    features = encode_in_blocks(backbone, network_input.points, block_voxels(backbone), hypercolumn)  # [V, C]
    return features[network_input.inverse]  # [N, C]


def voxels_of(
    coord: NDArray[np.floating], color: NDArray[np.uint8], normal: NDArray[np.floating] | None, voxel_size: float
) -> SceneInput:
    """The network input of a whole scene; arguments as for `encode_points`."""
    normal = np.zeros_like(coord) if normal is None else normal  # [N, 3]
    scene = PointScene("scene", np.asarray(coord, np.float32), np.asarray(color), np.asarray(normal, np.float32))
    return make_input(scene.validated(), InputConfig(voxel_size=voxel_size))
