"""Point clouds of three simple shapes, for tests of CLIP-GS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from gaussiancross.core.data.objects import points_as_gaussians, write_object_npz
from gaussiancross.core.datasets.objects.triplets import TripletObject, write_triplets
from gaussiancross.core.models.clipgs import ClipGSConfig
from gaussiancross.trainers.clipgs.config import ClipGSOptim, ClipGSRun

SHAPES = ("ball", "stick", "plate")

DIM = 8


def shape(name, rng, n=96):
    points = rng.normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points * {"ball": (1, 1, 1), "stick": (0.1, 2, 0.1), "plate": (1, 0.1, 1)}[name]


def write_shape_triplets(root: Path) -> Path:
    """24 objects of three shapes; embeddings are the shape's direction with some noise."""
    rng = np.random.default_rng(0)
    objects, text, image = [], [], []
    for i in range(24):
        name = SHAPES[i % 3]
        write_object_npz(root / f"{i}.npz", points_as_gaussians(shape(name, rng), rng.uniform(size=(96, 3))))
        objects.append(TripletObject(f"{name}{i}", f"{i}.npz", f"a {name} {i}", "val" if i >= 18 else "train", name))
        direction = np.eye(DIM)[i % 3]
        text.append(direction + 0.1 * rng.normal(size=DIM))
        image.append(direction + 0.1 * rng.normal(size=(6, DIM)))
    write_triplets(root, objects, np.stack(text), np.stack(image), str(root / "words.npy"), SHAPES, np.eye(DIM)[:3])
    np.save(root / "words.npy", np.eye(DIM, dtype=np.float32)[:3])
    (root / "words_names.json").write_text(json.dumps(SHAPES))
    return root


def small_clipgs_run(triplets: Path) -> ClipGSRun:
    model = ClipGSConfig(
        width=24, depth=2, heads=2, gaussians=96, groups=8, group_size=16, patch_dropout=0.25, drop_path=0.1
    )
    optim = ClipGSOptim(lr=3e-3, layer_decay=1.0, warmup=0.1)
    return ClipGSRun(str(triplets), model, batch_size=6, epochs=4, optim=optim, eval_every=0, save_every=5)
