"""GaussianCross (arXiv 2508.02172): masked points → sparse backbone → cuboid lattice → Gaussians → posed views.

Sizes in shape comments: B scenes of V voxels each (or together), C backbone channels, [X, Y, Z] lattice cells, d_o
lattice channels, A anchors, N Gaussians, F channels of an embedding, M views of H × W pixels, h × w teacher tokens of
D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..config import from_dict, to_dict
from ..data.batch import Batch, PointBatch, ViewPair, Views
from ..errors import InputError
from ..geometry.cameras import Cameras
from ..geometry.gaussians import Gaussians
from ..geometry.lattice import CuboidLattice, scatter_means
from ..geometry.voxels import voxel_mean
from ..io.pretrained import Pretrained, StoredModel
from ..losses.contrastive import info_nce
from ..losses.gaussiancross import (
    depth_l1,
    feature_cosine,
    rgb_l1,
    to_tokens,
    uncertainty_sum,
    weighted_sum,
)
from ..losses.points import cell_sums, point_loss, point_targets
from ..nn.heads import GaussianHead
from ..nn.spunet import SpUNet, frozen_statistics
from ..nn.stages import Stages
from ..nn.standardize import Standardize
from ..nn.unet3d import UNet3d
from ..splat import Splats, rasterize_scenes
from .gaussiancross_config import GaussianCrossConfig

if TYPE_CHECKING:
    from typing_extensions import Self

POINT_CHANNELS = 6
"""Attributes of a voxel: colour in −1 … 1 and normal."""


@dataclass(frozen=True)
class Prediction:
    """Output of one forward pass for one scene, besides the losses.

    Attributes:
        gaussians: after pruning, in the batch's (augmented) world.
        splats: the rendered views.
        tokens: [M, h, w, D] projected features at token resolution, or None without a teacher.
        point_features: [V, C] backbone features of the scene's voxels; None where only views were predicted.
        stages: backbone stages that the point loss trains, the last stage last, of the voxels of the whole batch; None
            without a point loss.
    """

    gaussians: Gaussians
    splats: Splats
    tokens: Tensor | None
    point_features: Tensor | None = None
    stages: Stages | None = None


class GaussianCross(Pretrained):
    """The whole pre-training network. Downstream tasks use ``backbone`` alone.

    A batch is processed scene by scene after the backbone (each scene has its own lattice); lattices of one shape go
    through the dense U-Net together. Parts that the config switches off are None.
    """

    def __init__(self, config: GaussianCrossConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or GaussianCrossConfig()
        two_level, lifted = c.anchors == "two_level", bool(c.teacher_dim and c.input.lifted_frames)
        width, lifted_dim = c.channels[-1], c.teacher_dim if lifted else 0
        self.backbone = SpUNet(
            POINT_CHANNELS,
            c.base_channels,
            c.channels,
            c.layers,
            own_statistics=c.own_statistics,
            voxel_size=c.input.voxel_size,
        )
        lattice_in = width + (c.lifted_width if lifted else 0)
        self.lattice_net = UNet3d(lattice_in, c.lattice_channels, c.unet_widths, norm=c.unet_norm)
        self.head = GaussianHead(c.lattice_channels, c.head)
        # Input of a fine anchor: lattice sample, own features, colour, offset in the voxel.
        fine_in = c.lattice_channels + width + lifted_dim + 3 + 3
        self.fine_head = GaussianHead(fine_in, c.head) if two_level else None
        self.projection = _projection(c.head.feature_dim, c.projection_hidden, c.teacher_dim) if c.teacher_dim else None
        self.lifted_in = nn.Linear(lifted_dim, c.lifted_width) if lifted else None
        self.lifted_code = nn.Linear(lifted_dim, c.head.feature_dim, bias=False) if lifted else None
        self._start_from_lifted()
        self.mask_token = nn.Parameter(torch.zeros(POINT_CHANNELS)) if c.input.mask_mode == "blocks" else None
        self.log_variance = _log_variance(c.weights) if c.adaptive_weights else None
        self.point_projections = self.point_target = None
        if c.point_weight and c.teacher_dim:
            widths = [c.base_channels, *c.channels] if c.point_stages == "all" else [width]
            self.point_projections = nn.ModuleList(nn.Linear(w, c.teacher_dim) for w in widths)
            self.point_target = Standardize(c.teacher_dim) if c.point_standardize else None

    def _start_from_lifted(self) -> None:
        """Make embeddings residuals to the lifted features of their cell or voxel: at first they equal these, up to
        the projection onto ``feature_dim`` channels."""
        if self.lifted_code is None:
            return
        with torch.no_grad():
            nn.init.orthogonal_(self.lifted_code.weight)
            if isinstance(self.projection, nn.Linear):
                self.projection.weight.copy_(self.lifted_code.weight.T)
                self.projection.bias.zero_()
            for head in (self.head, self.fine_head):
                if head is not None:
                    head.rest.weight[-self.config.head.feature_dim :] = 0

    # --- from points to Gaussians ---------------------------------------------------------------------------

    def backbone_features(self, points: PointBatch) -> Tensor:
        """[V, C] backbone features of the voxels of a batch."""
        return self.backbone(points.grid_coord, self._visible(points), points.offset)

    def _visible(self, points: PointBatch) -> Tensor:
        """[V, 6] attributes that the network may see: the mask token for voxels of masked blocks."""
        if self.mask_token is None:
            return points.feat
        return torch.where(points.masked[:, None], self.mask_token, points.feat)

    def gaussians(self, points: PointBatch, features: Tensor | None = None) -> list[Gaussians]:
        """Predict the pruned Gaussians of every scene, in the batch's world.

        Args:
            features: [V, C] result of `backbone_features`, to spare computing it again.
        """
        features = self.backbone_features(points) if features is None else features  # [V, C]
        lifted = self._lifted(points)  # [V, D] or None
        lattices = [self.make_lattice(points.coord[span]) for span in points.spans()]
        volumes = self._refine(points, features, lifted, lattices)  # B × [d_o, X, Y, Z]
        scenes = self._lattice_gaussians(points, lifted, lattices, volumes)
        if self.fine_head is None:
            return scenes
        visible = self._visible(points)  # [V, 6]
        result = []
        for coarse, span, lattice, volume in zip(scenes, points.spans(), lattices, volumes, strict=True):
            scene_lifted = None if lifted is None else lifted[span]  # [V, D]
            scene = points.coord[span], visible[span, :3], features[span], scene_lifted
            result.append(Gaussians.cat([coarse, self._fine_gaussians(*scene, lattice, volume)]))
        return result

    def make_lattice(self, coord: Tensor) -> CuboidLattice:
        """The lattice of one scene's points [V, 3]."""
        if self.config.lattice == "ponder":
            return CuboidLattice.ponder(coord, self.config.lattice_shape)
        return CuboidLattice.cuboid(coord, self.config.lattice_cells, 2 ** (len(self.config.unet_widths) - 1))

    def _lifted(self, points: PointBatch) -> Tensor | None:
        """[V, D] lifted features, zero where the batch has none; None for a network without this input."""
        if self.lifted_code is None:
            return None
        if points.lifted is None:
            return points.coord.new_zeros(len(points.coord), self.config.teacher_dim)
        return points.lifted

    def _refine(
        self, points: PointBatch, features: Tensor, lifted: Tensor | None, lattices: list[CuboidLattice]
    ) -> list[Tensor]:
        """Scatter features [V, C] and lifted ones [V, D] into lattices and refine these: B × [d_o, X, Y, Z]."""
        if lifted is not None and self.lifted_in is not None:
            features = torch.cat([features, self.lifted_in(lifted)], 1)  # [V, C + lifted_width]
        cells = scatter_means(lattices, features, points.coord, points.scene())  # [A, C], channels last in memory
        if len({lattice.shape for lattice in lattices}) == 1:
            volumes = [cells.view(len(lattices), *lattices[0].shape, -1).permute(0, 4, 1, 2, 3)]  # [B, C, X, Y, Z]
        else:
            parts = cells.split([lattice.num_cells for lattice in lattices])
            volumes = [p.view(1, *a.shape, -1).permute(0, 4, 1, 2, 3) for p, a in zip(parts, lattices, strict=True)]
        # cuDNN is fastest with the channels last, oneDNN without.
        refined = (self.lattice_net(v.contiguous() if v.device.type == "cpu" else v) for v in volumes)
        return [scene for batch in refined for scene in batch.unbind()]

    def _lattice_gaussians(
        self, points: PointBatch, lifted: Tensor | None, lattices: list[CuboidLattice], volumes: list[Tensor]
    ) -> list[Gaussians]:
        """Predict Gaussians from one anchor per cell of every scene's lattice.

        Args:
            lifted: [V, D] or None.
            volumes: per scene [d_o, X, Y, Z].
        """
        feat = torch.cat([v.permute(1, 2, 3, 0).flatten(0, 2) for v in volumes])  # [A, d_o], the flat order of cells
        sizes = [lattice.num_cells for lattice in lattices]
        anchors = torch.cat([lattice.centers() for lattice in lattices])  # [A, 3]
        pitch = torch.cat([lattice.pitch.expand(lattice.num_cells, 3) for lattice in lattices])  # [A, 3]
        lifted_embedding = None
        if lifted is not None and self.lifted_code is not None:
            cells = scatter_means(lattices, lifted, points.coord, points.scene())  # [A, D]
            lifted_embedding = self.lifted_code(cells)  # [A, F]
        return self.head.scenes(feat, anchors, pitch, sizes, base_features=lifted_embedding)

    def _fine_gaussians(
        self,
        coord: Tensor,
        color: Tensor,
        features: Tensor,
        lifted: Tensor | None,
        lattice: CuboidLattice,
        volume: Tensor,
    ) -> Gaussians:
        """Predict Gaussians from one anchor per observed voxel of ``fine_voxel``, at the mean of its points.

        Args:
            coord: [V, 3] metres.
            color: [V, 3] in −1 … 1.
            features: [V, C].
            lifted: [V, D] or None.
            volume: [d_o, X, Y, Z].
        """
        assert self.fine_head is not None
        size = self.config.fine_voxel
        voxel_features = features if lifted is None else torch.cat([features, lifted], 1)  # [V, C + D]
        mean = voxel_mean(torch.cat([coord, color, voxel_features.float()], 1), coord, size)  # [A, 3 + 3 + C + D]
        anchors, color, voxel_features = mean.split([3, 3, voxel_features.shape[1]], 1)  # [A, 3], [A, 3], [A, C + D]
        anchors, color = anchors.detach(), color.detach()
        offset_in_voxel = (anchors / size).remainder(1) - 0.5  # [A, 3] in −0.5 … 0.5
        lattice_sample = lattice.sample(volume.float(), anchors)  # [A, d_o]
        feat = torch.cat([lattice_sample, voxel_features, color, offset_in_voxel], 1)  # [A, d_o + C + D + 3 + 3]
        lifted_embedding = None
        if self.lifted_code is not None:
            lifted_embedding = self.lifted_code(voxel_features[:, -self.config.teacher_dim :])  # [A, F]
        return self.fine_head(feat, anchors, anchors.new_full((3,), size), (color + 1) / 2, lifted_embedding)

    # --- rendering and losses -------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> list[Prediction]:
        """Predict and render every scene of the batch."""
        points = batch.points
        stages = self._point_loss_stages(points)
        features = self.backbone_features(points) if stages is None else stages[-1:].spread()[0]  # [V, C]
        drawn = self._predict_views(self.gaussians(points, features), batch.views)
        return [
            replace(prediction, point_features=features[span], stages=stages)
            for prediction, span in zip(drawn, points.spans(), strict=True)
        ]

    def _point_loss_stages(self, points: PointBatch) -> Stages | None:
        """The backbone stages that the point loss trains; None without it."""
        if self.point_projections is None:
            return None
        stages = self.backbone.stages(points.grid_coord, self._visible(points), points.offset)
        return stages[-1:] if self.config.point_stages == "last" else stages

    def predict_views(self, gaussians: Gaussians, views: Views) -> Prediction:
        """Render one scene's Gaussians into its views; features only with a teacher to compare them with."""
        return self._predict_views([gaussians], [views])[0]

    def _predict_views(self, scenes: list[Gaussians], views: list[Views]) -> list[Prediction]:
        compared = self.projection is not None and all(v.teacher is not None for v in views)
        splats = self.render_scenes(scenes, [v.cameras for v in views], compared)
        tokens: list[Tensor | None] = [None] * len(scenes)
        if self.projection is not None and compared:
            shapes = [v.teacher.shape[1:3] for v in views if v.teacher is not None]  # (h, w) each
            embeddings = [s.features for s in splats if s.features is not None]
            tokens = [self.projection(to_tokens(e, *hw)) for e, hw in zip(embeddings, shapes, strict=True)]
        return [Prediction(*each) for each in zip(scenes, splats, tokens, strict=True)]

    def render(self, gaussians: Gaussians, cameras: Cameras, features: bool = True) -> Splats:
        """Splat colour, depth and, with ``features``, embeddings of one scene into its cameras."""
        return self.render_scenes([gaussians], [cameras], features)[0]

    def render_scenes(self, scenes: list[Gaussians], cameras: list[Cameras], features: bool = True) -> list[Splats]:
        """`render` several scenes; embeddings [M, H / s, W / s, F] at 1 / s = 1 / ``feature_stride`` of the size."""
        plain = [replace(gaussians, features=None) for gaussians in scenes]
        stride = self.config.feature_stride
        if not features or stride == 1:
            return rasterize_scenes(scenes if features else plain, cameras)
        small = [c.resized(max(1, c.width // stride), max(1, c.height // stride)) for c in cameras]
        pairs = zip(rasterize_scenes(plain, cameras), rasterize_scenes(scenes, small), strict=True)
        return [replace(image, features=embedding.features) for image, embedding in pairs]

    def losses(self, predictions: list[Prediction], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its unweighted terms, averaged over scenes."""
        whole = list(zip(predictions, batch.views, strict=True))
        shapes = {(v.color.shape, None if v.teacher is None else v.teacher.shape) for v in batch.views}
        alike = len(shapes) == 1
        parts = [self._view_losses(group) for group in ([whole] if alike else [[pair] for pair in whole])]
        terms = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        if batch.pairs:
            terms["contrast"] = torch.stack(self._contrast(batch.pairs)).mean()
        stages = predictions[0].stages if predictions else None
        if stages is not None and all(views.teacher is not None for views in batch.views):
            terms["points"] = self._point_loss(stages, batch)
        if self.log_variance is not None:
            return uncertainty_sum(terms, dict(self.log_variance.items())), terms
        return weighted_sum(terms, self.config.weights), terms

    def _view_losses(self, scenes: list[tuple[Prediction, Views]]) -> dict[str, Tensor]:
        """The loss terms of the views of scenes with views of one shape, averaged over scenes."""

        def stacked(of: Callable[[Prediction, Views], Tensor]) -> Tensor:
            images = [of(prediction, views) for prediction, views in scenes]
            return images[0][None] if len(images) == 1 else torch.stack(images)  # [B, M, …]

        depth, alpha = stacked(lambda p, v: p.splats.depth[..., 0]), stacked(lambda p, v: p.splats.alpha[..., 0])
        measured = stacked(lambda p, v: v.depth)  # [B, M, H, W], as depth and alpha
        terms = {
            "rgb": rgb_l1(stacked(lambda p, v: p.splats.color), stacked(lambda p, v: v.color)),
            "depth": depth_l1(depth, alpha, measured, self.config.depth_min_alpha),
        }
        compared = [(p.tokens, v.teacher) for p, v in scenes if p.tokens is not None and v.teacher is not None]
        if len(compared) == len(scenes):  # [B, M, h, w, D] each
            tokens, teacher = (torch.stack(part) for part in zip(*compared, strict=True))
            terms["feature"] = feature_cosine(tokens, teacher)
        return terms

    def _point_loss(self, stages: Stages, batch: Batch) -> Tensor:
        """`point_loss` of the features that each scene's views see at its voxels, averaged over scenes."""
        assert self.point_projections is not None
        rows, total = point_targets(batch, stages.cells[0], self.point_target)
        return point_loss(stages, self.point_projections, cell_sums(stages, rows), total)

    def _contrast(self, pairs: list[ViewPair]) -> list[Tensor]:
        """`info_nce` of each scene's two views; all views go through the backbone together.

        The backbone's running statistics stay those of the unaugmented scenes.
        """
        with frozen_statistics(self.backbone):
            features = self.backbone_features(PointBatch.cat([pair.points for pair in pairs]))  # [V, C]
        scenes = features.split([len(pair.points.coord) for pair in pairs])
        return [
            info_nce(*scene[pair.matches.T], temperature=self.config.contrast_temperature)  # [P, C] twice
            for scene, pair in zip(scenes, pairs, strict=True)
        ]

    def loss_weight(self) -> Mapping[str, float]:
        """The loss weights in force, learned or fixed."""
        if self.log_variance is not None:
            return {name: float(torch.exp(-value)) for name, value in self.log_variance.items()}
        return self.config.weights

    # --- features and storage -------------------------------------------------------------------------------

    def encode(
        self,
        coord: NDArray[np.floating],
        color: NDArray[np.uint8],
        normal: NDArray[np.floating] | None = None,
        *,
        hypercolumn: bool = False,
    ) -> Tensor:
        """[N, C] backbone features of every point of a scene, on the CPU; see `SpUNet.encode`."""
        return self.backbone.encode(coord, color, normal, hypercolumn=hypercolumn)

    def to_config(self) -> dict[str, Any]:
        """The config as JSON types."""
        return to_dict(self.config)

    @classmethod
    def from_config(cls, config: dict[str, Any], where: str = "config") -> Self:
        """Build a model with fresh weights from the result of `to_config`."""
        return cls(from_dict(GaussianCrossConfig, config, where))

    @classmethod
    def adapt(cls, stored: StoredModel) -> StoredModel:
        """Refuse a backbone alone: it has no heads to render with."""
        if stored.model == "SpUNet":
            raise InputError(stored.path, "a GaussianCross model", "a backbone alone", "load it as SpUNet")
        return stored


def _log_variance(weights: Mapping[str, float]) -> nn.ParameterDict:
    """Learnable s per loss, with exp(−s) = weight at the start."""
    return nn.ParameterDict({name: nn.Parameter(-torch.tensor(float(w)).log()) for name, w in weights.items()})


def _projection(channels: int, hidden: int, out: int) -> nn.Module:
    """P_ψ: embeddings [..., channels] → teacher features [..., out]."""
    if not hidden:
        return nn.Linear(channels, out)
    return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, out))
