"""Features of every point of a file, with the bundled model, on the CPU.

Writes the features as ``features.npy`` [N, C] and the points as ``features.ply``, coloured by the first three principal
components: points with similar features have similar colours. Without a file, a procedural room is used.

    python examples/01_embed_points.py scene.ply
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from gaussiancross import PointScene, load, open_dataset
from gaussiancross.core.features.pca import PcaBasis
from gaussiancross.core.io import write_points


def main(file: tyro.conf.Positional[Path | None] = None, out: Path = Path("."), model: str = "bundled-rooms") -> None:
    """Embed the points of FILE.

    Args:
        file: .ply, .splat, .npy, .npz, .xyz, .txt or .csv, in metres, z up.
        out: folder to write to.
        model: bundled model, run folder, checkpoint or saved model.
    """
    scene = open_dataset("rooms:1", "val").scene(0) if file is None else PointScene.load(file)

    # All stages of the backbone side by side; without `hypercolumn`, the last stage alone.
    features = load(model).encode(scene.coord, scene.color, scene.normal, hypercolumn=True)  # [N, C]

    np.save(out / "features.npy", features.numpy())
    basis = PcaBasis.fit(features)
    rgb = ((features - basis.mean) @ basis.directions - basis.low) / (basis.high - basis.low)  # [N, 3]
    write_points(out / "features.ply", replace(scene, color=(rgb.clamp(0, 1) * 255).byte().numpy()))
    print(f"{scene.name}: {features.shape[0]:,} points, {features.shape[1]} features each")


if __name__ == "__main__":
    tyro.cli(main)
