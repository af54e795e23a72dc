"""Distil a 2D network of your own into a 3D backbone.

A teacher is any frozen function from images to feature maps: subclass `ImageTeacher` and implement `maps`. Here it is
the mean colour of 8 × 8 patches and its gradients, which is enough to see the feature loss fall.

    python examples/07_custom_teacher.py path/to/capture --steps 200
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import tyro
from gaussiancross.core.teachers import ImageTeacher, TeacherInfo
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.presets import TINY
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from torch import Tensor
from torch.nn.functional import avg_pool2d


class PatchColors(ImageTeacher):
    """Mean colour of each patch and its differences to the left and upper patch: D = 9."""

    info = TeacherInfo("patch-colors", dim=9, licence="none", resolution=(12, 16), label_free=True)
    size = (128, 96)
    """(width, height) at which frames are read."""

    def maps(self, images: Tensor) -> Tensor:
        """[C, H, W, 3] in [0, 1] -> [C, h, w, 9]."""
        mean = avg_pool2d(images.permute(0, 3, 1, 2), 8).permute(0, 2, 3, 1) - 0.5  # [C, h, w, 3]
        return torch.cat([mean, mean - mean.roll(1, 2), mean - mean.roll(1, 1)], -1)


def main(capture: tyro.conf.Positional[Path], run_dir: Path = Path("runs/teacher"), steps: int = 200) -> None:
    """Train on CAPTURE with the teacher above."""
    data = replace(TINY.data, data=str(capture), teacher="none", width=64, height=48, views=3)
    config = replace(TINY, data=data, steps=steps, eval_every=0)
    batches = PretrainData(config.data, config.model.input, config.seed, teacher=PatchColors())
    metrics = Pretrainer(config, run_dir, data=batches).fit()
    print(f"cosine to the teacher on held-out frames: {metrics['eval/teacher_cosine']:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
