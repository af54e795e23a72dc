"""GaussianCross (arXiv 2508.02172): masked points → sparse backbone → cuboid lattice → Gaussians → posed views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import from_dict, to_dict
from ..data.batch import Batch, InputConfig, PointBatch, ViewPair, Views
from ..errors import InputError
from ..features.lifting import Lifted, lift_views
from ..geometry.cameras import Cameras
from ..geometry.gaussians import Gaussians
from ..geometry.lattice import CuboidLattice
from ..io.pretrained import Pretrained, Stored
from ..losses.contrastive import info_nce
from ..losses.distillation import (
    LOSS_NAMES,
    depth_l1,
    feature_cosine,
    point_cosine_of_cells,
    rgb_l1,
    to_tokens,
    uncertainty_sum,
    weighted_sum,
)
from ..nn.encode import encode_points
from ..nn.heads import GaussianHead, HeadConfig
from ..nn.spunet import SpUNet, kept_statistics
from ..nn.stages import Stages
from ..nn.standardize import Standardize
from ..nn.unet3d import UNet3d
from ..splat import Splats, rasterize

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class GaussianCrossConfig:
    """Everything that decides what the network computes. Defaults are the paper's scale."""

    input: InputConfig = field(default_factory=InputConfig)
    """Subsampling and masking of the points."""
    base_channels: int = 32
    """Width of the backbone's stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of the backbone's four encoder and four decoder stages (SpUNet-v1m1)."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Residual blocks per backbone stage."""
    own_statistics: bool = True
    """Outside training, too, the backbone's batch norm uses the statistics of the scene at hand. Pre-training sees
    masked scenes, all else whole ones: on held-out rooms after 220 tiny steps, whole scenes rendered at 19.4 dB this
    way and at 11.5 dB with running statistics (the released probing code keeps batch norm in train mode, too)."""
    lattice: Literal["ponder", "cuboid"] = "ponder"
    """"ponder": PonderV2's lattice of ``lattice_shape``, every axis spanning the largest extent. "cuboid": each axis
    spans its own extent, about ``lattice_cells`` near-isotropic cells."""
    lattice_shape: tuple[int, int, int] = (128, 128, 32)
    """Cells per axis of the "ponder" lattice."""
    lattice_cells: int = 524_288
    """About how many cells the "cuboid" lattice spends (128 · 128 · 32 by default)."""
    lattice_channels: int = 128
    """d_o, width of the refined lattice feature."""
    unet_widths: tuple[int, ...] = (32, 64, 128, 256)
    """Widths of the dense 3D U-Net's levels."""
    unet_norm: Literal["batch", "group"] = "batch"
    """Normalisation of the dense U-Net; "group" when a batch holds one scene."""
    anchors: Literal["lattice", "two_level"] = "lattice"
    """"lattice": every cell is an anchor, as in the paper. "two_level": the lattice and, finer, one anchor for each
    observed voxel of ``fine_voxel``, which reads the lattice by trilinear interpolation and its own backbone feature,
    and predicts a residual to its own colour."""
    fine_voxel: float = 0.025
    """Edge of the fine anchors' voxels, metres ("two_level" only)."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """Activations, ranges and pruning of the Gaussian heads."""
    teacher_dim: int = 0
    """D, width of the frozen 2D teacher's features; 0 = no teacher, and the feature loss is off."""
    lifted_width: int = 32
    """Channels that lifted features take into the lattice, where ``input.lifted_frames`` > 0."""
    projection_hidden: int = 0
    """Hidden width of P_ψ, which lifts rendered embeddings to the teacher's width; 0 makes it linear."""
    loss_weights: dict[str, float] = field(default_factory=lambda: {"rgb": 10.0, "depth": 1.0, "feature": 1.0})
    """λ of the three losses. Inferred (PonderV2: rgb 10, depth 1, semantic 0.1)."""
    point_weight: float = 0.0
    """Weight of a fourth loss, none of the paper's: the teacher's features in the views, lifted onto the points, from
    the backbone's features by a linear layer. 0: off, the paper's three. See `losses.point_cosine`. At 3, as the
    presets have it, the probe of the last layer found 0.223 mIoU in rooms-bench's ablation instead of 0.143, that of a
    hypercolumn 0.415 instead of 0.286 (400 steps, three seeds); the tiny preset's step takes 5 % longer."""
    point_stages: Literal["last", "all"] = "all"
    """What it is asked of: the backbone's last stage, or as much of all others together, a linear layer each. In
    rooms-bench's setting (400 steps on 60 rooms) the probe of a hypercolumn rose from 0.30 to 0.38 by it."""
    point_standardize: bool = True
    """Whether lifted features are standardised first (`Standardize`). There, the probe of the last layer rose from 0.16
    to 0.21 by it, that of a hypercolumn from 0.25 to 0.30."""
    contrast_weight: float = 1.0
    """Weight of a fifth loss, where ``input.pairs`` asks for it: contrast of two views of the points, by the backbone's
    last stage (`losses.info_nce`). It makes up for a weak teacher and costs beside a strong one: in rooms-bench's
    setting (600 steps, one seed, rooms of "val") the probes of the last layer and of a hypercolumn went from 0.139 and
    0.297 to 0.190 and 0.355 with the label-free teacher, from 0.269 and 0.457 to 0.239 and 0.406 with the image/text
    one; without any teacher it was 0.190 and 0.302, contrast alone 0.182 and 0.288. A step takes twice as long."""
    contrast_temperature: float = 0.07
    """Of its softmax over negatives (PointContrast, MSC: 0.07 and 0.4)."""
    adaptive_weights: bool = False
    """Inferred reading of "adaptive": learn the loss weights by uncertainty (Kendall) instead."""
    depth_min_alpha: float = 0.1
    """Pixels at or below this alpha carry no depth loss."""

    def __post_init__(self) -> None:
        if set(self.loss_weights) != set(LOSS_NAMES):
            raise InputError("loss_weights", f"the keys {list(LOSS_NAMES)}", str(sorted(self.loss_weights)))
        if self.adaptive_weights and min(self.loss_weights.values()) <= 0:
            raise InputError("loss_weights", "positive weights to start learning them from", str(self.loss_weights))
        if self.point_weight < 0:
            raise InputError("point_weight", "0 or more", str(self.point_weight))
        if self.input.pairs < 0 or self.contrast_weight <= 0 or self.contrast_temperature <= 0:
            found = f"{self.input.pairs}, {self.contrast_weight}, {self.contrast_temperature}"
            raise InputError("contrast", "0 pairs or more, a weight and a temperature above 0", found)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every loss that is used."""
        points = {"points": self.point_weight} if self.point_weight else {}
        return self.loss_weights | points | ({"contrast": self.contrast_weight} if self.input.pairs else {})


@dataclass(frozen=True)
class Prediction:
    """What one forward pass gives per scene, besides the losses.

    Attributes:
        gaussians: after pruning, in the batch's (augmented) world.
        splats: the rendered views.
        tokens: [M, h, w, D] projected features at token resolution, or None without a teacher.
        point_features: [V, C] backbone features of the scene's voxels; None where only views were predicted.
        stages: what the backbone's stages that the point loss asks know of the scene's voxels, the last stage last;
            None where it asks none.
    """

    gaussians: Gaussians
    splats: Splats
    tokens: Tensor | None
    point_features: Tensor | None = None
    stages: Stages | None = None


class GaussianCross(Pretrained):
    """The whole pre-training network. Only ``backbone`` is kept afterwards.

    A batch is processed scene by scene after the backbone (scenes have their own lattice); lattices of one shape go
    through the dense U-Net together.
    """

    def __init__(self, config: GaussianCrossConfig = GaussianCrossConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = SpUNet(
            6,
            config.base_channels,
            config.channels,
            config.layers,
            own_statistics=config.own_statistics,
            voxel_size=config.input.voxel_size,
        )
        out = config.channels[-1]
        lifted = config.teacher_dim if config.input.lifted_frames else 0
        into = out + (config.lifted_width if lifted else 0)
        self.lattice_net = UNet3d(into, config.lattice_channels, config.unet_widths, norm=config.unet_norm)
        self.head = GaussianHead(config.lattice_channels, config.head)
        if config.anchors == "two_level":
            self.fine_head = GaussianHead(config.lattice_channels + out + 6 + lifted, config.head)
        if config.teacher_dim:
            f, hidden = config.head.feature_dim, config.projection_hidden
            self.projection = (
                nn.Sequential(nn.Linear(f, hidden), nn.GELU(), nn.Linear(hidden, config.teacher_dim))
                if hidden
                else nn.Linear(f, config.teacher_dim)
            )
        if lifted:
            self._take_lifted(lifted)
        if config.input.mask_mode == "blocks":
            self.mask_token = nn.Parameter(torch.zeros(6))
        if config.adaptive_weights:
            self.log_variance = nn.ParameterDict(
                {k: nn.Parameter(-torch.tensor(float(w)).log()) for k, w in config.weights.items()}
            )
        if config.point_weight and config.teacher_dim:
            stages = [config.base_channels, *config.channels] if config.point_stages == "all" else [out]
            self.point_projections = nn.ModuleList(nn.Linear(width, config.teacher_dim) for width in stages)
            self.point_target = Standardize(config.teacher_dim) if config.point_standardize else nn.Identity()

    def _take_lifted(self, dim: int) -> None:
        """Lifted features enter the lattice, and embeddings become residuals to those of their cell or voxel: at first
        the field *is* the lifted one, as far as ``feature_dim`` channels can carry it."""
        f = self.config.head.feature_dim
        self.lifted_in = nn.Linear(dim, self.config.lifted_width)
        self.lifted_code = nn.Linear(dim, f, bias=False)
        with torch.no_grad():
            nn.init.orthogonal_(self.lifted_code.weight)
            if isinstance(self.projection, nn.Linear):
                self.projection.weight.copy_(self.lifted_code.weight.T)
                self.projection.bias.zero_()
            for head in (self.head, getattr(self, "fine_head", self.head)):
                head.rest.weight[-f:] = 0

    # --- from points to Gaussians ---------------------------------------------------------------------------

    def backbone_features(self, points: PointBatch) -> Tensor:
        """[V, C] backbone features of the voxels of a batch."""
        return self.backbone(points.grid_coord, self._visible(points), points.offset)

    def _visible(self, points: PointBatch) -> Tensor:
        """[V, 6] what the network may know of each voxel: the token instead of what a masked block hides."""
        if self.config.input.mask_mode != "blocks":
            return points.feat
        return torch.where(points.masked[:, None], self.mask_token, points.feat)

    def gaussians(self, points: PointBatch, features: Tensor | None = None) -> list[Gaussians]:
        """The pruned Gaussians of every scene, in the batch's world.

        Args:
            features: [V, C] of `backbone_features`, when they are at hand.
        """
        features = self.backbone_features(points) if features is None else features
        lattices = [self.make_lattice(points.coord[span]) for span in points.spans()]
        lifted = self._lifted(points)
        volumes = self._refine(
            points, features if lifted is None else torch.cat([features, self.lifted_in(lifted)], 1), lattices
        )
        visible = self._visible(points)
        result = []
        for span, lattice, volume in zip(points.spans(), lattices, volumes, strict=True):
            dense = volume.flatten(1).T  # [X·Y·Z, d_o], the flat order of the lattice
            known, code = features[span], None
            if lifted is not None:
                known = torch.cat([known, lifted[span]], 1)
                code = self.lifted_code(lattice.scatter_mean(lifted[span], points.coord[span])[0].flatten(1).T)
            parts = [self.head(dense, lattice.centers(), lattice.pitch, base_features=code)]
            if self.config.anchors == "two_level":
                parts.append(self._fine(points.coord[span], visible[span], known, lattice, volume))
            result.append(Gaussians.cat(parts))
        return result

    def _lifted(self, points: PointBatch) -> Tensor | None:
        """[V, D] lifted features, zeros where there are none; None for a network that does not take them."""
        if not self.config.input.lifted_frames or not self.config.teacher_dim:
            return None
        if points.lifted is None:
            return points.coord.new_zeros(len(points.coord), self.config.teacher_dim)
        return points.lifted

    def make_lattice(self, coord: Tensor) -> CuboidLattice:
        """The lattice of one scene's points [V, 3]."""
        if self.config.lattice == "ponder":
            return CuboidLattice.ponder(coord, self.config.lattice_shape)
        return CuboidLattice.cuboid(coord, self.config.lattice_cells, 2 ** (len(self.config.unet_widths) - 1))

    def _refine(self, points: PointBatch, features: Tensor, lattices: list[CuboidLattice]) -> list[Tensor]:
        volumes = [
            lattice.scatter_mean(features[span], points.coord[span])[0]
            for span, lattice in zip(points.spans(), lattices, strict=True)
        ]
        if len({v.shape for v in volumes}) == 1:
            return list(self.lattice_net(torch.stack(volumes)))
        return [self.lattice_net(v[None])[0] for v in volumes]

    def _fine(self, coord: Tensor, feat: Tensor, features: Tensor, lattice: CuboidLattice, volume: Tensor) -> Gaussians:
        size = self.config.fine_voxel
        cell = (coord / size).floor()
        grid = (cell - cell.amin(0)).long()
        dims = grid.amax(0) + 1
        # One key per voxel: `torch.unique` over rows compares them one by one, a hundred times as slow.
        keys, inverse = torch.unique((grid[:, 0] * dims[1] + grid[:, 1]) * dims[2] + grid[:, 2], return_inverse=True)
        values = torch.cat([coord, feat[:, :3], features.float()], 1)
        count = values.new_zeros(len(keys)).index_add(0, inverse, torch.ones_like(inverse, dtype=values.dtype))
        mean = values.new_zeros(len(keys), values.shape[1]).index_add(0, inverse, values) / count[:, None]
        anchors, color = mean[:, :3].detach(), mean[:, 3:6].detach()
        inside = (anchors / size).remainder(1) - 0.5  # where in its voxel, −0.5 to 0.5
        own = torch.cat([lattice.sample(volume.float(), anchors), mean[:, 6:], color, inside], 1)
        code = self.lifted_code(mean[:, -self.config.teacher_dim :]) if hasattr(self, "lifted_code") else None
        return self.fine_head(own, anchors, anchors.new_full((3,), size), (color + 1) / 2, code)

    # --- rendering and losses -------------------------------------------------------------------------------

    def render(self, gaussians: Gaussians, cameras: Cameras, features: bool = True) -> Splats:
        """Tri-attribute splatting of one scene; without ``features`` only colour and depth."""
        if not features:
            gaussians = replace(gaussians, features=None)
        return rasterize(gaussians, cameras.viewmats, cameras.Ks, cameras.width, cameras.height)

    def forward(self, batch: Batch) -> list[Prediction]:
        """Predict and render every scene of the batch."""
        points = batch.points
        stages = self._asked_stages(points)
        features = self.backbone_features(points) if stages is None else stages[-1:].spread()[0]
        predictions = []
        for gaussians, span, views in zip(self.gaussians(points, features), points.spans(), batch.views, strict=True):
            own = None if stages is None else stages.of(span)
            prediction = self.predict_views(gaussians, views)
            predictions.append(replace(prediction, point_features=features[span], stages=own))
        return predictions

    def _asked_stages(self, points: PointBatch) -> Stages | None:
        """The backbone stages that the point loss asks."""
        if not hasattr(self, "point_projections"):
            return None
        stages = self.backbone.stages(points.grid_coord, self._visible(points), points.offset)
        return stages[-1:] if self.config.point_stages == "last" else stages

    def predict_views(self, gaussians: Gaussians, views: Views) -> Prediction:
        """Render Gaussians into the views, features only when there is a teacher to compare them with."""
        with_teacher = self.config.teacher_dim > 0 and views.teacher is not None
        splats = self.render(gaussians, views.cameras, features=with_teacher)
        tokens = None
        if with_teacher:
            assert views.teacher is not None and splats.features is not None
            tokens = self.projection(to_tokens(splats.features, *views.teacher.shape[1:3]))
        return Prediction(gaussians, splats, tokens)

    def losses(self, predictions: list[Prediction], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its unweighted terms, averaged over scenes."""
        sums: dict[str, list[Tensor]] = {}
        for p, views, span in zip(predictions, batch.views, batch.points.spans(), strict=True):
            depth, alpha = p.splats.depth[..., 0], p.splats.alpha[..., 0]
            terms = {
                "rgb": rgb_l1(p.splats.color, views.color),
                "depth": depth_l1(depth, alpha, views.depth, self.config.depth_min_alpha),
            }
            if p.tokens is not None and views.teacher is not None:
                terms["feature"] = feature_cosine(p.tokens, views.teacher)
                if p.stages is not None:
                    terms["points"] = self._point_loss(p.stages, lift_views(batch.points.coord[span], views))
            for name, value in terms.items():
                sums.setdefault(name, []).append(value)
        if batch.pairs:
            sums["contrast"] = self._contrast(batch.pairs)
        terms = {k: torch.stack(v).mean() for k, v in sums.items()}
        if self.config.adaptive_weights:
            return uncertainty_sum(terms, dict(self.log_variance.items())), terms
        return weighted_sum(terms, self.config.weights), terms

    def _point_loss(self, stages: Stages, lifted: Lifted) -> Tensor:
        """The last stage's `point_cosine`, and the mean of the others'."""
        seen = lifted.views > 0
        target = F.normalize(self.point_target(F.normalize(lifted.features[seen], dim=1)), dim=1)
        directions: dict[int, Tensor] = {}
        for features, level in zip(stages.features, stages.levels, strict=True):
            if level not in directions:
                empty = target.new_zeros(len(features), target.shape[1])
                directions[level] = empty.index_add_(0, stages.cells[level][seen], target)
        *others, last = (
            point_cosine_of_cells(layer(features), directions[level], len(target))
            for layer, features, level in zip(self.point_projections, stages.features, stages.levels, strict=True)
        )
        return last + torch.stack(others).mean() if others else last

    def _contrast(self, pairs: list[ViewPair]) -> list[Tensor]:
        """`info_nce` of each scene's two views, all of which go through the backbone together. Its running statistics
        stay those of the scenes as they are, not recoloured."""
        with kept_statistics(self.backbone):
            features = self.backbone_features(PointBatch.cat([pair.points for pair in pairs]))
        own = features.split([len(pair.points.coord) for pair in pairs])
        return [
            info_nce(*known[pair.matches.T], temperature=self.config.contrast_temperature)
            for known, pair in zip(own, pairs, strict=True)
        ]

    # --- for anyone who only wants features -----------------------------------------------------------------

    def encode(
        self,
        coord: NDArray[np.floating],
        color: NDArray[np.uint8],
        normal: NDArray[np.floating] | None = None,
        *,
        hypercolumn: bool = False,
    ) -> Tensor:
        """Backbone features of every point of a scene.

        Args:
            coord: [N, 3] metres, z up; color: [N, 3] uint8; normal: [N, 3] unit vectors, zeros when None.
            hypercolumn: every stage's features side by side, instead of the last stage's.

        Returns:
            [N, C] on the CPU; points of one voxel share a feature.
        """
        device, voxel_size = next(self.parameters()).device, self.config.input.voxel_size
        return encode_points(self.backbone, coord, color, normal, voxel_size, device, hypercolumn)

    def to_config(self) -> dict[str, Any]:
        return to_dict(self.config)

    @classmethod
    def from_config(cls, config: dict[str, Any], where: str = "config") -> Self:
        return cls(from_dict(GaussianCrossConfig, config, where))

    @classmethod
    def adapt(cls, stored: Stored) -> Stored:
        """A backbone alone is refused: it has no heads to render with."""
        if stored.model == "SpUNet":
            raise InputError(stored.path, "a GaussianCross", "a backbone alone", "load it as SpUNet")
        return stored

    def loss_weight(self) -> Mapping[str, float]:
        """The weights in force, learned or fixed."""
        if self.config.adaptive_weights:
            return {k: float(torch.exp(-v)) for k, v in self.log_variance.items()}
        return self.config.weights
