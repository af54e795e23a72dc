"""`gaussiancross pretrain`: the same training as `ns-train gaussiancross`, without nerfstudio."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from ...core.device import pick_device
from ...trainers.engine.live import LiveFeed
from ...trainers.pretraining.config import PretrainConfig, without_teacher
from ...trainers.pretraining.presets import FIELD, FULL, TINY
from ...trainers.pretraining.trainer import Pretrainer

CPU_PIXELS = 320 * 240
"""Views of more pixels than this are no work for a CPU."""


@dataclass(frozen=True)
class Pretrain:
    """Pre-train the backbone. A run folder that holds a checkpoint is continued, exactly."""

    data: str = ""
    """Short for --data.data: "rooms:COUNT", a capture, a folder of captures, or a Pointcept folder."""
    config: Annotated[PretrainConfig, tyro.conf.arg(name="")] = field(default_factory=PretrainConfig)
    """The run: network, data and schedule."""
    run_dir: Path = Path("runs/gaussiancross")
    """Folder of checkpoints, metrics and TensorBoard logs."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train; "auto" takes CUDA when there is one."""
    seconds: float | None = None
    """Stop after so many seconds (with a checkpoint); None runs all steps."""
    view: bool = True
    """Open the inspector on the training, and keep it open afterwards."""
    host: str = "127.0.0.1"
    """Address that the inspector listens on. Anybody who can reach it can steer the training."""
    port: int = 7007
    """Port of the inspector; the next free one when it is taken."""
    share: bool = False
    """Also ask viser's public relay (share.viser.studio) for an address that anybody who has it can open, for a day."""


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
        description="Tiny, with lifted teacher features as input: the field that `gaussiancross query` asks best.",
    ),
]


def main(args: Sequence[str]) -> int:
    given = tyro.cli(
        Full | Tiny | OfField,  # type: ignore[arg-type]
        args=args,
        prog="gaussiancross pretrain",
        description="Pre-train on scenes with posed frames.",
    )
    return run(given)


def run(given: Pretrain, console: Console | None = None) -> int:
    """Train as ``given`` says; 130 when interrupted."""
    console = console or Console()
    device, config = pick_device(given.device), given.config
    config = replace(config, data=replace(config.data, data=given.data or config.data.data))
    if device.type == "cpu" and config.data.width * config.data.height > CPU_PIXELS:
        console.print("On a CPU a step of this size takes minutes; `gaussiancross pretrain tiny` is made for it.")
    trainer = Pretrainer(config, given.run_dir, device=device, feed=LiveFeed())
    if (missing := without_teacher(config, "--data.teacher")) is not None:
        console.print(missing, style="yellow", soft_wrap=True, markup=False, highlight=False)
    if trainer.resume():
        console.print(f"Continuing from step {trainer.step} of {given.run_dir}.", soft_wrap=True, markup=False)
    with _viewer(trainer, given):
        result = trainer.fit(given.seconds, console)
        if trainer.interrupted is not None:
            console.print(f"Checkpoint of step {trainer.step} written; the same command continues.", markup=False)
            return 130
        for name, value in result.items():
            console.print(f"{name:<24}{value:10.4g}", highlight=False)
        if given.view:
            console.print("The inspector stays open; Ctrl-C ends it.")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(1)
    return 0


@contextlib.contextmanager
def _viewer(trainer: Pretrainer, given: Pretrain) -> Iterator[None]:
    if not given.view:
        yield
        return
    from ..inspector.attach import watch

    inspector = watch(trainer, given.host, given.port, given.share)
    try:
        yield
    finally:
        inspector.close()
