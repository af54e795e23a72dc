"""Search trees for nearest neighbours. scipy is imported on first use, because that takes half a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial import KDTree


def tree(points: NDArray) -> KDTree:
    """A search tree over finite points [N, 3]."""
    from scipy.spatial import KDTree

    return KDTree(points)
