"""Colours of a mesh, with the kind of light of procedural objects or without light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....synthetic.objects.light import ObjectLight, linear_to_srgb_array, vertex_light
from ....synthetic.render.trace import Hits
from .solid import MeshObject

STUDIO = ObjectLight(
    towards=(0.433, 0.5, 0.75), lamp=(0.55, 0.55, 0.55), sky=(0.62, 0.62, 0.62), ground=(0.42, 0.42, 0.42), spread=0.25
)
"""White light from above, one side and the front; the same for every mesh, for comparable colours."""
_KNEE = 0.8


@dataclass(frozen=True, eq=False)
class LitMesh:
    """A mesh with precomputed light; diffuse, so that all views agree.

    Attributes:
        obj: the mesh.
        light: [V, 3] float32 linear light per vertex; None for colours without light.
    """

    obj: MeshObject
    light: NDArray[np.float32] | None

    def shade(self, hits: Hits) -> NDArray[np.float32]:
        """Colours [R, 3], sRGB in [0, 1], of the hit points; black for misses."""
        linear = self.obj.albedo(hits)[:, :3]
        if self.light is not None:
            met = hits.face >= 0
            u, v = hits.u[met], hits.v[met]
            weights = np.stack([1 - u - v, u, v], 1).astype(np.float32)[..., None]
            linear[met] *= (self.light[self.obj.faces[hits.face[met]]] * weights).sum(1)
            # soft clipping, as for procedural objects
            bright = np.maximum(linear - _KNEE, 0)
            linear = np.where(bright > 0, 1 - (1 - _KNEE) * np.exp(-bright / (1 - _KNEE)), linear)
        return linear_to_srgb_array(linear)


def light_mesh(obj: MeshObject, light: ObjectLight | None = STUDIO) -> LitMesh:
    """Compute the light on a mesh; ``light`` None leaves its colours unchanged."""
    return LitMesh(obj, None if light is None else vertex_light(obj, light))
