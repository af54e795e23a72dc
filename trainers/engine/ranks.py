"""Distributed training: processes under `torchrun`, reductions over them, and their common end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor, nn

from ...core.device import pick_device
from ...core.errors import InputError, RunError, first_line

PATIENCE = timedelta(hours=6)
"""Time that the other processes wait for one of them, such as for rank 0 in an evaluation."""

GRACE = 60.0
"""Seconds in which a process may end by itself after another one failed; then it is ended."""

_FAILURE = "gaussiancross/failure"


@dataclass(frozen=True)
class Ranks:
    """Rank of this process and number of ranks (0 and 1 where `torch.distributed` is not initialised).

    Attributes:
        rank: index of this process.
        world: number of processes that train one model.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """Return the rank of this process.

        Raises:
            InputError: `torchrun` started several processes, and the command did not join them: each would train alone.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        if _world_of_environment() > 1:
            expected = "pretrain, probe, finetune, instances or clipgs train, which train one model with all processes"
            raise InputError("torchrun", expected, f"another command in {_world_of_environment()} processes")
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes and evaluates."""
        return self.rank == 0

    def console(self) -> Console:
        """A console that prints on rank 0 alone."""
        return Console(quiet=not self.is_first)

    def share(self, batch_size: int, option: str) -> range:
        """The slots of this rank in a batch of ``batch_size`` scenes.

        Raises:
            InputError: the scenes cannot be shared equally; ``option`` names them.
        """
        if batch_size % self.world:
            raise InputError(option, f"a multiple of {self.world}, the number of processes", str(batch_size))
        own = batch_size // self.world
        return range(self.rank * own, (self.rank + 1) * own)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over all ranks, in one reduction."""
        if self.world == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:  # every rank has to take part in every sum
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in trained if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        _scatter(flat / self.world, gradients)

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of rank 0, in one message per type."""
        if self.world == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for group in by_type.values():
            flat = torch.cat([t.detach().flatten() for t in group])
            torch.distributed.broadcast(flat, 0)
            _scatter(flat, group)

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether ``value`` is true on any rank. All ranks must call it."""
        if self.world == 1:
            return value
        flag = torch.tensor(float(value), device=device)
        torch.distributed.all_reduce(flag)
        return float(flag) > 0

    def require_same(self, what: str, value: int, device: torch.device) -> None:
        """Check that a number is the same on all ranks.

        Raises:
            RunError: it is not, for example because the run folder is on the disk of one machine.
        """
        if self.world == 1:
            return
        values = torch.tensor([value, -value], device=device)
        torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
        high, low = int(values[0]), -int(values[1])
        if high != low:
            raise RunError(f"{what} differs between processes, from {low} to {high}", "share the run folder")

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Context of a training: where one rank fails, the others raise a `RunError` with its sentence.

        They may be waiting for it in a reduction. gloo's fails when the process is gone; NCCL's waits, so that a thread
        ends this process some seconds after another one failed.
        """
        if self.world == 1:
            yield
            return
        store = _store()
        done = threading.Event()
        threading.Thread(target=self._watch, args=(store, done), name="ranks", daemon=True).start()
        try:
            yield
        except BaseException as error:
            other = self._failure(store, wait=0.0)
            if other is None and _is_of_a_reduction(error):
                other = self._failure(store, wait=GRACE / 4)  # the sentence may come after the broken connection
            if other is not None:
                raise RunError(other) from error
            with suppress(Exception):  # the store's process may be gone
                store.set(_FAILURE, f"{self.rank} {first_line(error)}")
            raise
        finally:
            done.set()

    def _failure(self, store: Any, wait: float) -> str | None:
        """The sentence of another rank that failed, or None after ``wait`` seconds."""
        ends = time.monotonic() + wait
        while True:
            with suppress(Exception):
                if store.check([_FAILURE]):
                    rank, _, sentence = store.get(_FAILURE).decode().partition(" ")
                    return None if int(rank) == self.rank else f"process {rank} stopped: {sentence.rstrip('.')}"
            if time.monotonic() >= ends:
                return None
            time.sleep(0.1)

    def _watch(self, store: Any, done: threading.Event) -> None:
        """End this process if it is still in `failing_together` `GRACE` seconds after another one failed."""
        while not done.wait(1.0):
            sentence = self._failure(store, wait=0.0)
            if sentence is not None and not done.wait(GRACE):
                print(f"{sentence}.", file=sys.stderr, flush=True)
                os._exit(1)


@contextmanager
def joined_ranks(device: Literal["auto", "cuda", "cpu"]) -> Iterator[torch.device]:
    """Join the processes of `torchrun`, if there are several; yields the device of this one.

    Raises:
        InputError: fewer GPUs than processes on this machine, or `pick_device`'s.
    """
    if _world_of_environment() == 1 or torch.distributed.is_initialized():
        yield pick_device(device)
        return
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device != "cpu" and torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            found = f"{torch.cuda.device_count()}, and process number {local + 1}"
            raise InputError("torchrun", "a GPU for every process of this machine", found, "use fewer processes")
        torch.cuda.set_device(local)
    chosen = pick_device(device)
    on_gpu = chosen.type == "cuda"
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        with Ranks.current().failing_together():
            yield torch.device("cuda", local) if on_gpu else chosen
    finally:
        torch.distributed.destroy_process_group()


def _world_of_environment() -> int:
    """Number of processes that `torchrun` or a scheduler started, by its environment variable."""
    return int(os.environ.get("WORLD_SIZE") or 1) if "RANK" in os.environ else 1


def _scatter(flat: Tensor, tensors: list[Tensor]) -> None:
    """Copy the values of a flat tensor into tensors, one after the other."""
    parts = flat.split([t.numel() for t in tensors])
    with torch.no_grad():
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def _store() -> Any:
    """The key-value store of the processes."""
    return torch.distributed.distributed_c10d._get_default_store()


def _is_of_a_reduction(error: BaseException) -> bool:
    """Whether an error is that of a lost connection to another process."""
    text = str(error)
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "Gloo", "NCCL", "onnection"))
