"""Nearest neighbours of points, for whoever asks first: scipy's trees take half a second to import, and no picture of a
scene needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial import KDTree


def tree(points: NDArray) -> KDTree:
    """A search tree over points [N, 3], all of them finite."""
    from scipy.spatial import KDTree

    return KDTree(points)
