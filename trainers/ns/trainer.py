"""Trainer of `ns-train`: builds nerfstudio's pipeline and trains it with `Pretrainer`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from nerfstudio.utils.rich_utils import CONSOLE

from ...core.errors import InputError
from ...core.io.atomic import atomic_file
from ..engine.live import LiveFeed
from ..engine.ranks import Ranks
from ..pretraining.config import without_teacher
from .exits import print_stderr, sentences

if TYPE_CHECKING:
    from ..pretraining.trainer import Pretrainer
    from .config import GaussianCrossTrainerConfig
    from .pipeline import GaussianCrossPipeline


class Viewer(Protocol):
    """Viewer of a running training."""

    def close(self) -> None: ...


ViewerFactory = Callable[["Pretrainer", str, int, bool], Viewer]
"""(run, host, port, whether to request a public address) → viewer of ``run.feed``."""


class GaussianCrossTrainer:
    """One run of `ns-train`.

    Args:
        config: options of the run.
        local_rank, world_size: passed by nerfstudio, which starts one process per device.
        viewer: opens the viewer, if the run is to have one. Passed in, because `trainers` imports no viewer.

    Attributes:
        run: the `Pretrainer`, set by `setup`.
        pipeline: the pipeline that `ns-eval` will load, set by `setup`.
        feed: connects the run with the viewer.
    """

    run: Pretrainer
    pipeline: GaussianCrossPipeline

    def __init__(
        self,
        config: GaussianCrossTrainerConfig,
        local_rank: int = 0,
        world_size: int = 1,
        viewer: ViewerFactory | None = None,
    ) -> None:
        self.config, self._open_viewer, self._local_rank = config, viewer, local_rank
        self.ranks = Ranks.current()
        del world_size  # `Ranks` asks torch
        self.base_dir: Path = config.get_base_dir()
        self.checkpoint_dir: Path = config.get_checkpoint_dir()
        self.feed = LiveFeed()
        self._viewer: Viewer | None = None

    def setup(self, test_mode: str = "val") -> None:
        """Build network, data and viewer, and find the checkpoint to continue from."""
        with sentences(), self.ranks.failing_together():
            self._setup()

    def _setup(self) -> None:
        from ..pretraining.trainer import Pretrainer

        config = self.config
        if self.ranks.world > 1 and config.machine.device_type == "cuda":
            torch.cuda.set_device(self._local_rank)  # first: `validate` tries kernels on the current device
        config.validate()
        device = config.machine.device_type
        if self.ranks.world > 1 and device == "cuda":
            device = f"cuda:{self._local_rank}"
        if device == "cpu" and config.method_name == "gaussiancross":
            print_stderr(
                "No CUDA device in use: at full size a step takes minutes on a CPU; "
                "use `ns-train gaussiancross-tiny`, the same method at a size for this machine.",
                "bold yellow",
            )
        config.pipeline.datamanager.seed = config.machine.seed
        torch.manual_seed(config.machine.seed)  # for the weights
        self.pipeline = config.pipeline.setup(device=device)
        self.run = Pretrainer(
            config.pretrain_config(),
            self.base_dir,
            data=self.pipeline.datamanager.source,
            device=device,
            feed=self.feed,
            model=self.pipeline.model.net,  # type: ignore[arg-type]
            after_save=self._save_pipeline,
        )
        self._resume()
        if (
            self.ranks.is_first
            and (missing := without_teacher(self.run.config, "--pipeline.datamanager.teacher")) is not None
        ):
            print_stderr(missing, "bold yellow")  # after all checks: a failed one prints a single line
        self.feed.pause(config.start_paused)
        if self._open_viewer is not None and config.is_viewer_enabled() and self.ranks.is_first:
            where = config.viewer
            port = where.websocket_port_default if where.websocket_port is None else where.websocket_port
            self._viewer = self._open_viewer(self.run, where.websocket_host, port, where.make_share_url)

    def _resume(self) -> None:
        """Resume from ``--load-checkpoint`` or ``--load-dir``, else from the run's own folder.

        The latter holds a checkpoint with ``--load-config``, or with the ``--timestamp`` of an earlier run.
        """
        from ..pretraining.runs import find_checkpoint

        path, step = self.config.load_checkpoint or self.config.load_dir, self.config.load_step
        checkpoint = None
        if path is not None:
            folder = path.parent if path.suffix == ".ckpt" else path
            folder = folder.parent if folder.name == self.config.relative_model_dir.name else folder
            checkpoint = find_checkpoint(folder, step)
            if checkpoint is None:
                which = "checkpoints" if step is None else f"a checkpoint of step {step}"
                raise InputError(path, f"a run folder with {which}, or one checkpoint", "neither")
        if self.run.resume(checkpoint) and self.ranks.is_first:
            source = self.base_dir if path is None else path
            CONSOLE.print(f"Continuing from step {self.run.step} of {source}.", soft_wrap=True, markup=False)

    def train(self) -> None:
        """Train to the end or to Ctrl-C; then keep the viewer open until Ctrl-C, unless it is to close."""
        with sentences():
            try:
                self._train()
            finally:
                self.shutdown()

    def _train(self) -> None:
        self.run.fit(console=CONSOLE if self.ranks.is_first else self.ranks.console())
        if self.run.interrupted is not None:
            progress = f"checkpoint of step {self.run.step}" if self.run.step else "no step yet"
            sentence = f"Interrupted: {progress} in {self.base_dir}; pass it to --load-dir to continue."
            print_stderr(sentence, "bold yellow")
            raise SystemExit(128 + self.run.interrupted)
        if not self.ranks.is_first:
            return
        CONSOLE.print(f"Done: {self.run.step} steps, run folder {self.base_dir}", style="bold green", soft_wrap=True)
        wait = (
            self.ranks.world == 1 and not self.config.viewer.quit_on_train_completion
        )  # the others wait at most a while
        if self._viewer is not None and wait:
            CONSOLE.print("The viewer stays open; Ctrl-C ends it.")
            wait_for_interrupt()
            CONSOLE.print("Viewer closed.")

    def shutdown(self) -> None:
        """Close the viewer."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

    def _save_pipeline(self, step: int) -> None:
        """Write the weights where `ns-eval` looks for them; called after each checkpoint."""
        save_pipeline(self.checkpoint_dir, step, self.pipeline.state_dict())


def wait_for_interrupt() -> None:
    """Block until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def save_pipeline(folder: Path, step: int, state: dict[str, torch.Tensor]) -> Path:
    """``step-<step>.ckpt`` as nerfstudio reads it: {"step", "pipeline"}, loadable with ``weights_only=True``.

    The file is written beside ``folder`` and moved into it, because nerfstudio parses every name in there; older ones
    are then deleted.

    Raises:
        InputError: the file cannot be written; older ones are untouched.
    """
    target = folder / f"step-{step:09d}.ckpt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(target, folder.parent) as partial, partial.open("wb") as file:
            torch.save({"step": step, "pipeline": state}, file)
        for old in folder.glob("step-*.ckpt"):
            if old != target:
                old.unlink()
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        raise InputError(folder, f"room for {target.name}", str(error), "free some space") from error
    return target
