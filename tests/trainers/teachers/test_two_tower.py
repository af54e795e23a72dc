"""The built-in image/text model: captions, vocabulary, network, losses, training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.datasets.captioned_rooms import NO_THING, CaptionedRoom
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn.two_tower import TwoTower, TwoTowerConfig
from gaussiancross.core.query.text import UnknownPhrase
from gaussiancross.core.synthetic.rooms.captions import (
    COLORS,
    SYNONYMS,
    Description,
    Phrase,
    color_name,
    color_names,
    describe,
    thing_ids,
    vocabulary,
)
from gaussiancross.core.synthetic.rooms.room import build_room
from gaussiancross.core.teachers import make_teacher
from gaussiancross.core.teachers.builtin import BuiltinTeacher
from gaussiancross.core.teachers.vocabulary import Vocabulary
from gaussiancross.trainers.teachers.captions import (
    SIDE,
    captioned_object,
    object_crop,
    region_batch,
    room_crop,
    truth,
)
from gaussiancross.trainers.teachers.two_tower import (
    TwoTowerTrainer,
    TwoTowerTraining,
    export,
    region_losses,
    training_vocabulary,
)
from torch.nn import functional as F

TINY = TwoTowerConfig(
    dim=8, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1), tokens=16, heads=2, text_width=16, text_layers=1
)


def test_colours_have_the_names_that_people_use() -> None:
    for rgb, name in (
        ((0.8, 0.1, 0.1), "red"),
        ((0.1, 0.2, 0.7), "blue"),
        ((0.95, 0.95, 0.95), "white"),
        ((0.05, 0.05, 0.05), "black"),
        ((0.45, 0.3, 0.18), "brown"),
        ((0.2, 0.55, 0.2), "green"),
        ((0.5, 0.5, 0.5), "grey"),
    ):
        assert color_name(rgb) == name
    assert all(1 <= len(color_names(np.random.default_rng(i).uniform(size=3))) <= 2 for i in range(20))


def test_descriptions_cover_every_thing_of_a_room_and_say_where_it_stands() -> None:
    room = build_room(5)
    things = describe(room)
    assert set(np.unique(thing_ids(room))) == set(things)
    assert {things[-1].name, things[-2].name, things[-3].name} == {"wall", "floor", "ceiling"}
    assert all(things[i].name == label for i, label in enumerate(room.labels))
    assert all(thing.words[0] == thing.name for thing in things.values())
    assert any(
        relation[0] == "on" for i in range(8) for t in describe(build_room(i)).values() for relation in t.relations
    )


def test_every_label_of_the_rooms_has_an_entry() -> None:
    labels = {label for seed in range(40) for label in build_room(seed).labels}
    assert labels <= set(SYNONYMS)


def test_phrases_are_true_of_their_region_and_use_known_words() -> None:
    words = Vocabulary(training_vocabulary(), 16)
    rng = np.random.default_rng(0)
    for thing in describe(build_room(3)).values():
        for _ in range(10):
            phrase = thing.phrase(rng)
            assert bool(truth([thing], [phrase]))
            assert isinstance(words.numbers(phrase.text), list)


def test_truth_needs_every_claim() -> None:
    sofa = Description("sofa", ("sofa", "couch"), colors=("red",))
    phrases = [
        Phrase("couch", (("word", "couch"),)),
        Phrase("red couch", (("color", "red"), ("word", "couch"))),
        Phrase("blue couch", (("color", "blue"), ("word", "couch"))),
        Phrase("red chair", (("color", "red"), ("word", "chair"))),
    ]
    assert truth([sofa], phrases).tolist() == [[True, True, False, False]]


def test_the_vocabulary_names_the_unknown_word() -> None:
    words = Vocabulary(vocabulary(), 4)
    assert words.numbers("a red chair") == words.numbers("Red chairs")
    unknown = words.numbers("a purple zebra")
    assert isinstance(unknown, UnknownPhrase)
    assert unknown.phrase == "zebra"
    near = words.numbers("chiar")
    assert isinstance(near, UnknownPhrase)
    assert "chair" in near.suggestions
    assert isinstance(words.numbers("the"), UnknownPhrase)
    assert isinstance(words.numbers("red red red red red"), UnknownPhrase)
    table, known = words.table(["red chair", "zebra"])
    assert known.tolist() == [True, False]
    assert table.shape == (2, 2)


def test_pooling_one_token_is_the_dense_feature_and_uncovered_tokens_do_not_count() -> None:
    torch.manual_seed(0)
    model = TwoTower(TINY).eval()
    pooled = model.image(torch.rand(2, 3, 64, 96))
    dense = model.image.dense(pooled)
    assert dense.shape == (2, 8, 12, 8)
    coverage = torch.zeros(2, 96)
    coverage[0, 17], coverage[1, 40] = 0.3, 1.0
    alone = model.image.pool(pooled, coverage, torch.tensor([1, 0]))
    torch.testing.assert_close(alone[0], dense[1].flatten(0, 1)[17])
    torch.testing.assert_close(alone[1], dense[0].flatten(0, 1)[40])
    # a region of two tokens is the mean of their values, weighted per head by attention and coverage
    coverage = torch.zeros(1, 96)
    coverage[0, 3], coverage[0, 4] = 1.0, 0.5
    weights = torch.stack([pooled.logits[0, :, 3].exp(), 0.5 * pooled.logits[0, :, 4].exp()])
    weights = weights / weights.sum(0)
    values = pooled.values[0, 3:5].unflatten(-1, (2, -1))
    expected = model.image.out((weights[..., None] * values).sum(0).flatten())
    torch.testing.assert_close(model.image.pool(pooled, coverage, torch.tensor([0]))[0], expected)


def test_losses_against_loops() -> None:
    torch.manual_seed(1)
    regions = F.normalize(torch.randn(5, 6, dtype=torch.float64), dim=1).requires_grad_()
    phrases = F.normalize(torch.randn(4, 6, dtype=torch.float64), dim=1)
    canon = F.normalize(torch.randn(2, 6, dtype=torch.float64), dim=1)
    own = torch.tensor([0, 1, 1, 2, 3])
    true = torch.zeros(5, 4, dtype=torch.bool)
    true[torch.arange(5), own] = True
    true[0, 3] = True
    scale = torch.tensor(7.0, dtype=torch.float64)
    found = region_losses(regions, phrases, canon, true, own, scale)

    pairs, to_text, to_region = [], [], []
    for r in range(5):
        against = sum(torch.exp(10 * regions[r] @ c) for c in canon)
        for p in range(4):
            chance = torch.exp(10 * regions[r] @ phrases[p])
            chance = chance / (chance + against)
            pairs.append(-torch.log(chance if true[r, p] else 1 - chance))
        wrong = [p for p in range(4) if not true[r, p]]
        e = [torch.exp(scale * regions[r] @ phrases[p]) for p in [int(own[r]), *wrong]]
        to_text.append(-torch.log(e[0] / sum(e)))
        others = [k for k in range(5) if not true[k, own[r]]]
        e = [torch.exp(scale * regions[k] @ phrases[own[r]]) for k in [r, *others]]
        to_region.append(-torch.log(e[0] / sum(e)))
    relevancy = torch.stack(pairs).sum() / true.sum()
    contrast = 0.5 * (torch.stack(to_text).mean() + torch.stack(to_region).mean())
    torch.testing.assert_close(found["relevancy"], relevancy)
    torch.testing.assert_close(found["contrast"], contrast)
    mine = torch.autograd.grad(found["relevancy"] + found["contrast"], regions)[0]
    torch.testing.assert_close(mine, torch.autograd.grad(relevancy + contrast, regions)[0])


@pytest.fixture
def toy() -> CaptionedRoom:
    """Left half a red sofa, right half a blue wall."""
    color = np.zeros((2, 240, 320, 3), np.uint8)
    color[:, :, :160, 0], color[:, :, 160:, 2] = 200, 200
    ids = np.full((2, 120, 160), -1, np.int16)
    ids[:, :, :80] = 0
    things = {0: Description("sofa", ("sofa",), ("red",)), -1: Description("wall", ("wall",), ("blue",))}
    return CaptionedRoom(color, ids, things, "studio")


def _trainer(tmp_path, toy: CaptionedRoom, **changes) -> TwoTowerTrainer:
    config = TwoTowerTraining(run_dir=tmp_path, model=TINY, steps=6, batch=3, save_every=3, **changes)
    return TwoTowerTrainer(config, [toy], training_vocabulary())


def test_batches_are_functions_of_the_step(toy: CaptionedRoom) -> None:
    rng = np.random.default_rng(4)
    batch = region_batch([room_crop(toy, rng) for _ in range(4)], rng)
    assert batch.images.shape == (4, 3, SIDE, SIDE)
    assert batch.coverage.shape == (len(batch.own), (SIDE // 8) ** 2)
    assert bool(batch.true[torch.arange(len(batch.own)), batch.own].all())
    assert len(set(batch.phrases)) == len(batch.phrases) == batch.true.shape[1]
    # some colour was swapped, and the swapped phrase is false of all that is there
    swapped = [k for k, text in enumerate(batch.phrases) if text.split()[0] in COLORS and not batch.true[:, k].any()]
    assert swapped


def test_training_resumes_exactly(tmp_path, toy: CaptionedRoom) -> None:
    whole = _trainer(tmp_path / "whole", toy)
    whole.fit()
    assert whole.finished
    first = _trainer(tmp_path / "parts", toy)
    for step in range(3):
        first.train_step(first.batch(step))
    first.save()
    second = _trainer(tmp_path / "parts", toy)
    assert second.resume()
    assert second.step == 3
    second.fit()
    assert second.finished
    for (name, a), b in zip(whole.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_another_model_is_not_continued(tmp_path, toy: CaptionedRoom) -> None:
    _trainer(tmp_path, toy).save()
    other = TwoTowerTrainer(
        TwoTowerTraining(run_dir=tmp_path, model=replace(TINY, dim=4), steps=1), [toy], training_vocabulary()
    )
    with pytest.raises(InputError, match="another model"):
        other.resume()


def test_it_trains_and_is_exported(tmp_path, toy: CaptionedRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaussiancross.trainers.teachers.two_tower.load_rooms", lambda *_, **__: [toy])
    trainer = _trainer(tmp_path / "run", toy, lr=1e-2)
    trainer.config = replace(trainer.config, steps=40)
    losses = [trainer.train_step(trainer.batch(step))["loss/relevancy"] for step in range(40)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    scores = export(trainer, tmp_path / "out")
    assert scores["hit"] == 1.0
    assert scores["iou"] > 0.5
    teacher = make_teacher(f"builtin:{tmp_path / 'out'}")
    assert isinstance(teacher, BuiltinTeacher)
    maps = teacher.maps(torch.from_numpy(toy.color).float() / 255)
    assert maps.shape == (2, 45, 60, 8)
    assert teacher.maps(torch.rand(1, 50, 75, 3)).shape == (1, 9, 14, 8)
    vectors, known = teacher.text.encode(["sofa", "zebra"])
    assert known.tolist() == [True, False]
    assert math.isclose(float(vectors[0].norm()), 1.0, rel_tol=1e-5)
    assert not vectors[1].any()


def test_boards_of_objects_and_a_start_from_shipped_weights(tmp_path, toy: CaptionedRoom) -> None:
    objects = [captioned_object("barrel", 1, views=1), captioned_object("chair", 2, views=1)]
    crops = [object_crop(objects, np.random.default_rng(seed)) for seed in range(12)]
    assert {len(crop.things) for crop in crops} == {2, 4}  # one object and the whole picture, or four objects
    for crop in crops:
        shown = set(np.unique(crop.ids)) - {NO_THING}
        assert shown <= set(crop.things) and {d.name for d in crop.things.values()} <= {"barrel", "chair"}
    config = TwoTowerTraining(run_dir=tmp_path, steps=2, batch=4)
    shipped = BuiltinTeacher()
    words = (*shipped.card["words"][:-1], "zebra")
    trainer = TwoTowerTrainer(replace(config, init=shipped.folder, model=shipped.towers.config), [toy], words, objects)
    mine, theirs = trainer.model.text.words.weight, shipped.towers.text.words.weight
    assert torch.equal(mine[1 : len(words)], theirs[1 : len(words)])
    assert not torch.equal(mine[len(words)], theirs[len(words)])
    assert torch.equal(trainer.model.image.value.weight, shipped.towers.image.value.weight)
    assert np.isfinite(trainer.train_step(trainer.batch(0))["loss/total"])


def test_missing_files_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"builtin\.json"):
        BuiltinTeacher(tmp_path)
