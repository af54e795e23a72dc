"""The colours of a mesh: lit by the same kind of light as procedural objects, or plain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....synthetic.objects.light import ObjectLight, encoded_array, vertex_light
from ....synthetic.render.trace import Hits
from .solid import MeshObject

STUDIO = ObjectLight(
    towards=(0.433, 0.5, 0.75), lamp=(0.55, 0.55, 0.55), sky=(0.62, 0.62, 0.62), ground=(0.42, 0.42, 0.42), spread=0.25
)
"""White light from above, one side and the front: the same for every mesh, so that colours compare."""
_KNEE = 0.8


@dataclass(frozen=True, eq=False)
class LitMesh:
    """A mesh with its light worked out; matt, so that all views agree.

    Attributes:
        obj: the mesh.
        light: [V, 3] float32 linear light on each vertex; None shows the plain colours.
    """

    obj: MeshObject
    light: NDArray[np.float32] | None

    def shade(self, hits: Hits) -> NDArray[np.float32]:
        """[R, 3] sRGB in [0, 1] of the places hit; black where nothing was."""
        linear = self.obj.albedo(hits)[:, :3]
        if self.light is not None:
            met = hits.face >= 0
            u, v = hits.u[met], hits.v[met]
            weights = np.stack([1 - u - v, u, v], 1).astype(np.float32)[..., None]
            linear[met] *= (self.light[self.obj.faces[hits.face[met]]] * weights).sum(1)
            # rolled off so that nothing is clipped hard, as procedural objects are
            bright = np.maximum(linear - _KNEE, 0)
            linear = np.where(bright > 0, 1 - (1 - _KNEE) * np.exp(-bright / (1 - _KNEE)), linear)
        return encoded_array(linear)


def light_mesh(obj: MeshObject, light: ObjectLight | None = STUDIO) -> LitMesh:
    """Works out the light on a mesh; ``light`` None leaves its colours plain."""
    return LitMesh(obj, None if light is None else vertex_light(obj, light))
