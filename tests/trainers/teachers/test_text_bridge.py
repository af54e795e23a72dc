"""Further names of the bundled text tower: vectors of near ones, suggestions for the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.query.text import ClosedVocabularyEncoder, TextVectors, UnknownPhrase
from gaussiancross.core.teachers.builtin import BuiltinTeacher
from gaussiancross.core.teachers.further_names import FILE, FurtherNames, save_further_names
from gaussiancross.trainers.teachers.text_bridge import best_ridge, bridge, caption_names, fit, plain


@pytest.fixture(scope="module")
def teacher() -> BuiltinTeacher:
    return BuiltinTeacher()


def test_a_linear_map_is_recovered():
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.normal(size=(80, 12))).float()
    targets = inputs @ torch.from_numpy(rng.normal(size=(12, 5))).float() + 2
    ridge, rank = best_ridge(inputs, targets)
    weight, bias = fit(inputs, targets, ridge)
    torch.testing.assert_close(inputs @ weight + bias, targets, atol=0.2, rtol=0)
    assert rank > 0.9


def test_the_bundled_names(teacher):
    """Names outside the captions that mean something similar lie near; others come with known names."""
    text = teacher.text
    assert isinstance(text, ClosedVocabularyEncoder)
    known = caption_names()
    table = torch.nn.functional.normalize(teacher.tower.encode(known).vectors, dim=-1)
    for phrase, near in (("loveseat", {"sofa", "armchair", "easy chair"}), ("pool tables", {"dining table", "table"})):
        assert isinstance(teacher.tower.find(phrase), UnknownPhrase) and isinstance(text.find(phrase), str)
        vectors, is_known = text.encode([phrase])
        best = (table @ vectors[0]).topk(4).indices.tolist()
        assert bool(is_known[0]) and near & {known[i] for i in best}
    backpack = text.find("backpack")
    assert isinstance(backpack, UnknownPhrase) and len(backpack.suggestions) >= 3
    assert all(isinstance(text.find(name), str) for name in backpack.suggestions)
    assert text.find("red sofa") == "red sofa" and "sofa" in text.find("soffa").suggestions
    torch.testing.assert_close(text.encode(["red sofa"]).vectors, teacher.tower.encode(["red sofa"]).vectors)


def test_the_bundled_names_are_those_of_the_vectors(teacher, shared_data):
    clip = TextVectors.load(shared_data / "text" / "clip_vitb32_lvis.npy")
    found = bridge(teacher.tower, clip)
    stored = teacher.text.further
    assert stored.vectors.names == tuple(found.names) and found.rank > 0.3
    torch.testing.assert_close(stored.vectors.encode(found.names[:5]).vectors, found.vectors[:5], atol=2e-3, rtol=0)
    assert "sofa" not in found.names and plain("bow_(weapon)") == "bow" and plain("pool_table") == "pool table"


def test_names_of_another_tower_or_damaged_ones(tmp_path):
    save_further_names(tmp_path, "abc", ["zebra"], torch.eye(3)[:1], {"okapi": ["giraffe"]}, "test")
    mine = FurtherNames.load(tmp_path, "abc")
    assert mine is not None and mine.vectors.find("zebras") == "zebra" and mine.near["okapi"] == ("giraffe",)
    assert FurtherNames.load(tmp_path, "other") is None and FurtherNames.load(tmp_path / "none", "abc") is None
    (tmp_path / FILE).write_bytes(b"damaged")
    with pytest.raises(InputError, match="further names"):
        FurtherNames.load(tmp_path, "abc")
