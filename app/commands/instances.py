"""`gaussiancross instances`: train and score instance segmentation with PointGroup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from ...core.errors import InputError
from ...trainers.downstream.instance_config import INSTANCES, InstanceTraining
from ...trainers.downstream.instance_run import InstanceOutcome, InstanceRun, run_instances
from ...trainers.engine.ranks import Ranks, joined_ranks
from .finetune import print_published


@dataclass(frozen=True)
class Instances:
    """One row of the published protocol. The same command continues an interrupted run exactly."""

    data: str = ""
    """Short for --labels.data: "rooms:COUNT", or a folder that `gaussiancross prepare` or Pointcept wrote."""
    config: Annotated[InstanceTraining, tyro.conf.arg(name="")] = field(default_factory=InstanceTraining)
    """The run; differences from the published row are written into the results."""
    run_dir: Path = Path("runs/instances")
    """Folder of checkpoints, curves, results, pictures and the trained model."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train; "auto" takes CUDA when there is one."""
    seconds: float | None = None
    """Training time (s) after which a checkpoint is written and training stops; the same command continues."""
    pictures: int = 4
    """Held-out scenes that are drawn beside their true and predicted instances."""
    beside: tuple[Path, ...] = ()
    """Folders with other runs' results, for the table; by default those beside RUN_DIR."""


def main(args: Sequence[str]) -> int:
    presets = {
        name: (preset.description, Instances(config=preset.config, run_dir=Path(f"runs/instances-{name}")))
        for name, preset in INSTANCES.items()
    }
    name = next(iter(args), "")
    if name and not name.startswith("-") and name not in presets:
        raise InputError(f"gaussiancross instances {name}", "one of " + ", ".join(presets), "another word")
    options = tyro.extras.overridable_config_cli(
        presets,
        args=args,
        prog="gaussiancross instances",
        description="Instance segmentation with PointGroup, from a pre-trained backbone (--init) or from scratch: AP, "
        "AP50 and AP25 on held-out scenes, their pictures, and the published figures beside ours.",
    )
    return run(name, options)


def run(preset: str, options: Instances, console: Console | None = None) -> int:
    """Train, test, write and print; 130 when interrupted."""
    labels = replace(options.config.labels, data=options.data or options.config.labels.data)
    plan = InstanceRun(preset, replace(options.config, labels=labels), options.run_dir, options.pictures)
    with joined_ranks(options.device) as device:
        ranks = Ranks.current()
        console = console or ranks.console()
        outcome = run_instances(plan, device, options.seconds, console)
    if outcome is None and not ranks.is_first:
        return 0
    if outcome is None:
        console.print("Not at the last step yet; the same command continues.", markup=False)
        return 130
    console.print(class_table(outcome, preset))
    print_published(console, "instances", preset, [options.run_dir, *options.beside], outcome.changed)
    results = outcome.results
    seconds = f"{results.network_s:.2f} s network, {results.grouping_s:.2f} s grouping per scene"
    console.print(f"{results.proposals} proposals; {seconds}.", highlight=False)
    written = "results.json, instances.csv, pictures/, model/"
    console.print(f"{options.run_dir}: {written}", soft_wrap=True, markup=False, highlight=False)
    return 0


def class_table(outcome: InstanceOutcome, preset: str) -> Table:
    """AP of the classes that have true instances, per cent, and their means."""
    found = outcome.results.instances
    title = f"{preset}, {outcome.results.scenes} scenes, step {outcome.steps}"
    table = Table("class", "AP", "AP50", "AP25", title=title)
    for k, name in enumerate(outcome.class_names):
        if bool(found.ap[k].isfinite()):
            table.add_row(name, *(f"{100 * float(v[k]):.1f}" for v in (found.ap, found.ap50, found.ap25)))
    table.add_section()
    means = (found.mean_ap, found.mean_ap50, found.mean_ap25)
    table.add_row(f"mean of {table.row_count}", *(f"{100 * v:.1f}" if v == v else "-" for v in means))
    return table
