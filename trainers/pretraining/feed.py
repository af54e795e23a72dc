"""Feed of a pre-training: the slots of batches prepared by a pool of threads or processes, and copied ahead on CUDA.

A slot is a pure function of (seed, step, slot), so neither the kind nor the number of workers changes a batch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import torch
from torch import Tensor
from torch import multiprocessing as _shared  # noqa: F401  tensors go between processes in shared memory

from ...core.data.batch import Batch, InputConfig
from ...core.data.packed import map_tensors
from ..engine.prefetch import prefetched
from ..engine.ranks import Ranks
from .config import DataConfig
from .data import PretrainData, join

MAX_WORKERS = 16


def feed(data: PretrainData, start: int, device: torch.device) -> Generator[Batch, None, None]:
    """Yield the batches from step ``start`` on. Close the generator to end the workers.

    On the CPU, batches are whole and one thread makes them, unless the options ask for more. On CUDA, images stay in
    the types of their files, pinned, and the next batch is copied while the device computes.
    """
    config, cuda = data.config, device.type == "cuda"
    workers = config.workers or (max(1, min(MAX_WORKERS, _cores() - 1)) if cuda else 1)
    if workers == 1 and not config.processes and not cuda:
        yield from prefetched(data.batch, start)
        return
    with ExitStack() as stack:
        if config.processes:
            arguments = config, data.input, data.seed
            spawn = multiprocessing.get_context("spawn")
            pool: Executor = ProcessPoolExecutor(workers, spawn, _open, (*arguments, cuda))
        else:
            pool = ThreadPoolExecutor(workers, "slots")
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        # Joins and pins; not in the thread that launches kernels.
        joiner = stack.enter_context(ThreadPoolExecutor(1, "batches"))
        batches = _joined(data, pool, joiner, start, workers, cuda)
        stack.callback(batches.close)
        yield from copied_ahead(batches, device) if cuda else batches


def _cores() -> int:
    """Cores of this machine per process that trains there."""
    return (os.cpu_count() or 2) // int(os.environ.get("LOCAL_WORLD_SIZE") or 1)


def _joined(
    data: PretrainData, pool: Executor, joiner: Executor, start: int, workers: int, cuda: bool
) -> Generator[Batch, None, None]:
    """Yield joined batches in order; their slots are prepared ahead by the pool."""
    own, size = data.slots, len(data.slots)

    def submit(step: int) -> Future[Batch]:
        if data.config.processes:
            slots = [pool.submit(_slot, step, slot) for slot in own]
        else:
            slots = [pool.submit(data.slot, step, slot, packed=cuda) for slot in own]
        return joiner.submit(_join, slots, cuda)

    ahead = deque(submit(start + i) for i in range(workers // size + 2))
    try:
        for step in count(start + len(ahead)):
            batch = ahead.popleft().result()
            ahead.append(submit(step))
            yield batch
    finally:
        for future in ahead:
            future.cancel()


def _join(slots: list[Future[Batch]], pin: bool) -> Batch:
    batch = join([slot.result() for slot in slots])
    return map_tensors(batch, Tensor.pin_memory) if pin else batch


# --- on CUDA ------------------------------------------------------------------------------------------------------


class CopiedBatch:
    """A batch that is being copied to a CUDA device on a stream of its own.

    Attributes:
        points: the points on the CPU.
    """

    def __init__(self, batch: Batch, device: torch.device, stream: torch.cuda.Stream) -> None:
        self.points, self._pinned = batch.points, batch  # pinned memory may be used again once the copy has ended
        with torch.cuda.stream(stream):
            self._copy, self._done = batch.to(device), stream.record_event()

    def to(self, device: torch.device | str) -> Batch:
        """Return the copy; what is launched from now on waits for it, the caller does not."""
        stream = torch.cuda.current_stream(torch.device(device))
        stream.wait_event(self._done)  # type: ignore[arg-type]  # torch's stubs have two classes of events

        def used(tensor: Tensor) -> Tensor:
            if tensor.is_cuda:  # its memory must not be given away before this stream has used it
                tensor.record_stream(stream)
            return tensor

        return map_tensors(self._copy, used)


def copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches whose copy to a CUDA device was begun one batch earlier."""
    stream = torch.cuda.Stream(device)
    previous: CopiedBatch | None = None
    for batch in batches:
        current = CopiedBatch(batch, device, stream)
        if previous is not None:
            yield previous  # type: ignore[misc]  # as a batch: ``points`` and ``to``
        previous = current


# --- in worker processes --------------------------------------------------------------------------------------------

_data: PretrainData | None = None
_packed = False


def _open(config: DataConfig, input_config: InputConfig, seed: int, packed: bool) -> None:
    """Open the data of a worker process, which computes in one thread and leaves Ctrl-C to the main process."""
    global _data, _packed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    # A process of its own beside those that train: the slots that it is asked for are its parent's.
    _data, _packed = PretrainData(config, input_config, seed, ranks=Ranks()), packed


def _end_with_parent() -> None:
    """End this process when its parent does: where that is killed, nothing else tells the workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _slot(step: int, slot: int) -> Batch:
    assert _data is not None
    return _data.slot(step, slot, packed=_packed)
