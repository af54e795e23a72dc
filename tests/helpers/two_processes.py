"""Work of two processes that train one model, for `tests/trainers/engine/test_ranks.py`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.multiprocessing
from gaussiancross.core.errors import InputError, RunError
from gaussiancross.trainers.engine.sync_norm import start_together, synchronise_norms
from gaussiancross.trainers.pretraining.config import PretrainConfig
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from rich.console import Console
from torch import nn

from helpers.box_room import Walls

QUIET = Console(quiet=True)

LIMIT = timedelta(minutes=3)
"""Time after which a process no longer waits for the other one."""


def first_gradients(run: Pretrainer) -> dict[str, torch.Tensor]:
    """Gradients and buffers after the first step, by name."""
    metrics = run.train_step(run.batch(0))
    found = {n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None}
    buffers = {f"buffer {n}": b.float().clone() for n, b in run.model.named_buffers()}
    return found | buffers | {"norm of the gradient": torch.tensor(metrics["grad_norm"])}


def halfway(config: PretrainConfig, folder: Path) -> Pretrainer:
    """A run that stops after half of its steps."""
    run = Pretrainer(config, folder, device="cpu")
    run.should_stop = lambda interrupted, console: run.step == config.steps // 2  # type: ignore[method-assign]
    run.fit(console=QUIET)
    return run


def with_and_without_evaluations(config: PretrainConfig, folder: Path) -> dict[str, object]:
    """State after a run with a probe and an evaluation after every step, on rank 0 alone, and after one without."""
    plain = PretrainData(config.data, config.model.input, config.seed)
    data = PretrainData(config.data, config.model.input, config.seed, Walls(plain.train), Walls(plain.val))
    found: dict[str, object] = {}
    for name, probe in (("with", True), ("without", False)):
        changed = replace(config, probe=probe, eval_every=1, steps=2)
        run = Pretrainer(changed, folder / name, data=data, device="cpu")
        if not probe:
            run.evaluate = lambda: {}  # type: ignore[method-assign, assignment]
        torch.manual_seed(1)
        run.fit(console=QUIET)
        moments = {f"moment {i} {k}": v for i, s in run.optimizer.state_dict()["state"].items() for k, v in s.items()}
        found[name] = run.model.state_dict() | moments | {"random": torch.get_rng_state()}
        found[f"probe {name}"] = run.probe is not None
    return found


def batch_norms(rank: int) -> dict[str, float]:
    """Largest differences between synchronised norms of parts and plain ones of the whole, of the largest value."""
    torch.manual_seed(0)
    errors = {}
    for name, make, x in (
        ("1d", nn.BatchNorm1d, 3 + torch.randn(8, 4)),
        ("3d", nn.BatchNorm3d, torch.randn(8, 4, 2, 3, 2)),
    ):
        plain, synced = make(4), make(4)
        synchronise_norms(synced)
        part = slice(0, 5) if rank == 0 else slice(5, 8)
        for step in range(2):
            whole, own = x.clone().requires_grad_(), x[part].clone().requires_grad_()
            expected, found = plain(whole), synced(own)
            expected.square().mul(torch.arange(8.0).view(-1, *[1] * (x.ndim - 1))).sum().backward()
            weights = torch.arange(8.0)[part].view(-1, *[1] * (x.ndim - 1))
            found.square().mul(weights).sum().backward()
            errors[f"{name} output {step}"] = float((found - expected[part]).abs().max())
            assert whole.grad is not None and own.grad is not None
            errors[f"{name} gradient {step}"] = float(
                (own.grad - whole.grad[part]).abs().max() / whole.grad.abs().max()
            )
        for buffer in ("running_mean", "running_var"):
            errors[f"{name} {buffer}"] = float((getattr(synced, buffer) - getattr(plain, buffer)).abs().max())
        assert int(synced.num_batches_tracked) == 2 and torch.equal(synced.eval()(x[:1]), synced(x[:1]))
    return errors


def work(rank: int, config: PretrainConfig, folder: Path) -> None:
    """All that the two processes do; results go to ``rank-N.pt``."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=LIMIT
    )
    found: dict[str, object] = {"norms": batch_norms(rank)}
    run = Pretrainer(config, folder / "unused", device="cpu")
    start_together(run.ranks, run.model, run.step, run.device)
    found["gradients"] = first_gradients(run)
    found["scenes"] = len(run.batch(0).views)
    run = halfway(config, folder / "shared")
    found["weights"] = dict(run.model.state_dict())
    found |= with_and_without_evaluations(config, folder)
    broken = Pretrainer(config, folder / "broken", device="cpu")
    if rank == 1:

        def fail(step: int) -> object:
            raise InputError("scene 7", "points", "none")

        broken.data.batch = fail  # type: ignore[method-assign, assignment]
    try:
        broken.fit(console=QUIET)
    except (InputError, RunError) as error:
        found["failure"] = f"{type(error).__name__}: {error}"
    torch.distributed.destroy_process_group()
    torch.save(found, folder / f"rank-{rank}.pt")


def run_both(config: PretrainConfig, folder: Path) -> list[dict[str, object]]:
    """Run `work` in two processes; returns their results."""
    torch.multiprocessing.spawn(work, (config, folder), nprocs=2)
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]
