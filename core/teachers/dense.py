"""Dense features of vision transformers of the `transformers` library.

Networks map normalised pixels [B, 3, H, W], with H and W multiples of ``patch``, to [B, H/patch, W/patch, D]. Position
embeddings are interpolated to the resolution (or rotary). ``pooled`` returns one vector per image, the one that the
checkpoint was trained to compare with text.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError


class DenseNetwork(Protocol):
    """Interface of dense networks.

    Attributes:
        patch: side of a token in pixels.
        native: side of the square training images in pixels.
    """

    patch: int
    native: int

    def __call__(self, pixels: Tensor) -> Tensor:
        """Features of patches: [B, 3, H, W], normalised → [B, H/patch, W/patch, D]."""
        ...

    def pooled(self, pixels: Tensor) -> Tensor:
        """Features of whole images: [B, 3, H, W], normalised → [B, D]."""
        ...


class ClipDense:
    """CLIP without its last attention: MaskCLIP's value path (Zhou et al., "Extract Free Dense Labels from CLIP").

    CLIP compares the class token with text. In the last block a patch x contributes to it the weighted value
    ``out_proj(v_proj(layer_norm1(x)))``. This vector, followed by ``post_layernorm`` and ``visual_projection`` like the
    class token, lies in the space of the text tower; it is the output of the last attention if each patch attends only
    to itself.

    Unlike MaskCLIP's released ViT code, the residual and the MLP of the block are omitted, as in F3RM and ClearCLIP
    (Lan et al. 2024): the residual dominates the activation and carries little semantics.
    """

    def __init__(self, model: Any) -> None:
        """
        Args:
            model: a ``CLIPModel``, or one with its module names. Its last vision layer is removed from the tower.
        """
        layers = model.vision_model.encoder.layers
        self.patch = int(model.config.vision_config.patch_size)
        self.native = int(model.config.vision_config.image_size)
        self._vision, self._last, self._projection = model.vision_model, layers[-1], model.visual_projection
        model.vision_model.encoder.layers = layers[:-1]

    def __call__(self, pixels: Tensor) -> Tensor:
        x = self._before(pixels)[:, 1:]
        attention = self._last.self_attn
        x = attention.out_proj(attention.v_proj(self._last.layer_norm1(x)))
        return _grid(self._projection(self._vision.post_layernorm(x)), pixels, self.patch)

    def pooled(self, pixels: Tensor) -> Tensor:
        """The class token after all layers."""
        last, x = self._last, self._before(pixels)
        x = x + last.self_attn(hidden_states=last.layer_norm1(x), attention_mask=None)[0]
        x = x + last.mlp(last.layer_norm2(x))
        return self._projection(self._vision.post_layernorm(x[:, 0]))

    def _before(self, pixels: Tensor) -> Tensor:
        """Input of the last layer: [B, 1 + h·w, D']."""
        return self._vision(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state


class SiglipDense:
    """SigLIP and SigLIP 2, fixed-size and NaFlex: the value path of the attention-pooling head.

    The head attends to all patches with one learned query. With all attention on patch x it returns
    ``y + mlp(layernorm(y))`` for ``y = out_proj(W_v x + b_v)``, which is computed here for every patch. This residual
    and MLP are needed, because they map the value to the space of the text tower.
    """

    def __init__(self, model: Any) -> None:
        """
        Args:
            model: a ``SiglipModel`` or ``Siglip2Model``.

        Raises:
            InputError: a checkpoint without the head.
        """
        config = model.config.vision_config
        self.patch = int(config.patch_size)
        self._vision = model.vision_model
        self._head: Any = getattr(model.vision_model, "head", None)
        self._flexible = model.config.model_type == "siglip2"
        # NaFlex fixes the number of patches, not their grid.
        self.native = round(config.num_patches**0.5) * self.patch if self._flexible else int(config.image_size)
        if self._head is None:
            raise InputError("SigLIP checkpoint", "an attention-pooling head", "none (vision_use_head is off)")

    def __call__(self, pixels: Tensor) -> Tensor:
        head, attention = self._head, self._head.attention
        weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
        y = attention.out_proj(F.linear(self._run(pixels).last_hidden_state, weight, bias))
        return _grid(y + head.mlp(head.layernorm(y)), pixels, self.patch)

    def pooled(self, pixels: Tensor) -> Tensor:
        """Output of the head for all patches."""
        return self._run(pixels).pooler_output

    def _run(self, pixels: Tensor) -> Any:
        if not self._flexible:
            return self._vision(pixel_values=pixels, interpolate_pos_encoding=True)
        b, p = len(pixels), self.patch
        h, w = pixels.shape[2] // p, pixels.shape[3] // p
        # NaFlex takes flattened patches (row, column, channel) and the shape of their grid.
        patches = pixels.unflatten(2, (h, p)).unflatten(4, (w, p)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        shapes = torch.tensor([[h, w]], device=pixels.device).expand(b, 2)
        mask = torch.ones(b, h * w, dtype=torch.long, device=pixels.device)
        return self._vision(pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes)


class DinoDense:
    """DINOv2 and DINOv3: the normalised tokens of the last layer, without the class token and the registers.

    With ``layers``, the tokens of these layers, each with mean 0 over its channels and scaled to unit length, joined.
    """

    native = 224

    def __init__(self, model: Any, layers: tuple[int, ...] = ()) -> None:
        """
        Args:
            model: a ``Dinov2Model``, ``Dinov2WithRegistersModel``, ``DINOv3ViTModel`` or ``DINOv3ConvNextModel``.
            layers: numbers of the layers to join, from 1; none: the last one.

        Raises:
            InputError: layers that the network lacks.
        """
        config = model.config
        # A ConvNeXt reduces by 4 in the stem and by 2 per further stage.
        self.patch = int(getattr(config, "patch_size", 0) or 4 * 2 ** (len(getattr(config, "hidden_sizes", ())) - 1))
        self._model, self._skip = model, 1 + int(getattr(config, "num_register_tokens", 0))
        self._layers = layers
        count = int(getattr(config, "num_hidden_layers", 0)) if not hasattr(config, "hidden_sizes") else 0
        if max(layers, default=0) > count:
            raise InputError("teacher option layers", f"numbers from 1 to {count}", "+".join(map(str, layers)))

    def __call__(self, pixels: Tensor) -> Tensor:
        if not self._layers:
            return self._spatial(self._model(pixel_values=pixels).last_hidden_state, pixels)
        states = self._model(pixel_values=pixels, output_hidden_states=True).hidden_states  # input, then every layer
        parts = [self._spatial(states[layer], pixels) for layer in self._layers]  # [B, h, w, D] each
        return torch.cat([F.normalize(part - part.mean(-1, keepdim=True), dim=-1) for part in parts], -1)

    def _spatial(self, tokens: Tensor, pixels: Tensor) -> Tensor:
        """[B, 1 + registers + h·w, D] → [B, h, w, D]."""
        return _grid(tokens[:, self._skip :], pixels, self.patch)

    def pooled(self, pixels: Tensor) -> Tensor:
        """The class token; for a ConvNeXt, the mean."""
        return self._model(pixel_values=pixels).pooler_output


class RadioDense:
    """RADIO and C-RADIO: spatial features of the backbone, optionally mapped by an adaptor.

    An adaptor has one head for the summary token and one for patches. Text is compared with the summary, so patches go
    through the *summary* head (as in RayFronts and RADSeg). Adaptors are code of the checkpoint's repository.
    """

    native = 432

    def __init__(self, model: Any, adaptor: str = "") -> None:
        """
        Args:
            model: the library's ``RadioModel`` or that of the checkpoint's repository; both normalise pixels.
            adaptor: name of an adaptor of the latter; "" for the features of the backbone.
        """
        self.patch = int(model.patch_size)
        self._model, self._adaptor = model, adaptor
        self._head: nn.Module | None = model.adaptors[adaptor].head_mlp if adaptor else None

    def __call__(self, pixels: Tensor) -> Tensor:
        out: Any = self._model(pixels)
        if isinstance(out, dict) and "backbone" in out:  # the form with adaptors
            out = out["backbone"]
        tokens: Tensor = getattr(out, "features")  # noqa: B009 (a name that dict lacks)
        return _grid(tokens if self._head is None else self._head(tokens), pixels, self.patch)

    def pooled(self, pixels: Tensor) -> Tensor:
        """Summary of the adaptor; without one, the mean of the patches, because the backbone's summary is wider."""
        if self._adaptor:
            return self._model(pixels)[self._adaptor].summary
        return self(pixels).mean((1, 2))


def _grid(tokens: Tensor, pixels: Tensor, patch: int) -> Tensor:
    """[B, h·w, D] → [B, h, w, D]."""
    return tokens.unflatten(1, (pixels.shape[2] // patch, pixels.shape[3] // patch))
