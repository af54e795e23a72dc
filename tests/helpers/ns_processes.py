"""Processes as `ns-train --machine.num-devices 2` starts them, for `tests/trainers/ns/test_processes.py`."""

from __future__ import annotations

from unittest import mock

import torch
from nerfstudio.scripts import train as ns_train


def work(local_rank: int, config: object, url: str) -> None:
    """nerfstudio's worker process on a CPU; nerfstudio itself asks for a GPU before it joins the processes."""
    torch.set_num_threads(1)
    patch = mock.patch.multiple(torch.cuda, is_available=lambda: True, device_count=lambda: 2)

    def train(local_rank: int, world_size: int, config: object, global_rank: int = 0) -> None:
        patch.stop()
        ns_train.train_loop(local_rank, world_size, config, global_rank)  # type: ignore[arg-type]

    patch.start()
    ns_train._distributed_worker(local_rank, train, 2, 2, 0, url, config, device_type="cpu")  # type: ignore[arg-type]
