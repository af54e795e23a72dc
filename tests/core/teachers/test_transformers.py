"""Teachers of every model family: tokens, pooled vectors, text, precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.scene import Frame, PosedFrames
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras
from gaussiancross.core.query import TextEncoder
from gaussiancross.core.teachers.pooled import image_vectors, text_vectors
from helpers.checkpoints import KINDS, images, load, pixels_of

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install '.[teachers]'")


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
def test_tokens_have_the_positions_of_their_patches(checkpoints: dict[str, Path], kind: str) -> None:
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


def test_pooled_vectors_are_unit_and_unknown_texts_zero(checkpoints: dict[str, Path]) -> None:
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
    with pytest.raises(InputError, match="encodes images, found none"):
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
