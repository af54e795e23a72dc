"""`gaussiancross pretrain`: the same training as `ns-train gaussiancross`, without nerfstudio.

Options that the command line leaves open are adapted (`trainers.pretraining.adapt`): voxels to a capture, and with
``--seconds`` the number of steps to the time. Both are chosen at the start of a run and stored in its checkpoints. The
same command continues the run with the same schedule, exactly on a CPU, for up to ``--seconds`` more, without timing
steps again. If steps are too slow for the time, the rest of the schedule is shortened. Without a checkpoint the command
starts anew, possibly with another number of steps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console

from ...core.config import from_dict
from ...core.datasets import Capture, open_dataset
from ...core.datasets.joined import JOIN
from ...core.device import pick_device
from ...core.io.checkpoint import latest_checkpoint, load_meta
from ...core.report import report_of
from ...trainers.engine.live import LiveFeed
from ...trainers.engine.ranks import Ranks, joined_ranks
from ...trainers.pretraining.adapt import ADAPTABLE, STEPS, for_capture, like_checkpoint, measure_costs
from ...trainers.pretraining.config import PretrainConfig, without_teacher
from ...trainers.pretraining.data import PretrainData
from ...trainers.pretraining.presets import FIELD, FULL, TINY
from ...trainers.pretraining.trainer import Pretrainer
from ..reporting import ConsoleReport

CPU_PIXELS = 320 * 240
"""Pixels of a view above which training on a CPU prints a warning."""


@dataclass(frozen=True)
class Pretrain:
    """Pre-train the backbone. A run folder that holds a checkpoint is continued, exactly."""

    data: tuple[str, ...] = ()
    """Short for --data.data: "rooms:COUNT", a capture, a folder of captures, a Pointcept folder, or several."""
    config: Annotated[PretrainConfig, tyro.conf.arg(name="")] = field(default_factory=PretrainConfig)
    """The run: network, data and schedule."""
    run_dir: Path = Path("runs/gaussiancross")
    """Folder of checkpoints, metrics and TensorBoard logs."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device of the training; "auto" takes CUDA if available."""
    seconds: float | None = None
    """Training time, seconds: length of the schedule, or with --steps the time to stop. None runs all steps."""
    view: bool = True
    """Open the viewer during training, and keep it open afterwards."""
    host: str = "127.0.0.1"
    """Address that the viewer listens on. Anyone who can reach it can control the training."""
    allow_host: tuple[str, ...] = ()
    """Further names of this machine by which browsers may open the page, where --host is not 127.0.0.1."""
    port: int = 7007
    """Port of the viewer; the next free one if it is taken."""
    share: bool = False
    """Also request a public address from viser's relay (share.viser.studio), open to anyone who has it, for a day."""
    adaptable: tyro.conf.Suppress[frozenset[str]] = frozenset()
    """Fields of the config that may be adapted to data and time, of `trainers.pretraining.adapt.ADAPTABLE`."""


Full = Annotated[
    Pretrain,
    tyro.conf.subcommand(
        "full",
        default=Pretrain(config=FULL, run_dir=Path("runs/full")),
        description="The paper's scale: 2 cm voxels, 39.2 M parameters, 5 views of 640 × 480. Wants CUDA.",
    ),
]
Tiny = Annotated[
    Pretrain,
    tyro.conf.subcommand(
        "tiny",
        default=Pretrain(config=TINY, run_dir=Path("runs/tiny")),
        description="The same method, small enough for two CPU cores.",
    ),
]

OfField = Annotated[
    Pretrain,
    tyro.conf.subcommand(
        "field",
        default=Pretrain(config=FIELD, run_dir=Path("runs/field")),
        description="Tiny, with lifted teacher features as input: best suited to `gaussiancross query`.",
    ),
]


def main(args: Sequence[str]) -> int:
    return run(parse(args))


def parse(args: Sequence[str]) -> Pretrain:
    """Parse a command line; options that it leaves open are adaptable."""
    options = tyro.cli(
        Full | Tiny | OfField,  # type: ignore[arg-type]
        args=args,
        prog="gaussiancross pretrain",
        description="Pre-train on scenes with posed frames.",
    )
    typed_fields = {arg.partition("=")[0].removeprefix("--").replace("-", "_") for arg in args}
    return replace(options, adaptable=frozenset(ADAPTABLE) - typed_fields)


