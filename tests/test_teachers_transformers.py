"""Teachers from checkpoints: tiny random models of the real classes, written to disk and read back as any other."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_scenes import Averages, Scenes
from gaussiancross.core.data.scene import Frame, PosedFrames
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras
from gaussiancross.core.query import TextEncoder
from gaussiancross.core.teachers import CachedTeacher, ImageTeacher, make_teacher, write_cache
from gaussiancross.core.teachers.families import FAMILIES, licence_of
from gaussiancross.core.teachers.options import TeacherConfig, parse_options
from gaussiancross.core.teachers.pooled import image_vectors, text_vectors
from gaussiancross.core.teachers.windows import multi_scale, resized, sliding, starts

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
        letters = {c: 5 + i % 5 for i, c in enumerate("▁abcdefghijklmnopqrstuvwxyz")}
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


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: write_checkpoint(root / kind, kind) for kind in KINDS}


def load(checkpoints: dict[str, Path], kind: str, options: str = "") -> ImageTeacher:
    teacher = make_teacher(f"{KINDS[kind][0]}:{checkpoints[kind]}{options}")
    assert isinstance(teacher, ImageTeacher)
    return teacher


def images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def pixels_of(pictures: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    return (pictures.permute(0, 3, 1, 2) - mean) / std


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_gives_a_token_per_patch(checkpoints: dict[str, Path], kind: str) -> None:
    teacher = load(checkpoints, kind)
    dim = KINDS[kind][1]
    patch = 32 if kind == "dinov3_convnext" else 8
    assert (teacher.info.dim, teacher.info.resolution) == (dim, None)
    assert teacher.info.name == f"{KINDS[kind][0]}:{kind}"
    assert teacher.info.label_free == kind.startswith("dino")
    pictures = images(2, 4 * patch, 6 * patch)
    got = teacher.maps(pictures)
    assert got.shape == (2, 4, 6, dim)
    assert got.dtype == torch.float32
    assert got.isfinite().all()
    assert not got.is_inference()  # a loss may save it for its backward pass
    torch.testing.assert_close(teacher.maps(pictures[1:]), got[1:], rtol=1e-4, atol=1e-5)
    assert (got[0] - got[1]).abs().max() > 1e-3
    assert teacher.maps(pictures[:0]).shape == (0, 4, 6, dim)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "dinov3_convnext"])
def test_tokens_lie_where_their_patches_do(checkpoints: dict[str, Path], kind: str) -> None:
    """The token that changes most is that of the patch that was painted over: rows, columns and prefix tokens."""
    teacher = load(checkpoints, kind)
    pictures = images(1, 24, 40) * 0.1 + 0.45
    before = teacher.maps(pictures)
    pictures[0, 8:16, 24:32] = torch.tensor([1.0, 0.0, 0.0])
    change = (teacher.maps(pictures) - before)[0].norm(dim=-1)
    assert change.flatten().argmax() == 1 * 5 + 3


@pytest.mark.parametrize("kind", ["clip", "metaclip_2"])
def test_clip_value_path(checkpoints: dict[str, Path], kind: str) -> None:
    """Every patch of the last layer attends to itself alone: its attention, run on sequences of one token."""
    pictures = images(1, 32, 32)
    model = transformers.AutoModel.from_pretrained(checkpoints[kind]).eval()
    vision, inputs = model.vision_model, []
    last = vision.encoder.layers[-1]
    hook = last.register_forward_pre_hook(
        lambda m, args, kwargs: inputs.append((args or (kwargs["hidden_states"],))[0]), with_kwargs=True
    )
    with torch.no_grad():
        vision(pixels_of(pictures))
        hook.remove()
        x = last.layer_norm1(inputs[0][0, 1:])
        alone = torch.cat([last.self_attn(hidden_states=token[None, None], attention_mask=None)[0] for token in x])
        expected = model.visual_projection(vision.post_layernorm(alone[:, 0]))
    got = load(checkpoints, kind).maps(pictures)[0].flatten(0, 1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_siglip_value_path(checkpoints: dict[str, Path], kind: str) -> None:
    """The pooling head, run on every patch alone; NaFlex patches as the library's own preprocessor cuts them."""
    pictures = images(1, 24, 40)
    model = transformers.AutoModel.from_pretrained(checkpoints[kind]).eval()
    with torch.no_grad():
        if kind == "siglip":
            tokens = model.vision_model(pixels_of(pictures), interpolate_pos_encoding=True).last_hidden_state[0]
        else:
            from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches

            tokens = model.vision_model(
                convert_image_to_patches(pixels_of(pictures)[0], 8)[None],
                torch.ones(1, 15, dtype=torch.long),
                torch.tensor([[3, 5]]),
            ).last_hidden_state[0]
        expected = torch.stack([model.vision_model.head(token[None, None])[0] for token in tokens])
    got = load(checkpoints, kind).maps(pictures)[0].flatten(0, 1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_registers_are_dropped(checkpoints: dict[str, Path]) -> None:
    pictures = images(1, 24, 40)
    for kind in ("dinov2_with_registers", "dinov3_vit"):
        model = transformers.AutoModel.from_pretrained(checkpoints[kind]).eval()
        with torch.no_grad():
            tokens = model(pixels_of(pictures)).last_hidden_state
        assert tokens.shape[1] == 1 + 4 + 15
        got = load(checkpoints, kind).maps(pictures)[0].flatten(0, 1)
        torch.testing.assert_close(got, tokens[0, 5:], rtol=1e-4, atol=1e-5)


def test_radio_normalises_itself(checkpoints: dict[str, Path]) -> None:
    pictures = images(1, 24, 40)
    model = transformers.AutoModel.from_pretrained(checkpoints["radio"]).eval()
    with torch.no_grad():
        expected = model(pictures.permute(0, 3, 1, 2)).features
    got = load(checkpoints, "radio").maps(pictures)[0].flatten(0, 1)
    torch.testing.assert_close(got, expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "dinov2", "dinov3_vit", "radio"])
