"""Tiny random checkpoints of the `transformers` model families, written to disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from gaussiancross.core.teachers import ImageTeacher, make_teacher

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install '.[teachers]'")

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]

WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", "red", "chair", "lamp", "a", "photo", "of"]

VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}

TEXT = {
    **VISION,
    "vocab_size": 10,
    "max_position_embeddings": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def write_checkpoint(folder: Path, kind: str) -> Path:
    """A random checkpoint of the kind: config, weights, preprocessor, tokenizer."""
    t = transformers
    tower = {**VISION, "image_size": 32, "patch_size": 8}
    configs = {
        "clip": lambda: t.CLIPConfig(vision_config=tower, text_config=TEXT, projection_dim=12),
        "metaclip_2": lambda: t.MetaClip2Config(vision_config=tower, text_config=TEXT, projection_dim=12),
        "siglip": lambda: t.SiglipConfig(vision_config=tower, text_config={**TEXT, "projection_size": 16}),
        "siglip2": lambda: t.Siglip2Config(
            vision_config={**VISION, "patch_size": 8, "num_patches": 16}, text_config={**TEXT, "projection_size": 16}
        ),
        "dinov2": lambda: t.Dinov2Config(**tower, mlp_ratio=2),
        "dinov2_with_registers": lambda: t.Dinov2WithRegistersConfig(**tower, mlp_ratio=2, num_register_tokens=4),
        "dinov3_vit": lambda: t.DINOv3ViTConfig(**tower, num_register_tokens=4),
        "dinov3_convnext": lambda: t.DINOv3ConvNextConfig(hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1]),
        "radio": lambda: t.RadioConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, patch_size=8, max_img_size=64
        ),
    }
    torch.manual_seed(0)
    model = t.AutoModel.from_config(configs[kind]())
    with torch.no_grad():
        for parameter in model.parameters():  # zeros and ones of the initialisation would hide a wrong path
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    processor = {
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
        "image_processor_type": "CLIPImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    if kind in ("clip", "metaclip_2", "siglip", "siglip2"):
        write_tokenizer(folder, kind)
    return folder


def write_tokenizer(folder: Path, kind: str) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    if kind == "siglip2":  # the library has one class for it, whatever the file says: letters, here
        letters = {c: 5 + i for i, c in enumerate("▁ralm")}  # of two with one number, chance would keep one
        special = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4}
        transformers.Siglip2Tokenizer(vocab={**special, **letters}).save_pretrained(folder)
        return
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    ).save_pretrained(folder)


KINDS = {
    "clip": ("clip", 12),
    "metaclip_2": ("clip", 12),
    "siglip": ("siglip2", 16),
    "siglip2": ("siglip2", 16),
    "dinov2": ("dinov2", 16),
    "dinov2_with_registers": ("dinov2", 16),
    "dinov3_vit": ("dinov3", 16),
    "dinov3_convnext": ("dinov3", 16),
    "radio": ("radio", 16),
}
"""Model type → (kind on the command line, width of its features)."""


def load(checkpoints: dict[str, Path], kind: str, options: str = "") -> ImageTeacher:
    teacher = make_teacher(f"{KINDS[kind][0]}:{checkpoints[kind]}{options}")
    assert isinstance(teacher, ImageTeacher)
    return teacher


def images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def pixels_of(pictures: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    return (pictures.permute(0, 3, 1, 2) - mean) / std
