"""What every object with a surface is: something that light falls on, cameras surround and points lie on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .trace import Tracer


class Solid(ABC):
    """Triangles, z up.

    Attributes:
        vertices, normals: [V, 3] float32; normals are outward unit vectors.
        faces: [F, 3] int64, counter-clockwise seen from outside.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int64]

    @abstractmethod
    def rng(self, stream: int) -> Generator:
        """Random numbers of this object's own; ``stream`` keeps the uses of them apart."""

    @cached_property
    def tracer(self) -> Tracer:
        """Rays against it."""
        return Tracer(self.vertices, self.faces)

    @cached_property
    def bounds(self) -> NDArray[np.float32]:
        """[2, 3] lowest and highest corner."""
        return np.stack([self.vertices.min(0), self.vertices.max(0)])

    @cached_property
    def radius(self) -> float:
        """Of the ball about the middle of the bounds that holds the object."""
        return float(np.linalg.norm(self.vertices - self.bounds.mean(0), axis=1).max())

    def areas(self) -> NDArray[np.float64]:
        """[F] area of each triangle."""
        a, b, c = (self.vertices[self.faces[:, i]].astype(np.float64) for i in range(3))
        return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
