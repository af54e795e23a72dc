"""Pinhole cameras.

Frames, everywhere in this project:

* **world**: right-handed, metres. Synthetic scenes have z up; captures keep the frame of their poses.
* **camera**: OpenCV, x right, y down, z forward, metres.
* **pixel**: the centre of the pixel in row i, column j lies at (u, v) = (j + 0.5, i + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class Cameras:
    """C pinhole cameras of one image size.

    Attributes:
        viewmats: [C, 4, 4] world → camera. After a geometric augmentation the upper 3×3 block may contain a scale or a
            reflection: ``viewmats @ x_augmented`` is always the *metric* camera frame.
        Ks: [C, 3, 3] intrinsics in pixels of a ``width`` × ``height`` image.
        width, height: image size in pixels.
    """

    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int

    def __post_init__(self) -> None:
        c = self.viewmats.shape[0]
        if self.viewmats.shape != (c, 4, 4) or self.Ks.shape != (c, 3, 3):
            raise InputError(
                "cameras",
                "viewmats [C, 4, 4] and Ks [C, 3, 3]",
                f"{list(self.viewmats.shape)} and {list(self.Ks.shape)}",
            )
        if self.width < 1 or self.height < 1:
            raise InputError("cameras", "an image of at least one pixel", f"{self.width} × {self.height}")

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Cameras:
        """A subset; an integer keeps the leading axis."""
        if isinstance(index, int):
            index = [index]
        return replace(self, viewmats=self.viewmats[index], Ks=self.Ks[index])

    def to(self, device: torch.device | str) -> Cameras:
        return replace(self, viewmats=self.viewmats.to(device), Ks=self.Ks.to(device))

    def require_finite(self) -> None:
        """Raise `InputError` for poses or intrinsics that are not finite. Waits for the cameras' device."""
        finite = self.viewmats.isfinite().flatten(1).all(1) & self.Ks.isfinite().flatten(1).all(1)
        if not finite.all():
            bad = torch.nonzero(~finite)[:, 0].tolist()
            raise InputError(
                "cameras", "finite poses and intrinsics", f"NaN or infinity in {bad}", "leave those frames out"
            )

    @property
    def camera_to_worlds(self) -> Tensor:
        """[C, 4, 4] camera → world (OpenCV)."""
        return torch.linalg.inv(self.viewmats)

    @property
    def centers(self) -> Tensor:
        """[C, 3] optical centres in the world."""
        return self.camera_to_worlds[:, :3, 3]

    def resized(self, width: int, height: int) -> Cameras:
        """The same cameras at another image size (pixel centres at half integers, so Ks scale linearly)."""
        scale = self.Ks.new_tensor([width / self.width, height / self.height, 1.0])  # [3]
        return Cameras(self.viewmats, self.Ks * scale[:, None], width, height)

    def transformed(self, transform: Tensor) -> Cameras:
        """The cameras that see ``x' = transform @ x`` as these see ``x``: viewmats @ transform⁻¹.

        Args:
            transform: [4, 4] affine map of the world. The viewmats contain its scale and reflection on purpose, so that
                rendered depth stays in metres.
        """
        inverse = torch.linalg.inv(transform.double()).to(self.viewmats)  # [4, 4]
        return replace(self, viewmats=self.viewmats @ inverse)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project world points [N, 3] to pixels [C, N, 2] and camera depths z [C, N] in metres.

        Autocast is switched off: half-precision products would be off by pixels and centimetres.
        """
        with torch.autocast(points.device.type, enabled=False):
            cam = torch.einsum("cij,nj->cni", self.viewmats[:, :3, :3], points) + self.viewmats[:, None, :3, 3]
            z = cam[..., 2]  # [C, N] from cam [C, N, 3]
            uv = torch.einsum("cij,cnj->cni", self.Ks, cam)[..., :2] / z.clamp_min(1e-8)[..., None]
        return uv, z

    def unproject(self, depth: Tensor) -> Tensor:
        """Map camera depth z [C, H, W] in metres to world points [C, H, W, 3]."""
        v, u = torch.meshgrid(  # [H, W] each
            torch.arange(self.height, device=depth.device) + 0.5,
            torch.arange(self.width, device=depth.device) + 0.5,
            indexing="ij",
        )
        pixels = torch.stack([u, v, torch.ones_like(u)], -1).to(depth.dtype)  # [H, W, 3]
        c2w = self.camera_to_worlds  # [C, 4, 4]
        with torch.autocast(depth.device.type, enabled=False):
            rays = torch.einsum("cij,hwj->chwi", torch.linalg.inv(self.Ks), pixels)  # [C, H, W, 3], z = 1
            return torch.einsum("cij,chwj->chwi", c2w[:, :3, :3], rays * depth[..., None]) + c2w[:, None, None, :3, 3]

    @staticmethod
    def cat(cameras: list[Cameras]) -> Cameras:
        """Concatenate cameras of one image size."""
        first = cameras[0]
        if any((c.width, c.height) != (first.width, first.height) for c in cameras):
            raise InputError("cameras", "one image size", str({(c.width, c.height) for c in cameras}))
        return replace(first, viewmats=torch.cat([c.viewmats for c in cameras]), Ks=torch.cat([c.Ks for c in cameras]))


def intrinsics(fov_x: float, width: int, height: int) -> Tensor:
    """[3, 3] K of square pixels with a centred principal point; ``fov_x`` in radians."""
    f = 0.5 * width / torch.tan(torch.tensor(0.5 * fov_x)).item()
    return torch.tensor([[f, 0.0, 0.5 * width], [0.0, f, 0.5 * height], [0.0, 0.0, 1.0]])


def look_at(eye: Tensor, target: Tensor, up: Tensor | None = None) -> Tensor:
    """[4, 4] world → camera (OpenCV) of a camera at ``eye`` [3] that looks at ``target`` [3]; ``up`` defaults to +z."""
    up = torch.tensor([0.0, 0.0, 1.0], dtype=eye.dtype, device=eye.device) if up is None else up
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    right = torch.linalg.cross(forward, up)
    if right.norm() < 1e-6:  # looking straight up or down: any horizontal axis is valid
        right = torch.linalg.cross(forward, up.roll(1))
    right = torch.nn.functional.normalize(right, dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    viewmat = torch.eye(4, dtype=eye.dtype, device=eye.device)
    viewmat[:3, :3] = rotation
    viewmat[:3, 3] = -rotation @ eye
    return viewmat
