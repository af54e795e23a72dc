"""Tensors to colours, and colours to 8-bit RGB.

Only RGB is ever splatted for the screen. Blending is linear, so features are mapped to three colours per Gaussian
first; 32 or 1000 channels cost as much as one picture.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.features.pca import PcaBasis
from ..scenes.predicted import BLOCK, PredictedState

if TYPE_CHECKING:
    from ..scenes.source import SceneState
    from .feature_colors import ColorBasis

Image = NDArray[np.uint8]
"""[H, W, 3] RGB."""

MARK = (1.0, 0.0, 1.0)
"""Colour of features that are not finite."""

BACKGROUND = (0.085, 0.09, 0.105)
"""What shows where nothing was rendered; the page's own dark grey."""

RGB_ERROR, DEPTH_ERROR = 0.25, 0.5
"""Errors at the end of the colour map: mean absolute difference of colours in [0, 1]; metres."""

MIN_ALPHA = 0.1
"""Alpha below which a pixel's depth is not shown."""

ColorMap = Literal["Viridis", "Inferno", "Cividis", "Turbo", "Grey"]

_ANCHORS: dict[ColorMap, str] = {
    "Viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b "
    "addc30 d8e219 fde725",
    "Inferno": "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d24644 e45a31 f1731d f98e09 fcac11 "
    "f9cb35 f2ea69 fcffa4",
    "Cividis": "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 "
    "dec958 f0d846 fee838",
    "Turbo": "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c cdec34 eecf3a fdac34 fb7e21 eb500e "
    "d02f05 a91601 7a0403",
    "Grey": "000000 ffffff",
}
"""Evenly spaced colours of each map, from matplotlib. All but Turbo are perceptually uniform."""

DEFAULT_MAP: ColorMap = "Viridis"

_SHADES = 2049
"""Colours between the first anchor and the last."""


@lru_cache
def _table(device: torch.device, name: ColorMap) -> Tensor:
    """[_SHADES + 1, 3]: the colours between the anchors, and `MARK`."""
    anchors = torch.tensor([list(bytes.fromhex(color)) for color in _ANCHORS[name].split()]) / 255
    position = torch.linspace(0, len(anchors) - 1, _SHADES)
    low = position.long().clamp_max(len(anchors) - 2)
    colors = torch.lerp(anchors[low], anchors[low + 1], (position - low)[:, None])
    return torch.cat([colors, torch.tensor([MARK])]).to(device)


def css_colors(name: ColorMap) -> str:
    """The colours of a map for a CSS gradient: "#440154,#48186a,…"."""
    return ",".join(f"#{color}" for color in _ANCHORS[name].split())


def colormap(values: Tensor, name: ColorMap = DEFAULT_MAP) -> Tensor:
    """Values [...] in [0, 1] → colours [..., 3] in [0, 1]. NaN becomes `MARK`."""
    # Looked up, not interpolated: on a CPU that is several times as fast, and finer than eight bits.
    index = (values.clamp(0, 1) * (_SHADES - 1) + 0.5).nan_to_num(_SHADES).long()
    return _table(values.device, name)[index.masked_fill_(values.isinf(), _SHADES)]


def feature_colors(features: Tensor, basis: ColorBasis) -> tuple[Tensor, int]:
    """Features [N, D] → colours [N, 3] in [0, 1], and how many rows are not finite (those get `MARK`)."""
    bad = ~torch.isfinite(features).all(-1)
    return _marked(basis.rgb(features.float()), bad)


@torch.no_grad()
def embedding_colors(state: SceneState, basis: ColorBasis) -> tuple[Tensor, int]:
    """`feature_colors` of a state's embeddings, computed from its codes where the embeddings do not exist yet."""
    if not isinstance(state, PredictedState) or state.is_lifted or state.codes is None or state.lift is None:
        assert state.embeddings is not None
        return feature_colors(state.embeddings, basis)
    codes, lift = state.codes.float(), state.lift
    if isinstance(lift, torch.nn.Linear) and isinstance(basis, PcaBasis):
        return _marked(basis.rgb_of_linear(codes, lift.weight, lift.bias), ~torch.isfinite(codes).all(-1))
    parts = [basis.rgb(torch.nn.functional.normalize(lift(part), dim=-1)) for part in codes.split(BLOCK)]
    return _marked(torch.cat(parts), ~torch.isfinite(codes).all(-1))


def _marked(colors: Tensor, bad: Tensor) -> tuple[Tensor, int]:
    return torch.where(bad[..., None], colors.new_tensor(MARK), colors), int(bad.sum())


def over_background(color: Tensor, alpha: Tensor) -> Tensor:
    """Premultiplied colours [..., 3] and alpha [..., 1] → colours over `BACKGROUND`."""
    return color + (1 - alpha) * color.new_tensor(BACKGROUND)


def depth_colors(
    depth: Tensor, near: float, far: float, valid: Tensor | None = None, name: ColorMap = DEFAULT_MAP
) -> Tensor:
    """Depth [...] in metres → colours [..., 3]: `colormap` over near … far, `BACKGROUND` where not valid.

    Args:
        valid: [...] bool; by default where depth > 0 (0 means: not measured).
    """
    valid = depth > 0 if valid is None else valid
    colors = colormap((depth - near) / max(far - near, 1e-6), name)
    return torch.where(valid[..., None], colors, colors.new_tensor(BACKGROUND))


def normal_colors(normal: Tensor) -> Tensor:
    """Unit vectors [N, 3] → colours [N, 3]: x red, y green, z blue; unknown (zero) normals are mid grey."""
    return (normal + 1) / 2


def class_colors(segment: Tensor) -> Tensor:
    """Class indices [N] (−1 = ignore, dark grey) → colours [N, 3], well apart for neighbouring indices.

    Hues step by the golden ratio; lightness cycles through three levels so that classes with similar hues differ.
    """
    index = segment.clamp_min(0).float()
    hue = (index * 0.61803399 + 0.05) % 1
    level = torch.tensor([0.95, 0.72, 0.85], device=segment.device)[(segment.clamp_min(0) % 3).long()]
    offset = torch.tensor([0.0, 2 / 3, 1 / 3], device=segment.device)
    pure = ((((hue[:, None] + offset) % 1) * 6 - 3).abs() - 1).clamp(0, 1)
    colors = level[:, None] * (0.35 + 0.65 * pure)
    return torch.where((segment < 0)[:, None], colors.new_tensor([0.22, 0.22, 0.24]), colors)


def to_image(colors: Tensor) -> Image:
    """Colours [H, W, 3] or [N, 3] in [0, 1] → uint8; what is not finite becomes `MARK`."""
    bad = ~torch.isfinite(colors).all(-1, keepdim=True)
    colors = torch.where(bad, colors.new_tensor(MARK), colors)
    return (colors.detach().clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()


def resize(colors: Tensor, width: int, height: int) -> Tensor:
    """[h, w, 3] → [height, width, 3], nearest pixel: tokens stay visible as tokens."""
    chw = colors.permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(chw, size=(height, width), mode="nearest")[0].permute(1, 2, 0)
