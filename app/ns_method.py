"""Entry points of nerfstudio: the methods `gaussiancross` and `gaussiancross-tiny`, with the inspector as viewer.

nerfstudio imports this module whatever method is run, so the import must be fast and must not fail: where our own code
cannot be imported, the methods are listed as not available, and every other method works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.plugins.types import MethodSpecification

from ..trainers.ns import moved_modules

if TYPE_CHECKING:
    from ..trainers.ns.config import GaussianCrossTrainerConfig
    from ..trainers.ns.trainer import GaussianCrossTrainer, Viewer
    from ..trainers.pretraining.trainer import Pretrainer


def make_trainer(config: GaussianCrossTrainerConfig, **kwargs: Any) -> GaussianCrossTrainer:
    """Create the trainer with the inspector as its viewer."""
    from ..trainers.ns.trainer import GaussianCrossTrainer

    return GaussianCrossTrainer(config, viewer=open_inspector, **kwargs)


def open_inspector(run: Pretrainer, host: str, port: int, public: bool) -> Viewer:
    """Open the inspector on a running training."""
    from .inspector.attach import attach_inspector

    return attach_inspector(run, host, port, public)


moved_modules.install()


class BrokenTrainer:
    """Replaces the trainer when our code could not be imported; raises that error when constructed."""

    reason: Exception

    def __init__(self, config: TrainerConfig, **kwargs: Any) -> None:
        raise RuntimeError(f"{config.method_name} could not be loaded: {self.reason}") from self.reason


def _specification(name: str, preset: str, description: str) -> MethodSpecification:
    try:
        from ..trainers.ns.config import GaussianCrossTrainerConfig
        from ..trainers.pretraining import presets

        config = GaussianCrossTrainerConfig.of(name, getattr(presets, preset), make_trainer)
    except Exception as error:  # of any kind: other methods must keep working
        BrokenTrainer.reason = error
        config = TrainerConfig(_target=BrokenTrainer, method_name=name)
        description = f"Not available: {error}"
    return MethodSpecification(config, description)


gaussiancross = _specification(
    "gaussiancross",
    "FULL",
    "GaussianCross: self-supervised pre-training of a 3D backbone by Gaussian splatting, at the paper's scale (CUDA).",
)
gaussiancross_tiny = _specification(
    "gaussiancross-tiny", "TINY", "GaussianCross: self-supervised pre-training, small enough for a two-core CPU (demo)."
)
