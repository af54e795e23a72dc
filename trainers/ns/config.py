"""Configs of the nerfstudio method: each field becomes a flag of `ns-train`, its docstring the help text.

nerfstudio imports this module whatever method is run, so the import must be fast and must not fail. A run's
``config.yml`` is nerfstudio's dump of these objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from nerfstudio.configs.base_config import MachineConfig, ViewerConfig
from nerfstudio.data.datamanagers.base_datamanager import DataManagerConfig
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.models.base_model import ModelConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig

from ...core.device import default_device
from ...core.errors import InputError
from ...core.models import GaussianCrossConfig
from ..pretraining.config import DataConfig, OptimConfig, PretrainConfig
from .datamanager import GaussianCrossDataManager
from .exits import sentences
from .model import GaussianCrossModel
from .pipeline import GaussianCrossPipeline
from .trainer import GaussianCrossTrainer

Flat = tyro.conf.arg(name="")
"""Omits one level from the flags: ``--pipeline.model.lattice``, not ``--pipeline.model.net.lattice``."""

VIS = ("viewer", "tensorboard", "viewer+tensorboard")
"""Valid values of ``--vis``. Curves always go to TensorBoard and to ``metrics.jsonl``."""


@dataclass
class GaussianCrossDataManagerConfig(DataManagerConfig):
    """Scenes, views and teacher."""

    _target: type = field(default_factory=lambda: GaussianCrossDataManager)
    data: tyro.conf.Suppress[Path | None] = None
    """Value of ``--data``; overrides ``scenes.data``."""
    scenes: Annotated[DataConfig, Flat] = field(default_factory=DataConfig)
    """Scenes, views and teacher."""
    seed: tyro.conf.Suppress[int] = 0
    """Set from ``--machine.seed``."""
    masks_on_gpu: tyro.conf.Suppress[bool] = False
    images_on_gpu: tyro.conf.Suppress[bool] = False

    def data_config(self) -> DataConfig:
        """Return ``scenes`` with ``--data`` applied."""
        return self.scenes if self.data is None else replace(self.scenes, data=str(self.data))


@dataclass
class GaussianCrossModelConfig(ModelConfig):
    """Network, Gaussians and losses."""

    _target: type = field(default_factory=lambda: GaussianCrossModel)
    net: Annotated[GaussianCrossConfig, Flat] = field(default_factory=GaussianCrossConfig)
    """Network, Gaussians and losses."""
    enable_collider: tyro.conf.Suppress[bool] = False
    collider_params: tyro.conf.Suppress[dict[str, float] | None] = None
    loss_coefficients: tyro.conf.Suppress[dict[str, float]] = field(default_factory=dict)
    eval_num_rays_per_chunk: tyro.conf.Suppress[int] = 4096
    prompt: tyro.conf.Suppress[str | None] = None


@dataclass
class GaussianCrossPipelineConfig(VanillaPipelineConfig):
    """Network and data."""

    _target: type = field(default_factory=lambda: GaussianCrossPipeline)
    datamanager: GaussianCrossDataManagerConfig = field(default_factory=GaussianCrossDataManagerConfig)
    """Scenes, views and teacher."""
    model: GaussianCrossModelConfig = field(default_factory=GaussianCrossModelConfig)
    """Network, Gaussians and losses."""


def _machine() -> MachineConfig:
    # Whether gsplat works there is asked later (`validate`): this runs whenever nerfstudio is imported.
    return MachineConfig(seed=0, device_type="cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class GaussianCrossTrainerConfig(TrainerConfig):
    """One pre-training run.

    ``--load-dir`` continues a run folder or one of its checkpoints; ``--max-num-iterations`` counts the steps of the
    whole schedule, including those before.
    """

    _target: Any = field(default_factory=lambda: GaussianCrossTrainer)
    machine: MachineConfig = field(default_factory=_machine)
    """Seed and device (by default the GPU when available)."""
    viewer: ViewerConfig = field(default_factory=lambda: ViewerConfig(websocket_host="127.0.0.1"))
    """Address and port of the viewer, and whether it closes after training."""
    pipeline: GaussianCrossPipelineConfig = field(default_factory=GaussianCrossPipelineConfig)
    """Network and data."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    max_num_iterations: int = 100_000
    """Optimiser steps of the whole schedule."""
    steps_per_save: int = 1000
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""
    steps_per_eval_image: int = 500
    """Steps between evaluations on held-out views; one is also done at the end. 0: only at the end."""
    steps_per_eval_batch: int = 0
    """Alias of --steps-per-eval-image; the smallest interval above 0 counts."""
    steps_per_eval_all_images: int = 0
    """Alias of --steps-per-eval-image; the smallest interval above 0 counts."""
    save_only_latest_checkpoint: bool = True
    """Keep the latest two checkpoints instead of all."""
    vis: Any = "viewer+tensorboard"
    """Outputs: viewer, tensorboard (no viewer) or viewer+tensorboard."""
    mixed_precision: tyro.conf.Suppress[bool] = False
    use_grad_scaler: tyro.conf.Suppress[bool] = False
    log_gradients: tyro.conf.Suppress[bool] = False
    load_scheduler: tyro.conf.Suppress[bool] = True
    gradient_accumulation_steps: tyro.conf.Suppress[dict[str, int]] = field(default_factory=dict)
    optimizers: tyro.conf.Suppress[dict[str, Any]] = field(default_factory=dict)
    prompt: tyro.conf.Suppress[str | None] = None
    project_name: tyro.conf.Suppress[str | None] = None

    @staticmethod
    def of(name: str, preset: PretrainConfig, target: Any = None) -> GaussianCrossTrainerConfig:
        """Create the config of the method ``name`` from a preset; ``target`` builds the trainer."""
        config = GaussianCrossTrainerConfig(
            method_name=name,
            pipeline=GaussianCrossPipelineConfig(
                datamanager=GaussianCrossDataManagerConfig(scenes=preset.data),
                model=GaussianCrossModelConfig(net=preset.model),
            ),
            optim=preset.optim,
            max_num_iterations=preset.steps,
            steps_per_save=preset.save_every,
            steps_per_eval_image=preset.eval_every,
        )
        config.machine.seed = preset.seed
        config._target = target or GaussianCrossTrainer
        return config

    def pretrain_config(self) -> PretrainConfig:
        """Convert to the config of a `Pretrainer`."""
        intervals = (self.steps_per_eval_image, self.steps_per_eval_batch, self.steps_per_eval_all_images)
        return PretrainConfig(
            model=self.pipeline.model.net,
            data=self.pipeline.datamanager.data_config(),
            optim=self.optim,
            steps=self.max_num_iterations,
            seed=self.machine.seed,
            save_every=self.steps_per_save,
            keep=2 if self.save_only_latest_checkpoint else 0,
            eval_every=min((i for i in intervals if i > 0), default=0),
        )

    def validate(self) -> None:
        """Check the options before a run folder is created; replace "cuda" by "cpu" where splatting works only there.

        Raises:
            InputError: several devices without CUDA, an unavailable device, or an unknown ``--vis``.
        """
        machine = self.machine
        if machine.num_devices * machine.num_machines != 1 and not torch.cuda.is_available():
            found = f"{machine.num_devices} devices on {machine.num_machines} machines"
            hint = "for several processes on CPUs: `torchrun --no-python gaussiancross pretrain`"
            raise InputError("--machine", "one device per run without CUDA", found, hint)
        if machine.device_type == "cuda" and not torch.cuda.is_available():
            hint = "leave the flag out, or install a CUDA build of PyTorch"
            raise InputError("--machine.device-type cuda", "a CUDA device", "none that PyTorch can use", hint)
        if machine.device_type not in ("cpu", "cuda"):
            raise InputError("--machine.device-type", "cpu or cuda", machine.device_type)
        if self.vis not in VIS:
            hint = "curves always go to TensorBoard and metrics.jsonl; tensorboard alone means no viewer"
            raise InputError("--vis", " or ".join(VIS), str(self.vis), hint)
        if machine.device_type == "cuda" and default_device().type != "cuda":
            machine.device_type, machine.num_devices, machine.num_machines = "cpu", 1, 1

    # --- called by ns-train, in this order ------------------------------------------------------------------

    def set_timestamp(self) -> None:
        with sentences():
            self.validate()
        self.pipeline.datamanager.seed = self.machine.seed
        super().set_timestamp()

    def set_experiment_name(self) -> None:
        """Set the experiment's name from the data: ``rooms:8`` → rooms-8, ``captures/kitchen`` → kitchen."""
        if self.experiment_name is None:
            name = Path(self.pipeline.datamanager.data_config().data).name
            self.experiment_name = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