def test_position_embeddings_follow_the_resolution(checkpoints: dict[str, Path], kind: str) -> None:
    """A flat image has the same tokens but for their positions, and those change smoothly with the resolution."""
    teacher = load(checkpoints, kind)
    flat = torch.full((1, 32, 32, 3), 0.5)
    small = teacher.maps(flat)[0]
    large = teacher.maps(flat.repeat(1, 2, 2, 1))[0]
    assert large.shape[:2] == (8, 8)
    halved = large.unflatten(0, (4, 2)).unflatten(2, (4, 2)).mean((1, 3))
    a, b = ((x - x.mean((0, 1))).flatten() for x in (small, halved))
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.5


def test_images_are_resampled_to_whole_patches(checkpoints: dict[str, Path]) -> None:
    teacher = load(checkpoints, "dinov2")
    assert teacher.maps(images(1, 30, 45)).shape[1:3] == (4, 6)
    assert teacher.maps(images(1, 3, 3)).shape[1:3] == (1, 1)
    with pytest.raises(InputError, match=r"\[C, H, W, 3\]"):
        teacher.maps(torch.rand(1, 3, 8, 8))


def test_frames_are_read_at_their_own_shape(checkpoints: dict[str, Path]) -> None:
    asked = []

    def read(index: int, width: int, height: int) -> Frame:
        asked.append((width, height))
        return Frame(np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32))

    eye = torch.eye(4)[None]
    frames = PosedFrames(("f",), Cameras(eye, eye[:, :3, :3], 1296, 968), read)
    teacher = load(checkpoints, "dinov2", ",short=30")
    assert teacher.features("s", frames, [0]).shape == (1, 4, 5, 16)
    assert asked == [(40, 32)]


