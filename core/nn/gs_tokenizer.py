"""The GS tokenizer of CLIP-GS: Gaussians → patches → one token each.

A Gaussian has 14 values: position 3, colour 3, opacity (logit) 1, scale (logarithm) 3, quaternion (wxyz) 4. A patch
holds the Gaussians nearest to one of the farthest points. A token of width 512 is the sum of two branches:

PatchEncoder    position and colour through Uni3D's point encoder, a small PointNet
RefineEncoder   all attributes, in the order of a curve, through 1×3 convolutions; zero at the start

Both compute on rows [..., channels], where a 1×1 convolution is one matrix product, and fold batch norm into the
weights outside training. Sizes: B objects, N Gaussians, G patches of n Gaussians, P patches of all objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..geometry.gaussians import quat_to_rotmat
from .point_ops import UNI3D_SKIP, farthest_point_sample, gather, knn
from .serialization import Order, patch_order

ATTRIBUTES = 14
"""Number of input values per Gaussian: position, colour, opacity logit, log-scale, quaternion."""
CHANNELS = 19
"""Number of network values per Gaussian: the quaternion becomes a rotation matrix."""
TOKEN = 512
"""Width of the two branches' outputs."""

_ROWS = 4096
"""Number of rows per pass without gradients, so that intermediates stay in cache."""


def linear_and_norm(attributes: Tensor) -> Tensor:
    """Map attributes [..., 14] to network values [..., 19].

    Position and colour are kept, the opacity's logit and the log-scales pass through a sigmoid (any size lands in
    0–1), and the quaternion becomes a rotation matrix, row by row.
    """
    position_color, opacity_scale, quats = attributes.split([6, 4, 4], -1)
    return torch.cat([position_color, opacity_scale.sigmoid(), quat_to_rotmat(quats).flatten(-2)], -1)


@dataclass(frozen=True)
class Patches:
    """Gaussians grouped into patches.

    Attributes:
        centers: [B, G, 3] positions of the farthest points.
        values: [B, G, n, 19] network values of each patch's Gaussians, nearest first, with positions relative to the
            centre.
    """

    centers: Tensor
    values: Tensor

    def select(self, index: Tensor) -> Patches:
        """The patches ``index`` [B, K] of each object."""
        rows = torch.arange(len(index), device=index.device)[:, None]
        return Patches(self.centers[rows, index], self.values[rows, index])


def make_patches(attributes: Tensor, groups: int, size: int, skip: float = UNI3D_SKIP) -> Patches:
    """Cut objects into patches of the ``size`` Gaussians nearest to each of ``groups`` farthest points.

    Args:
        attributes: [B, N, 14], positions in the unit ball, N ≥ size.
        skip: see `farthest_point_sample`.
    """
    positions = attributes[..., :3]  # [B, N, 3]
    centers = gather(positions, farthest_point_sample(positions, groups, skip))  # [B, G, 3]
    values = gather(linear_and_norm(attributes), knn(centers, positions, size))  # [B, G, n, 19]
    relative = values[..., :3] - centers[:, :, None]  # [B, G, n, 3]
    return Patches(centers, torch.cat([relative, values[..., 3:]], -1))


class PatchEncoder(nn.Module):
    """Small PointNet over each patch (Uni3D's ``encoder``, same weight names): per point 128 → 256, concatenated with
    the patch's maximum, 512 → 512, maximum."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv1d(channels, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, TOKEN, 1)
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Encode patches [P, n, channels] as [P, 512]."""
        return _in_parts(self._encode, patches)

    def _encode(self, patches: Tensor) -> Tensor:
        # Biases are added to patches, after the maximum over points: the gradient of a bias is a sum over everything
        # it was added to, which took a sixth of a training step.
        conv, norm, last, shift = _parts(self.first_conv)
        local = F.linear(_dense(patches, conv, norm).relu(), last)  # [P, n, 256]
        pooled = patch_maximum(local)[:, None] + shift  # [P, 1, 256]
        # The first 256 inputs of the second half are the patch's maximum, equal for all its points: their share of the
        # product is computed once per patch.
        conv, norm, last, end = _parts(self.second_conv)
        weight, bias = _folded(conv, norm)
        own, common = weight[:, 256:, 0], weight[:, :256, 0]
        hidden = F.linear(local, own) + (F.linear(pooled, common, bias) + F.linear(shift, own))  # [P, n, 512]
        if self.training:
            hidden = _normalize(hidden, norm)
        return patch_maximum(F.linear(hidden.relu_(), last)) + end


