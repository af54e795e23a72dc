"""`GaussianCross` as a nerfstudio model: cameras in, images out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from nerfstudio.cameras.cameras import Cameras as NerfstudioCameras
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.models.base_model import Model
from torch import Tensor

from ...core.geometry.cameras import Cameras

if TYPE_CHECKING:
    from ...core.geometry.gaussians import Gaussians
    from ..pretraining.data import PretrainData


class GaussianCrossModel(Model):
    """Holds the network as ``net``, and renders the Gaussians that it predicts for the first held-out scene.

    Frame: the network's, in metres, z up, the scene's horizontal centre at floor height as origin.
    """

    def populate_modules(self) -> None:
        from ...core.models import GaussianCross

        self._source: PretrainData = self.kwargs["source"]
        self.net = GaussianCross(replace(self.config.net, teacher_dim=self._source.teacher_dim))  # type: ignore[attr-defined]
        self._gaussians: Gaussians | None = None

    def update_to_step(self, step: int) -> None:
        """Drop the predicted Gaussians; called after weights were loaded."""
        self._gaussians = None

    def get_param_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        return {"net": list(self.net.parameters())}

    @torch.no_grad()
    def get_outputs_for_camera(
        self, camera: NerfstudioCameras, obb_box: OrientedBox | None = None
    ) -> dict[str, Tensor]:
        """Render one perspective camera.

        Args:
            camera: one camera (nerfstudio's frame: x right, y up, looking along −z).
            obb_box: render only Gaussians with their centre in this box.

        Returns:
            ``rgb`` [H, W, 3], ``depth`` [H, W, 1] (distance along the ray in metres, nerfstudio's convention) and
            ``accumulation`` [H, W, 1].
        """
        if self._gaussians is None:
            self.net.eval()
            points = next(self._source.held_out())[1].points.to(self.device)
            self._gaussians = replace(self.net.gaussians(points)[0], features=None)
        gaussians = self._gaussians if obb_box is None else self._gaussians[obb_box.within(self._gaussians.means)]
        ours = from_nerfstudio(camera.to(self.device))
        splats = self.net.render(gaussians, ours, features=False)
        ray_length = (ours.unproject(torch.ones_like(splats.depth[..., 0])) - ours.centers[:, None, None]).norm(dim=-1)
        return {
            "rgb": splats.color[0],
            "depth": splats.depth[0] * ray_length[0, ..., None],
            "accumulation": splats.alpha[0],
        }

    def get_outputs(self, ray_bundle: Any) -> dict[str, Tensor]:
        return self.get_outputs_for_camera(ray_bundle)


OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
"""Converts camera axes between nerfstudio's (y up, z back) and ours (y down, z forward); its own inverse."""


def from_nerfstudio(cameras: NerfstudioCameras) -> Cameras:
    """Convert nerfstudio's cameras, all of one image size, to ours."""
    c2w = cameras.camera_to_worlds.reshape(-1, 3, 4)
    last = c2w.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(c2w), 1, 4)
    viewmats = torch.linalg.inv(torch.cat([c2w, last], 1) @ OPENGL_TO_OPENCV.to(c2w))
    Ks = cameras.get_intrinsics_matrices().reshape(-1, 3, 3).to(c2w)
    return Cameras(viewmats, Ks, int(cameras.width.flatten()[0]), int(cameras.height.flatten()[0]))


def to_nerfstudio(cameras: Cameras) -> NerfstudioCameras:
    """Convert our cameras to nerfstudio's."""
    c2w = cameras.camera_to_worlds @ OPENGL_TO_OPENCV.to(cameras.viewmats)
    fx, fy, cx, cy = (cameras.Ks[:, i, j].clone() for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return NerfstudioCameras(c2w[:, :3], fx, fy, cx, cy, width=cameras.width, height=cameras.height)
