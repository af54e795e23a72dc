"""`PretrainData` as a nerfstudio datamanager."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from nerfstudio.data.datamanagers.base_datamanager import DataManager
from nerfstudio.data.scene_box import SceneBox

from .model import to_nerfstudio

if TYPE_CHECKING:
    from ...core.data.batch import Batch, InputConfig
    from .config import GaussianCrossDataManagerConfig


class GaussianCrossDataManager(DataManager):
    """Holds `PretrainData` as ``source``; nerfstudio's own viewer gets the views of the first held-out scene.

    Args:
        config: scenes, views and teacher.
        input_config: conversion of points to network input (the model's own config).
    """

    def __init__(self, config: GaussianCrossDataManagerConfig, input_config: InputConfig, **kwargs: Any) -> None:
        from ..pretraining.data import PretrainData

        torch.nn.Module.__init__(self)  # nerfstudio's constructor would look for ray datasets
        self.config = config
        self.source = PretrainData(config.data_config(), input_config, config.seed)

    @cached_property
    def train_dataset(self) -> SceneViews:  # type: ignore[override]
        return SceneViews(next(self.source.held_out())[1])

    @property
    def eval_dataset(self) -> SceneViews:  # type: ignore[override]
        return self.train_dataset

    def get_datapath(self) -> Path:
        """Return the folder in which nerfstudio's viewer stores camera paths: the data's, or the current one."""
        path = Path(self.source.config.data)
        return path if path.is_dir() else Path.cwd()

    def get_param_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        return {}


class SceneViews(torch.utils.data.Dataset):
    """Target views of one scene, with the part of nerfstudio's `InputDataset` that its viewer reads."""

    def __init__(self, batch: Batch) -> None:
        self._color = batch.views[0].color
        self.cameras = to_nerfstudio(batch.views[0].cameras)
        self.scene_box = SceneBox(torch.stack([batch.points.coord.amin(0), batch.points.coord.amax(0)]))
        self.metadata: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._color)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image_idx": index, "image": self._color[index]}
