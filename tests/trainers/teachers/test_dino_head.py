"""The head on DINOv2 tokens: views, stored tokens, training, export, and the teacher made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.datasets.captioned_rooms import NO_THING, CaptionedRoom
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn.token_head import TokenHead, TokenHeadConfig, discriminants
from gaussiancross.core.synthetic.rooms.captions import Description
from gaussiancross.core.teachers import make_teacher
from gaussiancross.core.teachers.builtin import BuiltinTeacher
from gaussiancross.core.teachers.builtin_dino import BuiltinDinoTeacher, joined_layers, load_builtin_dino
from gaussiancross.core.teachers.options import parse_options
from gaussiancross.trainers.teachers.captioned_views import PASTED, object_view, room_view
from gaussiancross.trainers.teachers.captions import CaptionedObject
from gaussiancross.trainers.teachers.dino_head import (
    DinoHeadTrainer,
    DinoHeadTraining,
    LabelledTokens,
    export,
    token_accuracy,
)
from gaussiancross.trainers.teachers.token_shards import (
    ABOUT,
    TokenShard,
    TokenShards,
    object_keys,
    read_about,
    read_shard,
    save_shard,
    write_about,
)

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install '.[teachers]'")

THINGS = {
    -1: Description("wall", ("wall",)),
    0: Description("sofa", ("sofa", "couch")),
    1: Description("bed", ("bed",)),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random DINOv2 with 16 channels and patches of 14 pixels."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    transformers.AutoModel.from_config(transformers.Dinov2Config(**sizes, mlp_ratio=2)).save_pretrained(folder)
    processor = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def shard(seed: int) -> TokenShard:
    """Three views, a wall on the left and another thing on the right, with tokens that tell them apart."""
    rng = np.random.default_rng(seed)
    ids = np.full((3, 8, 12), -1, np.int16)
    ids[:, :, 6:] = rng.integers(0, 2, (3, 1, 1))
    g = torch.Generator().manual_seed(seed)
    tokens = torch.eye(32)[torch.from_numpy(ids[:, ::2, ::2] + 1).long()] + 0.2 * torch.randn(3, 4, 6, 32, generator=g)
    return TokenShard(tokens.half(), ids, [dict(THINGS)] * 3)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> tuple[Path, dict[str, float]]:
    """Folder of an exported head, and its accuracy on held-out views."""
    folder = tmp_path_factory.mktemp("head")
    about = {"backbone": "a random DINOv2", "layers": [1, 2], "patch": 14, "command": "none"}
    about["digest"] = joined_layers(str(checkpoint), (1, 2)).digest
    (folder / ABOUT).write_text(json.dumps(about))
    small = TokenHeadConfig(reduced=8, width=8, blocks=1)
    config = DinoHeadTraining(folder, folder / "run", small, steps=60, lr=2e-2, batch=8)
    trainer = DinoHeadTrainer(config, LabelledTokens.of([shard(k) for k in range(6)]))
    trainer.fit()
    held = LabelledTokens.of([shard(9)], trainer.names)
    export(trainer, held, folder)
    return folder, token_accuracy(trainer.model, held)


def test_layers_that_are_no_integers_are_refused(tmp_path):
    about = '{"backbone": "B", "digest": "d", "command": "c", "patch": 14, "layers": [9, -Infinity]}'
    (tmp_path / ABOUT).write_text(about)
    with pytest.raises(InputError, match="layers by their integer numbers"):
        read_about(tmp_path / ABOUT)


def test_the_head_learns_the_names(head):
    assert head[1]["tokens"] > 0.95 and head[1]["tokens"] == pytest.approx(
        json.loads((head[0] / "builtin_dino.json").read_text())["accuracy_on_held_out_rooms"]["tokens"], abs=1e-3
    )


def test_the_teacher_shares_the_text_space_of_builtin(head, checkpoint):
    teacher, small = BuiltinDinoTeacher(str(checkpoint), folder=head[0]), BuiltinTeacher()
    images = torch.rand(2, 42, 56, 3)
    maps = teacher.maps(images)
    assert maps.shape[0] == 2 and maps.shape[-1] == teacher.info.dim == small.info.dim
    assert teacher.maps(images[:0]).shape == (0, *maps.shape[1:])
    torch.testing.assert_close(teacher.text.encode(["red sofa"]).vectors, small.text.encode(["red sofa"]).vectors)
    only_names = teacher._named(images)  # a mixture of the names' text vectors
    span = torch.linalg.qr(teacher.table.T)[0]
    torch.testing.assert_close(only_names @ span @ span.T, only_names, atol=1e-5, rtol=0)
    assert teacher.fingerprint == BuiltinDinoTeacher(str(checkpoint), folder=head[0]).fingerprint
    assert not teacher.info.label_free and teacher.card["teacher"] == "a random DINOv2"


def test_options_that_change_features_change_the_fingerprint(head, checkpoint):
    def teacher(options: str) -> BuiltinDinoTeacher:
        name, parsed = parse_options(f"{checkpoint},short=28{options}")
        return BuiltinDinoTeacher(name, parsed, head[0])

    plain = teacher("")
    assert plain.fingerprint == teacher(",batch=2").fingerprint != teacher(",scales=1+2").fingerprint
    assert plain.former_fingerprints and not teacher(",scales=1+2").former_fingerprints
    with pytest.raises(InputError, match="its head is made for layers"):
        teacher(",layers=1")


def test_a_folder_holds_the_tokens_of_one_command(checkpoint, tmp_path):
    teacher = joined_layers(str(checkpoint), (1, 2))
    config = TokenShards(str(checkpoint), tmp_path, layers=(1, 2))
    for again in (config, replace(config, part=(1, 2))):  # another process takes other rooms
        write_about(again, teacher)
    with pytest.raises(InputError, match="another layers and command"):
        write_about(replace(config, layers=(2,), objects=3), joined_layers(str(checkpoint), (2,)))


def test_without_the_dinov2(head, tmp_path, monkeypatch):
    missing = BuiltinDinoTeacher(str(tmp_path / "none"), folder=head[0])
    assert bool(missing.text.encode(["sofa"]).known[0])  # words need the head alone
    with pytest.raises(InputError, match="no such folder"):
        missing.maps(torch.rand(1, 28, 28, 3))
    monkeypatch.setattr("gaussiancross.core.teachers.builtin_dino.CHECKPOINT", "nobody/nothing")
    with pytest.warns(UserWarning, match="the small tower of `builtin` serves"):
        assert isinstance(load_builtin_dino(""), BuiltinTeacher)


def test_a_damaged_head_is_refused(head, tmp_path):
    for name in ("builtin_dino.json", "builtin_dino.safetensors"):
        (tmp_path / name).write_bytes((head[0] / name).read_bytes())
    card = json.loads((tmp_path / "builtin_dino.json").read_text())
    card["config"]["width"] = 9
    (tmp_path / "builtin_dino.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="the weights that"):
        BuiltinDinoTeacher("x", folder=tmp_path)
    (tmp_path / "builtin_dino.json").write_text("{}")
    with pytest.raises(InputError, match="description"):
        BuiltinDinoTeacher("x", folder=tmp_path)


def test_the_bundled_head_names_real_frames(shared_data):
    """On a frame that we did not make: the sofa that fills the lower half of frame 225."""
    folder = shared_data.parent / "models" / "dinov2-small"
    if not (folder / "config.json").is_file():
        pytest.skip(f"no checkpoint at {folder}")
    from gaussiancross.core.io.images import read_color

    teacher = make_teacher(f"builtin-dino:{folder},short=224")
    image = torch.from_numpy(read_color(shared_data / "hololens" / "color" / "00225.jpg")).float()[None] / 255
    maps = torch.nn.functional.normalize(teacher.maps(image)[0], dim=-1)
    names = ["wall", "floor", "chair", "table", "door", "window", "sofa"]
    best = (maps @ teacher.text.encode(names).vectors.T).argmax(-1)
    h, w = best.shape
    seat = best[int(0.75 * h) : int(0.95 * h), int(0.1 * w) : int(0.7 * w)]
    assert float((seat == names.index("sofa")).float().mean()) > 0.4


def test_shards_survive_the_disk(tmp_path):
    one = shard(3)
    save_shard(tmp_path / "a.safetensors", one)
    again = read_shard(tmp_path / "a.safetensors")
    assert torch.equal(again.tokens, one.tokens) and np.array_equal(again.ids, one.ids) and again.things == one.things


def test_objects_cover_furniture_and_all_categories():
    keys = [key for index in range(60) for key in object_keys(index, 6)]
    assert {"sofa", "plant", "giraffe", "axe"} <= {category for category, _ in keys}
    assert len(set(keys[::2])) == len(keys) / 2 and len(set(keys[1::2])) == len(keys) / 2
    assert object_keys(7, 6) == object_keys(7, 6)


def test_views_show_what_their_ids_say():
    """A room with a blue thing on the right; its pixels stay the bluest of the view."""
    color = np.full((2, 60, 80, 3), 150, np.uint8)
    color[:, :, 40:] = (30, 60, 220)
    ids = np.full((2, 30, 40), -1, np.int16)
    ids[:, :, 20:] = 0
    room = CaptionedRoom(color, ids, dict(THINGS), "bedroom")
    covered = np.zeros((1, 160, 160), bool)
    covered[0, 40:120, 40:120] = True
    red = CaptionedObject(np.where(covered[..., None], (220, 20, 20), 90).astype(np.uint8), covered, THINGS[1])
    seen = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        view = (room_view if seed % 3 else object_view)(room, [red], rng, (56, 84), 7)
        assert view.image.shape == (3, 56, 84) and view.ids.shape == (8, 12)
        assert float(view.image.min()) >= 0 and float(view.image.max()) <= 1
        at = view.image[:, 3::7, 3::7].numpy()
        blue, other = at[2] - at[0], view.ids == -1
        if (view.ids == 0).any() and other.any():
            assert blue[view.ids == 0].mean() > blue[other].mean() + 0.1
            seen += 1
        for number in set(np.unique(view.ids)) - {-1, 0, NO_THING}:
            assert number >= PASTED and view.things[int(number)].name == "bed"
    assert seen >= 3


def test_discriminants_have_unit_variance_within_a_name():
    g = torch.Generator().manual_seed(0)
    label = torch.randint(4, (4000,), generator=g)
    tokens = torch.randn(4, 10, generator=g)[label] * 3 + torch.randn(4000, 10, generator=g) * torch.linspace(
        0.5, 4, 10
    )
    center, projection = discriminants(tokens, label, 4, 3, shrink=0.0)
    reduced = (tokens - center) @ projection
    within = torch.cat([reduced[label == k] - reduced[label == k].mean(0) for k in range(4)])
    torch.testing.assert_close(within.T @ within / len(within), torch.eye(3), atol=0.1, rtol=0)
    model = TokenHead(replace(TokenHeadConfig(), inputs=10, reduced=3, width=8, names=4))
    assert model(tokens[:60].reshape(1, 6, 10, 10)).shape == (1, 6, 10, 4)
