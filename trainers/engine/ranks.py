"""Processes that train one model together, as `torchrun` starts them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone where `torch.distributed` is not initialised.

    Attributes:
        rank: its number. world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """Of this process."""
        ready = torch.distributed.is_available() and torch.distributed.is_initialized()
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size()) if ready else cls()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and evaluates."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients become their means over all ranks."""
        if self.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:  # every rank has to take part in every sum
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= self.world

    def any(self, wanted: bool, device: torch.device) -> bool:
        """Whether any rank wants to: one that left alone would leave the others waiting."""
        if self.world == 1:
            return wanted
        flag = torch.tensor(float(wanted), device=device)
        torch.distributed.all_reduce(flag)
        return float(flag) > 0
