"""Rooms and a teacher by formula for tests of the benchmark on rooms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gaussiancross.benchmarks._data import BoxRooms
from gaussiancross.core.teachers.base import ImageTeacher, TeacherInfo


class Boxes(BoxRooms):
    """Rooms by formula in the place of generated ones: the floor, the walls and the ceiling are classes."""

    class_names = ("floor", "wall", "ceiling")

    def __init__(self, split, count, config=None, root=None):
        super().__init__(count, points=600, frames=3)
        self.names = tuple(f"{split}_{i}" for i in range(count))
        self.split, self.root = split, Path("boxes")

    def seed(self, index):
        return index

    def scene(self, index):
        scene = super().scene(index)
        segment = np.select([scene.normal[:, 2] > 0.5, scene.normal[:, 2] < -0.5], [0, 2], 1)
        return replace(scene, segment=segment, instance=segment.copy())


class Halves(ImageTeacher):
    """Tells the left half of an image from the right one."""

    info = TeacherInfo("halves", 2, "none", None, label_free=True)
    size = (40, 30)

    def maps(self, images):
        maps = torch.zeros(len(images), 30, 40, 2)
        maps[:, :, :20, 0], maps[:, :, 20:, 1] = 3.0, 5.0
        return maps