# --- whole pictures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "metaclip_2", "siglip", "siglip2", "dinov2", "dinov3_vit", "dinov3_convnext"])
def test_whole_pictures_are_pooled_as_the_library_pools_them(checkpoints: dict[str, Path], kind: str) -> None:
    side = 224 if kind.startswith("dino") else 32
    pictures = images(3, side, side)
    teacher = load(checkpoints, kind, ",batch=2")
    model = transformers.AutoModel.from_pretrained(checkpoints[kind]).eval()
    pixels = pixels_of(pictures)
    with torch.no_grad():
        if kind.startswith("dino"):
            expected = model(pixel_values=pixels).pooler_output
        elif kind == "siglip2":
            patches = (
                pixels.unflatten(2, (4, 8)).unflatten(4, (4, 8)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
            )
            expected = model.get_image_features(
                patches, torch.ones(3, 16, dtype=torch.long), torch.tensor([[4, 4]] * 3)
            ).pooler_output
        else:
            expected = model.get_image_features(pixels).pooler_output
    got = teacher.embed(pictures)
    torch.testing.assert_close(got, torch.nn.functional.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)
    assert teacher.embed(pictures[:0]).shape == (0, teacher.info.dim)


def test_whole_pictures_are_shown_at_the_size_of_the_training(checkpoints: dict[str, Path]) -> None:
    """The shorter side is resized, the middle is cut out."""
    teacher = load(checkpoints, "clip")
    wide = images(1, 32, 48)
    torch.testing.assert_close(teacher.embed(wide), teacher.embed(wide[:, :, 8:40]), rtol=1e-4, atol=1e-5)
    assert teacher.embed(images(1, 9, 20)).shape == (1, 12)
    with pytest.raises(InputError, match=r"\[C, H, W, 3\]"):
        teacher.embed(torch.rand(1, 3, 8, 8))


def test_pooled_vectors_are_unit_and_what_is_unknown_is_zero(checkpoints: dict[str, Path]) -> None:
    teacher = load(checkpoints, "clip")
    bytes_ = (images(20, 16, 16) * 255).to(torch.uint8)
    got = image_vectors(teacher, bytes_.numpy())
    torch.testing.assert_close(got, image_vectors(teacher, bytes_ / 255))
    torch.testing.assert_close(got.norm(dim=-1), torch.ones(20))
    vectors, known = text_vectors(teacher, ["red chair", " "])
    assert known.tolist() == [True, False]
    torch.testing.assert_close(vectors.norm(dim=-1), torch.tensor([1.0, 0.0]))
    with pytest.raises(InputError, match="one with a text tower, found dinov2"):
        text_vectors(load(checkpoints, "dinov2"), ["lamp"])
    with pytest.raises(InputError, match="looks at pictures, found none"):
        image_vectors(None, bytes_)
    with pytest.raises(InputError, match=r"RGB \[V, H, W, 3\]"):
        image_vectors(teacher, bytes_[0])


# --- text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clip", "metaclip_2", "siglip", "siglip2"])
def test_text_tower(checkpoints: dict[str, Path], kind: str) -> None:
    text = load(checkpoints, kind).text
    assert isinstance(text, TextEncoder)
    vectors, known = text.encode(["red chair", "lamp", "  ", "a photo of a red chair"])
    assert known.tolist() == [True, True, False, True]
    assert vectors.shape == (4, text.dim)
    assert vectors[2].abs().sum() == 0
    torch.testing.assert_close(text.encode(["lamp"]).vectors[0], vectors[1], rtol=1e-4, atol=1e-5)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    assert text.encode([]).vectors.shape == (0, text.dim)
    assert text.encode(["red " * 50]).vectors.isfinite().all()  # longer than the tower reads


def test_text_as_each_family_was_trained(checkpoints: dict[str, Path]) -> None:
    """CLIP reads to the end of the text; SigLIP reads its padding too, in small letters without punctuation."""
    ids = [1, 4, 5, 2]
    model = transformers.AutoModel.from_pretrained(checkpoints["clip"]).eval()
    siglip = transformers.AutoModel.from_pretrained(checkpoints["siglip"]).eval()
    with torch.no_grad():
        expected = model.get_text_features(torch.tensor([ids])).pooler_output[0]
        padded = siglip.get_text_features(torch.tensor([ids + [0] * 4])).pooler_output[0]
    for kind, phrase, vector in (("clip", "red chair", expected), ("siglip", "Red, chair!", padded)):
        text = load(checkpoints, kind).text
        assert text is not None
        torch.testing.assert_close(text.encode([phrase, "a photo of a lamp"]).vectors[0], vector, rtol=1e-4, atol=1e-5)


def test_dino_has_no_text(checkpoints: dict[str, Path]) -> None:
    assert load(checkpoints, "dinov2").text is None
    assert load(checkpoints, "radio").text is None


# --- windows, scales, precision --------------------------------------------------------------------------------


def test_windows_cover_everything() -> None:
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(4, 4, 1) == [0]
    assert starts(3, 4, 1) == [0]


@pytest.mark.parametrize(("window", "stride", "batch"), [(16, 8, 3), (24, 16, 1), (16, 0, 64), (400, 0, 2), (0, 0, 2)])
def test_sliding_windows_are_the_naive_loop(window: int, stride: int, batch: int) -> None:
    def network(x: torch.Tensor) -> torch.Tensor:
        tokens = torch.nn.functional.avg_pool2d(x, 8).permute(0, 2, 3, 1)
        return tokens + tokens.mean((1, 2), keepdim=True).square()  # what a token says depends on its window

    x = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    got = sliding(network, x, 8, window, stride, batch)
    for i in range(2):
        said: dict[tuple[int, int], list[torch.Tensor]] = {}
        wh, ww = min(window or 56, 40), min(window or 56, 56)
        step = stride or max(wh, ww) // 2 // 8 * 8
        for top in sorted({min(t, 40 - wh) for t in range(0, 40, step)}):
            for left in sorted({min(t, 56 - ww) for t in range(0, 56, step)}):
                tokens = network(x[i : i + 1, :, top : top + wh, left : left + ww])[0]
                for r in range(tokens.shape[0]):
                    for c in range(tokens.shape[1]):
                        said.setdefault((top // 8 + r, left // 8 + c), []).append(tokens[r, c])
        assert len(said) == 5 * 7
        for (r, c), values in said.items():
            torch.testing.assert_close(got[i, r, c], torch.stack(values).mean(0))


def test_scales_are_averaged_on_the_grid_of_the_first_size() -> None:
    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 8).permute(0, 2, 3, 1)

    x = torch.rand(1, 3, 32, 48)
    assert torch.equal(multi_scale(network, x, 8, (1.0,)), network(x))
    both = multi_scale(network, x, 8, (1.0, 2.0))
    fine = network(resized(x, 64, 96)).permute(0, 3, 1, 2)
    torch.testing.assert_close(both, (network(x) + resized(fine, 4, 6).permute(0, 2, 3, 1)) / 2)


def test_windows_and_scales_of_a_teacher(checkpoints: dict[str, Path]) -> None:
    pictures = images(3, 32, 48)
    whole, windows = load(checkpoints, "clip"), load(checkpoints, "clip", ",window=16,stride=8,scales=1+2,batch=2")
    assert windows.maps(pictures).shape == whole.maps(pictures).shape
    assert (windows.maps(pictures) - whole.maps(pictures)).abs().max() > 1e-4
    corner = load(checkpoints, "clip", ",window=16,stride=16").maps(pictures)[:, :2, :2]
    torch.testing.assert_close(corner, whole.maps(pictures[:, :16, :16]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip2", "dinov3_vit", "radio"])
def test_half_precision_is_close(checkpoints: dict[str, Path], kind: str) -> None:
    pictures = images(1, 32, 32)
    exact, half = (load(checkpoints, kind, o).maps(pictures) for o in ("", ",dtype=bfloat16"))
    assert half.dtype == torch.float32
    assert not torch.equal(exact, half)
    assert torch.nn.functional.cosine_similarity(exact, half, dim=-1).min() > 0.99


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_gpu_agrees(checkpoints: dict[str, Path], kind: str) -> None:
    pictures = images(2, 64, 96)
    gpu, cpu = load(checkpoints, kind), load(checkpoints, kind, ",device=cpu")
    assert torch.nn.functional.cosine_similarity(gpu.maps(pictures), cpu.maps(pictures), dim=-1).min() > 0.98


# --- RADIO's own code --------------------------------------------------------------------------------------------

REMOTE = """
from typing import NamedTuple
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

class Out(NamedTuple):
    summary: torch.Tensor
    features: torch.Tensor

class RADIOConfig(PretrainedConfig):
    def __init__(self, adaptor_names=None, adaptor_configs=None, **kwargs):
        self.adaptor_names, self.adaptor_configs = adaptor_names, adaptor_configs
        super().__init__(**kwargs)

class Adaptor(nn.Module):
    def __init__(self):
        super().__init__()
        self.head_mlp, self.feat_mlp = nn.Linear(16, 12), nn.Linear(16, 20)

class RADIOModel(PreTrainedModel):
    config_class = RADIOConfig
    patch_size = 8

    def __init__(self, config):
        super().__init__(config)
        self.conv = nn.Conv2d(3, 16, 8, 8)
        self.adaptors = nn.ModuleDict({name: Adaptor() for name in config.adaptor_names or ()})
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, x):
        features = self.conv(x).flatten(2).transpose(1, 2)
        backbone = Out(features.mean(1), features)
        if not self.adaptors:
            return backbone
        made = {k: Out(a.head_mlp(backbone.summary), a.feat_mlp(features)) for k, a in self.adaptors.items()}
        return {"backbone": backbone, **made}
"""
"""A stand-in with the interface of the code that comes with RADIO's checkpoints."""


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from safetensors.torch import save_file
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "C-RADIOv2-B"
    folder.mkdir()
    (folder / "hf_model.py").write_text(REMOTE)
    config = {
        "auto_map": {"AutoConfig": "hf_model.RADIOConfig", "AutoModel": "hf_model.RADIOModel"},
        "adaptor_configs": {"clip": {}, "sam": {}},
        "architectures": ["RADIOModel"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    weights = {"conv.weight": torch.randn(16, 3, 8, 8), "conv.bias": torch.randn(16)}
    for name in ("clip", "sam"):
        for head, width in (("head_mlp", 12), ("feat_mlp", 20)):
            weights[f"adaptors.{name}.{head}.weight"] = torch.randn(width, 16)
            weights[f"adaptors.{name}.{head}.bias"] = torch.randn(width)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_code_of_a_checkpoint_runs_only_when_trusted(remote: Path) -> None:
    with pytest.raises(InputError, match=r"brings code; read the code .* ,trust_remote_code"):
        make_teacher(f"radio:{remote}")
    teacher = make_teacher(f"radio:{remote},trust_remote_code")
    assert isinstance(teacher, ImageTeacher)
    assert (teacher.info.dim, teacher.text) == (16, None)
    assert teacher.info.licence == "NVIDIA Open Model License (commercial use allowed)"


def test_patches_go_through_the_summary_head_of_an_adaptor(remote: Path, checkpoints: dict[str, Path]) -> None:
    teacher = make_teacher(f"radio:{remote},trust_remote_code,adaptor=clip,text=clip:{checkpoints['clip']}")
    assert isinstance(teacher, ImageTeacher)
    assert teacher.info.dim == 12
    from safetensors.torch import load_file

    weights = load_file(remote / "model.safetensors")
    pictures = images(1, 16, 24)
    tokens = torch.nn.functional.conv2d(pictures.permute(0, 3, 1, 2), weights["conv.weight"], weights["conv.bias"], 8)
    expected = tokens[0].permute(1, 2, 0) @ weights["adaptors.clip.head_mlp.weight"].T
    torch.testing.assert_close(
        teacher.maps(pictures)[0], expected + weights["adaptors.clip.head_mlp.bias"], rtol=1e-4, atol=1e-4
    )
    square = images(1, 432, 432)
    summary = teacher.maps(square).mean((1, 2))  # the stand-in's heads are linear: means may be taken before or after
    torch.testing.assert_close(
        teacher.embed(square), torch.nn.functional.normalize(summary, dim=-1), rtol=1e-4, atol=1e-5
    )
    assert teacher.text is not None
    own = load(checkpoints, "clip").text
    assert own is not None
    assert torch.equal(teacher.text.encode(["lamp"]).vectors, own.encode(["lamp"]).vectors)


def test_adaptors_that_are_not_there(remote: Path, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="expected one of clip, sam, found no such adaptor"):
        make_teacher(f"radio:{remote},trust_remote_code,adaptor=siglip")
    with pytest.raises(InputError, match="a checkpoint with adaptors"):
        make_teacher(f"radio:{checkpoints['radio']},adaptor=clip")
    with pytest.raises(InputError, match="a checkpoint with adaptors"):
        make_teacher(f"clip:{checkpoints['clip']},adaptor=clip")
    wrong = make_teacher(f"radio:{remote},trust_remote_code,adaptor=clip,text=siglip2:{checkpoints['siglip']}")
    assert isinstance(wrong, ImageTeacher)
    assert wrong.text is not None
    with pytest.raises(InputError, match="vectors of 12, found vectors of 16"):
        wrong.text.encode(["lamp"])


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_missing_download_names_the_command() -> None:
    for family in ("clip", "siglip2", "dinov2", "radio"):
        name = FAMILIES[family].example
        with pytest.raises(InputError, match=f"none on this machine; run `hf download {name}`") as error:
            make_teacher(f"{family}:{name}")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="accept its licence"):
        make_teacher("dinov3:facebook/dinov3-vitb16-pretrain-lvd1689m")
    with pytest.raises(InputError, match="no such folder"):
        make_teacher("clip:/no/such/folder")
    with pytest.raises(InputError, match="after the colon"):
        make_teacher("clip:")


def test_stored_features_without_their_text_tower(tmp_path: Path) -> None:
    list(write_cache(tmp_path, Averages(), "averages", {"train": Scenes()}))
    manifest = json.loads((tmp_path / "cache.json").read_text())
    (tmp_path / "cache.json").write_text(json.dumps({**manifest, "spec": "clip:openai/clip-vit-base-patch16"}))
    text = CachedTeacher(tmp_path).text
    assert text is not None
    assert text.dim == Averages.info.dim
    with pytest.raises(InputError, match="hf download openai/clip-vit-base-patch16"):
        text.encode(["chair"])


def test_incomplete_and_damaged_checkpoints(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    def broken(name: str, content: bytes | None, kind: str = "clip") -> str:
        folder = tmp_path / f"{kind}-{name}"
        shutil.copytree(checkpoints[kind], folder, dirs_exist_ok=True)
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        return f"{KINDS[kind][0]}:{folder}"

    whole = (checkpoints["clip"] / "model.safetensors").read_bytes()
    for spec in (
        broken("config.json", None),
        broken("config.json", b"{"),
        broken("model.safetensors", None),
        broken("model.safetensors", whole[:-100]),
        broken("model.safetensors", b"nonsense"),
        broken("preprocessor_config.json", None),
        broken("tokenizer.json", None),
    ):
        with pytest.raises(InputError) as error:
            make_teacher(spec)
        assert spec in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="image_mean"):
        make_teacher(broken("preprocessor_config.json", b'{"image_mean": [0.5]}'))


def test_missing_weights_are_not_made_up(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoints["clip"], tmp_path / "c")
    weights = load_file(tmp_path / "c" / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "c" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 missing \(visual_projection\.weight"):
        make_teacher(f"clip:{tmp_path / 'c'}")


def test_another_family(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="type siglip2 or siglip, found clip"):
        make_teacher(f"siglip2:{checkpoints['clip']}")


def test_without_the_library(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'gaussiancross\[teachers\]'"):
        make_teacher(f"clip:{checkpoints['clip']}")


def test_options() -> None:
    assert parse_options("a/b") == ("a/b", TeacherConfig())
    text = "a/b,short=640,window=224,scales=1+1.5,dtype=float16,trust_remote_code,revision=v1"
    config = TeacherConfig(640, 224, scales=(1.0, 1.5), dtype="float16", trust_remote_code=True, revision="v1")
    assert parse_options(text) == ("a/b", config)
    assert not parse_options("a,trust_remote_code=false")[1].trust_remote_code
    bad = {
        "a,sort=1": "one of short, window",
        "a,short=x": "whole number",
        "a,short=0": "positive",
        "a,scales=": "joined by",
        "a,scales=0": "above 0",
        "a,dtype=int8": "float32",
        "a,trust_remote_code=yes": "true or false",
    }
    for argument, message in bad.items():
        with pytest.raises(InputError, match=message):
            parse_options(argument)


def test_licences(tmp_path: Path) -> None:
    assert licence_of("openai/clip-vit-base-patch16") == "MIT"
    assert "non-commercial" in licence_of("nvidia/RADIO-L")
    assert "non-commercial" in licence_of("nvidia/E-RADIO")
    assert "commercial use allowed" in licence_of("nvidia/C-RADIOv3-B")
    assert licence_of("somebody/model").startswith("unknown")
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n---\n# license: mit\n")
    assert licence_of(str(tmp_path)) == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: special\n---\n")
    assert licence_of(str(tmp_path)) == "special"
