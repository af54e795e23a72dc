"""Pre-train a backbone on an RGB-D capture of your own, and use it.

The capture is a folder with ``color/ depth/ pose/ intrinsic/``, or one with a nerfstudio ``transforms.json`` that lists
depth images. The run folder holds checkpoints and curves; running the script again continues it.

    python examples/03_pretrain_own_capture.py path/to/capture --steps 500
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tyro
from gaussiancross import load, open_dataset
from gaussiancross.trainers.pretraining.presets import TINY
from gaussiancross.trainers.pretraining.trainer import Pretrainer


def main(
    capture: tyro.conf.Positional[Path], run_dir: Path = Path("runs/own"), steps: int = 500, width: int = 160
) -> None:
    """Train on CAPTURE.

    Args:
        capture: folder of posed RGB-D frames.
        run_dir: folder of the run.
        steps: optimiser steps; about 0.3 s each on two CPU cores.
        width: width of the rendered views, pixels.
    """
    # A preset is a frozen dataclass; `replace` makes variants. "builtin" is the bundled 2D teacher.
    data = replace(TINY.data, data=str(capture), teacher="builtin", width=width, height=width * 3 // 4)
    config = replace(TINY, data=data, steps=steps, save_every=100, eval_every=0)

    trainer = Pretrainer(config, run_dir)
    trainer.resume()
    for name, value in trainer.fit().items():  # on held-out frames
        print(f"{name:<24}{value:10.4g}")

    scene = open_dataset(capture, "val").scene(0)
    features = load(run_dir).encode(scene.coord, scene.color, scene.normal)
    print(f"{len(scene):,} points of {scene.name}, {features.shape[1]} features each")


if __name__ == "__main__":
    tyro.cli(main)
