"""Embeddings of triplets: computed, reused and omitted rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.datasets.objects.embeddings import ABOUT, PARTIAL, embed_triplets
from gaussiancross.core.datasets.objects.triplets import TripletObject, Triplets
from gaussiancross.core.errors import InputError
from gaussiancross.core.teachers import image_vectors
from helpers.feature_scenes import Averages, D, H, W

VIEWS = 5
OBJECTS = [TripletObject(f"o{i}", f"o{i}.ply", "chair", "train" if i else "val", "chair") for i in range(4)]


def pictures(o: TripletObject) -> np.ndarray:
    rng = np.random.default_rng(int(o.id[1:]))
    return rng.integers(0, 256, (VIEWS, 8 * H, 8 * W, 3)).astype(np.uint8)


def embed(root: Path, objects=OBJECTS, teacher=None, pictures=pictures, **kwargs):
    teacher = teacher or Averages()
    return embed_triplets(root, objects, pictures, teacher, "averages", ("chair",), **kwargs), teacher.calls


def test_rows_are_the_teachers(tmp_path):
    seen = []
    done, calls = embed(tmp_path, progress=seen.append)
    assert done.objects == tuple(OBJECTS) and done.left_out == () and calls == 4 * VIEWS and seen[-1] == 4
    triplets = Triplets(tmp_path, "train")
    assert (len(triplets), triplets.views, triplets.dim, triplets.tower) == (3, VIEWS, D, "averages")
    expected = image_vectors(Averages(), pictures(OBJECTS[2]))
    torch.testing.assert_close(triplets.images(1), expected, atol=1e-3, rtol=0)
    assert triplets.class_vectors is not None and triplets.labels.tolist() == [0, 0, 0]
    torch.testing.assert_close(triplets.text[0], torch.full((D,), D**-0.5))
    assert not (tmp_path / PARTIAL).exists()


def test_an_interrupted_set_continues_and_a_larger_one_reuses_its_rows(tmp_path):
    def stops(o: TripletObject) -> np.ndarray:
        if o.id == "o2":
            raise KeyboardInterrupt
        return pictures(o)

    with pytest.raises(KeyboardInterrupt):
        embed(tmp_path, pictures=stops)
    with pytest.raises(InputError, match="a folder of triplets"):
        Triplets(tmp_path)
    done, calls = embed(tmp_path)
    assert done.computed == 2 and calls == 2 * VIEWS
    whole = np.load(tmp_path / "image.npy")
    assert embed(tmp_path)[1] == 0
    done, calls = embed(tmp_path, [TripletObject("o9", "o9.ply", "chair", "train"), *OBJECTS[::-1]])
    assert done.computed == 1 and calls == VIEWS
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy")[1:], whole[::-1])
    about = json.loads((tmp_path / ABOUT).read_text())
    (tmp_path / ABOUT).write_text(json.dumps({**about, "teacher": "another"}))
    assert embed(tmp_path)[1] == 4 * VIEWS
    (tmp_path / ABOUT).write_text("{")
    assert embed(tmp_path)[1] == 4 * VIEWS


def test_captions_with_unknown_words_are_left_out(tmp_path):
    objects = [*OBJECTS, replace(OBJECTS[0], id="o7", caption="gnu", class_name="gnu")]
    done = embed_triplets(tmp_path, objects, pictures, Averages(), "averages", ("chair", "gnu"))
    assert done.objects == tuple(OBJECTS) and done.classes == ("chair",)
    assert len(done.left_out) == 2 and "o7" in done.left_out[0] and "'gnu'" in done.left_out[1]
    with pytest.raises(InputError, match="none of 1"):
        embed_triplets(tmp_path, objects[-1:], pictures, Averages(), "averages")
    with pytest.raises(InputError, match="one id twice"):
        embed(tmp_path, OBJECTS[:1] * 2)
    fewer = lambda o: pictures(o)[: VIEWS - (o.id == "o3")]  # noqa: E731
    with pytest.raises(InputError, match="5 of them, as other objects have, found 4"):
        embed(tmp_path / "b", pictures=fewer)
