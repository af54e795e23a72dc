"""Distributed training: rank of this process and reductions over ranks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn


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
        """Return the rank of this process."""
        ready = torch.distributed.is_available() and torch.distributed.is_initialized()
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size()) if ready else cls()

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes and evaluates."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over all ranks."""
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:  # every rank has to take part in every sum
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= self.world

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether ``value`` is true on any rank. All ranks must call it."""
        if self.world == 1:
            return value
        flag = torch.tensor(float(value), device=device)
        torch.distributed.all_reduce(flag)
        return float(flag) > 0
