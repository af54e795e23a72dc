"""Recorded pictures of dataset cameras: read, cached, and resampled for a free camera at the same place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.geometry.cameras import Cameras
from ...core.io.lru import LruCache
from ...core.losses.gaussiancross import to_tokens
from ...core.splat import rasterize
from ..scenes.source import SceneSource, SceneState

SAME_PLACE = 0.01
"""Metres between two cameras' centres up to which one picture can be turned into the other's."""

WIDEST = 960
"""Pixels of the widest recorded picture that is kept for the canvas."""


@dataclass(frozen=True)
class CameraRotation:
    """Where a free camera's pixels lie in a dataset camera's picture. Two pinhole cameras with one centre see the same
    rays: u_d ~ K_d R_d R_cᵀ K_c⁻¹ u_c, whatever the depth.

    Attributes:
        grid: [H, W, 2] positions in the dataset's picture, −1 to 1 (`grid_sample` without aligned corners).
        inside: [H, W] bool, whether that pixel was recorded.
        stretch: [H, W] depth along the dataset camera's axis / depth along the free camera's axis.
    """

    grid: Tensor
    inside: Tensor
    stretch: Tensor

    @staticmethod
    def between(cameras: Cameras, target: Cameras) -> CameraRotation | None:
        """From one free camera to one dataset camera; None when they are not at the same place."""
        view, goal = cameras.viewmats[0].double().cpu(), target.viewmats[0].double().cpu()
        apart = torch.linalg.inv(view)[:3, 3] - torch.linalg.inv(goal)[:3, 3]
        if float(apart.norm()) > SAME_PLACE:
            return None
        turn = goal[:3, :3] @ torch.linalg.inv(view[:3, :3]) @ torch.linalg.inv(cameras.Ks[0].double().cpu())
        v, u = torch.meshgrid(
            torch.arange(cameras.height) + 0.5, torch.arange(cameras.width) + 0.5, indexing="ij"
        )  # pixel centres
        rays = torch.stack([u, v, torch.ones_like(u)], -1).double() @ turn.T
        z = rays[..., 2]
        uv = (rays @ target.Ks[0].double().cpu().T)[..., :2] / z.clamp_min(1e-6)[..., None]
        grid = 2 * uv / torch.tensor([target.width, target.height]) - 1
        return CameraRotation(grid.float(), (z > 1e-6) & (grid.abs() < 1).all(-1), z.float())

    def sample(self, picture: Tensor, smooth: bool = False) -> Tensor:
        """[h, w, C] of the dataset camera, at any resolution → [H, W, C]; 0 outside."""
        mode = "bilinear" if smooth else "nearest"
        chw = picture.cpu().float().permute(2, 0, 1)[None]
        out = F.grid_sample(chw, self.grid[None], mode, padding_mode="border", align_corners=False)
        return out[0].permute(1, 2, 0) * self.inside[..., None]

    def depth(self, depth: Tensor) -> Tensor:
        """Depth [h, w] along the dataset camera's axis → [H, W] along the free camera's, metres; 0 = not measured."""
        return self.sample(depth[..., None])[..., 0] / self.stretch.clamp_min(1e-6)


class Targets:
    """Recorded pictures and feature errors, the last ones kept. For the render thread."""

    def __init__(self, source: SceneSource) -> None:
        self._source = source
        self._small: LruCache[tuple[int, int, int, int], tuple[Tensor, Tensor, Cameras]] = LruCache(48)
        self._large: LruCache[tuple[int, int, int, int], tuple[Tensor, Tensor, Cameras]] = LruCache(4)

    def read(
        self, state: SceneState, index: int, frame: int, size: tuple[int, int] | None = None
    ) -> tuple[Tensor, Tensor, Cameras]:
        """color [H, W, 3], depth [H, W] and the world camera of one frame, at ``size`` = (width, height) or as large as
        the canvas needs it."""
        frames = state.frames
        assert frames is not None
        full = frames.cameras
        if size is None:
            scale = min(1.0, WIDEST / full.width)
            size = (max(1, round(full.width * scale)), max(1, round(full.height * scale)))

        def read() -> tuple[Tensor, Tensor, Cameras]:
            color, depth, cameras = frames.stack([frame], *size)
            return color[0], depth[0], cameras

        cache = self._small if size[0] <= 320 else self._large
        return cache.get((index, frame, *size), read)

    def cosine_error(self, state: SceneState, index: int, frame: int) -> Tensor | None:
        """[h, w] 1 − cosine of rendered and teacher features per token of one frame, computed as the training does:
        splat the codes, average over tokens, lift. None without a teacher or features."""
        target = self._source.teacher_features(index, frame)
        splatted = state.embeddings if state.codes is None else state.codes
        if target is None or state.gaussians is None or splatted is None or state.frames is None:
            return None

        def compute() -> Tensor | None:
            assert target is not None and state.gaussians is not None and splatted is not None
            height, width = target.shape[:2]
            size = (4 * width, 4 * height)
            assert state.frames is not None
            seen = state.cameras(state.frames.cameras[frame].resized(*size))
            painted = replace(state.gaussians, features=splatted.float())
            features = rasterize(painted, seen.viewmats, seen.Ks, *size).features
            assert features is not None
            tokens = to_tokens(features, height, width)[0]
            if state.lift is not None:
                tokens = state.lift(tokens)
            if tokens.shape[-1] != target.shape[-1]:
                return None
            return 1 - F.cosine_similarity(tokens.cpu(), target.float().cpu(), dim=-1, eps=1e-6)

        return state.memo(("cosine", frame), compute)
