"""Find objects in a folder by words or by another object, with CLIP-GS.

Objects are meshes (.glb, .obj, .ply, …) or Gaussians (.ply, .splat). Each becomes one unit vector in the space of an
image/text model, so that text, pictures and objects are compared by a scalar product.

    python examples/05_retrieve_objects.py MESHES "a yellow lamp"
"""

from __future__ import annotations

from pathlib import Path

import tyro
from gaussiancross import load
from gaussiancross.app.objects.search import classify, embed_files, find_objects, open_tower, query_vector, short_names
from gaussiancross.core.query.index import VectorIndex


def main(folder: tyro.conf.Positional[Path], query: tyro.conf.Positional[str], top: int = 5) -> None:
    """List the TOP objects of FOLDER that are most similar to QUERY.

    Args:
        folder: object files, in any depth.
        query: words, or the file of an object or of a picture.
        top: how many to list.
    """
    model = load("bundled-clipgs")
    gallery = embed_files(model, find_objects(folder))  # vectors [M, D] of length 1
    names = short_names(gallery.files)
    tower = open_tower("builtin", model.config.embed_dim)  # the text and image side

    vector = query_vector(model, query, lambda: tower)  # [D]
    cosines, rows = VectorIndex(gallery.vectors).nearest(vector, min(top, len(names)))
    for row, cosine in zip(rows[0].tolist(), cosines[0].tolist(), strict=True):
        print(f"{cosine:6.3f}  {names[row]}")

    labels = ["chair", "table", "lamp", "box"]
    scores = classify(model, gallery.vectors, tower, labels)  # [M, 4] probabilities
    for name, best in zip(names, scores.argmax(1).tolist(), strict=True):
        print(f"{name}: {labels[best]}")


if __name__ == "__main__":
    tyro.cli(main)