def prepare(options: Pretrain, console: Console, device: torch.device | None = None) -> Pretrainer:
    """Open the data and the run, continued from its last checkpoint where there is one.

    Args:
        device: by default the one that the options name.
    """
    device, config = device or pick_device(options.device), options.config
    config = replace(config, data=replace(config.data, data=JOIN.join(options.data) or config.data.data))
    if device.type == "cpu" and config.data.width * config.data.height > CPU_PIXELS:
        console.print("On a CPU a step of this size takes minutes; `gaussiancross pretrain tiny` is made for it.")
    report = ConsoleReport(f"opening {config.data.data}")
    train = open_dataset(config.data.data, "train", report=report)
    adaptable = options.adaptable if options.seconds is not None else options.adaptable - {STEPS}
    saved_config = _saved_config(options.run_dir)
    if saved_config is not None:
        config = like_checkpoint(config, saved_config, adaptable)
    elif isinstance(train, Capture):
        config = _for_capture(config, adaptable, console)
    data = PretrainData(config.data, config.model.input, config.seed, train=train, report=report)
    if report_of(data.train) is report:
        with report:
            data.open_first_scene()
    if saved_config is None and options.seconds is not None and STEPS in adaptable:
        console.print("Timing some steps first.")
        costs = measure_costs(config, options.run_dir, data, device, options.seconds)
        config = replace(config, steps=costs.steps_within(options.seconds, config.eval_every))
        message = f"{costs.step:.3g} s per step: a schedule of {config.steps} steps for {options.seconds:g} s."
        console.print(message, soft_wrap=True, highlight=False)
    trainer = Pretrainer(config, options.run_dir, data, device, LiveFeed())
    if (missing := without_teacher(config, "--data.teacher")) is not None:
        console.print(missing, style="yellow", soft_wrap=True, markup=False, highlight=False)
    if trainer.resume():
        console.print(f"Continuing from step {trainer.step} of {options.run_dir}.", soft_wrap=True, markup=False)
    report.bars = False  # from here on the training's own bar is shown
    return trainer


def fit(trainer: Pretrainer, options: Pretrain, console: Console) -> dict[str, float]:
    """Train for the requested time or steps; returns the last evaluation."""
    result = trainer.fit(options.seconds, console, to_the_end=STEPS in options.adaptable)
    steps, planned = trainer.schedule.steps, trainer.config.steps
    if steps < planned:
        console.print(f"Less time was left than planned: the schedule of {planned} was shortened to {steps}.")
    if trainer.interrupted is None and not trainer.finished:
        message = f"The time is over at step {trainer.step} of {steps}; the same command continues."
        console.print(message, soft_wrap=True, markup=False)
    return result


def run(options: Pretrain, console: Console | None = None) -> int:
    """Train; returns 130 if interrupted."""
    with joined_ranks(options.device) as device:
        ranks = Ranks.current()
        if ranks.world > 1:  # the steps that fit into a time are no other on one rank than on another
            options = replace(options, adaptable=options.adaptable - {STEPS}, view=options.view and ranks.is_first)
        return _run(options, console or ranks.console(), device)


def _run(options: Pretrain, console: Console, device: torch.device) -> int:
    trainer = prepare(options, console, device)
    with _viewer(trainer, options):
        result = fit(trainer, options, console)
        if trainer.interrupted is not None:
            console.print(f"Checkpoint of step {trainer.step} written; the same command continues.", markup=False)
            return 130
        for name, value in result.items():
            console.print(f"{name:<24}{value:10.4g}", highlight=False)
        if options.view:
            console.print("The viewer stays open; Ctrl-C ends it.")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(1)
    return 0


def _for_capture(config: PretrainConfig, adaptable: frozenset[str], console: Console) -> PretrainConfig:
    """`for_capture`, with a line on the console where it changes the voxels."""
    config, preset = for_capture(config, adaptable), config
    voxel, fine = config.model.input.voxel_size, config.model.fine_voxel
    if (voxel, fine) != (preset.model.input.voxel_size, preset.model.fine_voxel):
        sizes = f"voxels of {voxel:g} m (--model.input.voxel-size), fine anchors of {fine:g} m (--model.fine-voxel)"
        console.print(f"For a capture: {sizes}.", soft_wrap=True, markup=False, highlight=False)
    return config


def _saved_config(run_dir: Path) -> PretrainConfig | None:
    """Config of the run's last checkpoint; None without one, or where it is of another kind of training, which
    `Trainer.resume` refuses."""
    path = latest_checkpoint(run_dir / "checkpoints")
    meta = {} if path is None else load_meta(path)
    if not meta or meta.get("kind", Pretrainer.kind) != Pretrainer.kind:
        return None
    return from_dict(PretrainConfig, meta["config"], str(path))


@contextlib.contextmanager
def _viewer(trainer: Pretrainer, options: Pretrain) -> Iterator[None]:
    if not options.view:
        yield
        return
    from ..inspector.attach import attach_inspector

    inspector = attach_inspector(trainer, options.host, options.port, options.share, options.allow_host)
    try:
        yield
    finally:
        inspector.close()
