"""Fixtures that tests of several folders of the application use."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gaussiancross.app.objects.recognizer import Gallery, ObjectRecognizer
from gaussiancross.app.objects.search import embed_files
from gaussiancross.core.data.objects import points_as_gaussians, write_object_npz
from gaussiancross.core.models.clipgs import ClipGS, ClipGSConfig
from helpers.clipgs import SHAPES, shape

DIM = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve object files, and words."""
    root, rng = tmp_path_factory.mktemp("objects"), np.random.default_rng(0)
    for i in range(12):
        cloud = points_as_gaussians(shape(SHAPES[i % 3], rng, 128), rng.uniform(size=(128, 3)))
        write_object_npz(root / f"{SHAPES[i % 3]}{i}.npz", cloud)
    np.save(root / "words.npy", np.eye(DIM, dtype=np.float32)[:3])
    (root / "words_names.json").write_text(json.dumps(SHAPES))
    return root


@pytest.fixture(scope="module")
def desk(folder):
    torch.manual_seed(0)
    config = ClipGSConfig(width=24, depth=1, heads=2, gaussians=96, groups=8, group_size=16, embed_dim=DIM)
    model = ClipGS(config).eval()
    files = sorted(folder.glob("*.npz"))
    gallery = Gallery(embed_files(model, files))
    return ObjectRecognizer(lambda: (model, str(folder / "words.npy"), SHAPES), gallery)
