"""Network and data as a nerfstudio pipeline, for `ns-eval` and `ns-viewer`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from nerfstudio.pipelines.base_pipeline import Pipeline

from ...core.device import default_device
from .datamanager import GaussianCrossDataManager
from .model import GaussianCrossModel

if TYPE_CHECKING:
    from .config import GaussianCrossPipelineConfig


class GaussianCrossPipeline(Pipeline):
    """Pipeline that `ns-eval` and `ns-viewer` build from a run's ``config.yml``. Training uses `Pretrainer`.

    Args:
        config: network and data.
        device: device of the network; the CPU instead of a CUDA device on which splatting does not work.
        test_mode: passed by nerfstudio; data are read lazily in every mode.
    """

    def __init__(
        self,
        config: GaussianCrossPipelineConfig,
        device: str | torch.device,
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
        grad_scaler: Any = None,
    ) -> None:
        super().__init__()
        self.config, self.test_mode, self.world_size = config, test_mode, world_size
        self.datamanager: GaussianCrossDataManager = config.datamanager.setup(input_config=config.model.net.input)
        self._model: GaussianCrossModel = config.model.setup(
            scene_box=None, num_train_data=0, source=self.datamanager.source
        )
        # nerfstudio's commands say cuda wherever torch sees such a device; whether gsplat works there, it does not ask.
        self._model.to(default_device() if torch.device(device).type == "cuda" else device)

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Load the weights of a ``nerfstudio_models/`` checkpoint, strictly."""
        self.load_state_dict(loaded_state, strict=True)
        self._model.update_to_step(step)

    @torch.no_grad()
    def get_average_eval_image_metrics(
        self, step: int | None = None, output_path: Path | None = None, get_std: bool = False
    ) -> dict[str, float]:
        """Return the means of `trainers.pretraining.evaluation.evaluate` over the held-out views.

        Args:
            output_path: folder for PNGs of target, render and depth of every view, side by side.
            get_std: also return standard deviations, of metrics with at least two values.
        """
        from ..pretraining.evaluation import evaluate
        from ..pretraining.pictures import save_views

        write_images = (
            None
            if output_path is None
            else lambda name, batch, prediction: save_views(output_path, name, batch.views[0], prediction.splats)
        )
        result: dict[str, float] = {}
        for name, values in evaluate(self._model.net, self.datamanager.source, write_images).items():
            values = values[torch.isfinite(values)]
            result[name] = float(values.mean()) if len(values) else math.nan
            if get_std and len(values) > 1:
                result[f"{name}_std"] = float(values.std())
        return {k: v for k, v in result.items() if math.isfinite(v)}

    def get_param_groups(self) -> dict[str, list[torch.nn.Parameter]]:
        return self._model.get_param_groups()

    def get_training_callbacks(self, training_callback_attributes: Any) -> list[Any]:
        return []