class RefineEncoder(nn.Module):
    """Four 1×3 convolutions along each patch's order, strides 1, 1, 2, 2, then the maximum.

    The last batch norm starts with weight zero, so the branch starts at zero. No ReLU follows it, because no gradient
    would pass through it to a weight of zero.
    """

    STRIDES = (1, 1, 2, 2)

    def __init__(self, channels: int = CHANNELS, widths: tuple[int, int, int, int] = (64, 128, 256, TOKEN)) -> None:
        super().__init__()
        inputs = (channels, *widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv1d(i, o, 3, stride, padding=1, bias=False)
            for i, o, stride in zip(inputs, widths, self.STRIDES, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(w) for w in widths)
        nn.init.zeros_(self.norms[-1].weight)  # type: ignore[arg-type]

    def forward(self, patches: Tensor) -> Tensor:
        """Encode ordered patches [P, n, channels] as [P, 512]."""
        return _in_parts(self._encode, patches)

    def _encode(self, x: Tensor) -> Tensor:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = _dense(x, conv, norm)  # [P, n / strides so far, width]
            x = x.relu() if i < len(self.convs) - 1 else x
        return patch_maximum(x)


def in_order(values: Tensor, order: Order) -> Tensor:
    """Sort the Gaussians of patches [B, G, n, C] along a curve (the first 3 channels are positions)."""
    index = patch_order(values[..., :3], order)  # [B, G, n]
    return values.gather(2, index[..., None].expand_as(values))


class _Maximum(torch.autograd.Function):
    """`Tensor.amax` of [P, n, C] over n, with a faster backward pass.

    Equal maxima share the gradient evenly, as in torch, but are counted by a matrix product: in bfloat16 on the CPU 98
    instead of 226 ms (2,880 × 16 × 512, forward and backward, one thread).
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        largest = x.amax(1)
        ctx.save_for_backward(x, largest)
        return largest

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        x, largest = ctx.saved_tensors
        hit = (x == largest[:, None]).to(gradient.dtype)
        count = torch.bmm(hit.new_ones(len(x), 1, x.shape[1]), hit)
        return hit * (gradient[:, None] / count)


def patch_maximum(x: Tensor) -> Tensor:
    return _Maximum.apply(x) if torch.is_grad_enabled() else x.amax(1)  # type: ignore[return-value]


# --- convolutions as matrix products on rows ----------------------------------------------------------------


def _in_parts(encode, patches: Tensor) -> Tensor:
    """Encode all patches at once with gradients or on a GPU, else a few at a time."""
    count = max(1, _ROWS // patches.shape[1])
    if torch.is_grad_enabled() or patches.device.type != "cpu" or len(patches) <= count:
        return encode(patches)
    return torch.cat([encode(part) for part in patches.split(count)])


def _parts(layers: nn.Sequential) -> tuple[nn.Conv1d, nn.BatchNorm1d, Tensor, Tensor]:
    """Convolution, batch norm, and weight [C', C] and bias [C'] of the 1×1 convolution after them."""
    first, norm, _, last = layers
    assert isinstance(first, nn.Conv1d) and isinstance(norm, nn.BatchNorm1d)
    assert isinstance(last, nn.Conv1d) and last.bias is not None
    return first, norm, last.weight[..., 0], last.bias


def _dense(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """Apply convolution and batch norm to the rows [P, n, C] of each patch: [P, n / stride, C']."""
    assert isinstance(conv, nn.Conv1d)
    weight, bias = _folded(conv, norm)
    stride = conv.stride[0]
    if conv.kernel_size[0] == 3:  # concatenate windows of three rows
        n = x.shape[1]
        x = F.pad(x, (0, 0, 1, 1))
        x = torch.cat([x[:, i : i + n : stride] for i in range(3)], 2)
        weight = weight.transpose(1, 2).flatten(1)
    else:
        weight = weight[..., 0]
    out = F.linear(x, weight, bias)
    return _normalize(out, norm) if norm.training else out


def _folded(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a convolution with, outside training, the batch norm after it folded in."""
    assert isinstance(conv, nn.Conv1d)
    if norm.training:  # batch norm removes any constant, so the gradient of the bias is zero
        return conv.weight, None if conv.bias is None else conv.bias.detach()
    assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
    return conv.weight * scale[:, None, None], shift * scale + norm.bias


def _normalize(x: Tensor, norm: nn.Module) -> Tensor:
    return norm(x.flatten(0, 1)).view_as(x)
