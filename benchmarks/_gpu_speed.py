"""The sections of `bench gpu`: "how fast". Steps at the paper's scale: time, memory, parts, bare kernels."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from ..core.data.batch import Batch
from ..core.data.packed import map_tensors
from ..core.sparse.fast import FastConv
from ..core.sparse.spconv_backend import SpconvLayer
from ..core.splat import cpu as cpu_splat
from ..trainers.engine.live import LiveFeed
from ..trainers.pretraining.data import PretrainData, join
from ..trainers.pretraining.feed import copied_ahead
from ..trainers.pretraining.presets import FULL
from ..trainers.pretraining.trainer import Pretrainer
from ._data import BoxRooms, RandomTeacher
from ._gpu_inputs import small_data, small_model
from ._parts import PartTimer

TOKENS = (30, 40)
"""Rows and columns of teacher tokens of a 640 × 480 image, 16 pixels each (RADIO)."""

POINTS = 200_000
"""Points per room: about 65,000 voxels of 2 cm after masking, as many as a ScanNet scene has."""


def full(options: SimpleNamespace) -> dict[str, Any]:
    """Time, memory, parts and slowest kernels of a step."""
    with trainer_of(options) as trainer:
        batches = batches_of(trainer, 2)
        found = measured(options, trainer, batches)
        with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer:
            for batch in islice(copied_in_turn(trainer, batches), 2):
                with timer.step():
                    trainer.train_step(batch)
        found["parts_ms"] = {f"{part}, {way}": ms for (part, way), ms in timer.median().items()}
        kernels = kernel_times(trainer, batches[0])
        found["top_kernels_ms"] = dict(list(kernels.items())[:20])
        found["share in kernels"] = sum(kernels.values()) / (found["step s"] * 1e3)
    return found


def sizes(options: SimpleNamespace) -> dict[str, Any]:
    """Time and peak memory for several batch sizes; one that does not fit is reported as such."""
    found: dict[str, Any] = {}
    for size in (1, 2) if options.size == "small" else (1, 2, 8):
        with trainer_of(SimpleNamespace(**{**vars(options), "batch_size": size})) as trainer:
            try:
                one = measured(options, trainer, batches_of(trainer, 1))
                found[f"batch {size}"] = f"{one['step s']:.3f} s, {one['memory GB']:.1f} GB"
            except torch.cuda.OutOfMemoryError:
                found[f"batch {size}"] = "out of memory"
    return found


def viewer(options: SimpleNamespace) -> dict[str, Any]:
    """Seconds per step alone, and with a thread that draws pictures as fast as it can."""
    from ..app.inspector.stream import RenderStream
    from ..app.render.options import RenderOptions
    from ..app.render.renderer import Renderer
    from ..app.scenes.source import LiveSource
    from ..core.geometry.cameras import Cameras

    feed = LiveFeed()
    with trainer_of(options, feed=feed) as trainer:
        batches = batches_of(trainer, 1)
        alone = measured(options, trainer, batches)
        feed.wants_snapshot.set()
        trainer._publish(always=True)
        renderer = Renderer(LiveSource(feed, trainer.data.train, trainer.data.teacher, device=trainer.device))
        state, around = renderer.load(0), RenderStream(trainer.device)
        pictures: list[float] = []
        stop = threading.Event()
        assert state.frames is not None
        seen: Cameras = state.frames.cameras[0]

        def draw() -> None:
            while not stop.is_set():
                begun = time.perf_counter()
                with around():
                    renderer.draw(0, RenderOptions(), seen.resized(480, 360))
                pictures.append(time.perf_counter() - begun)

        thread = threading.Thread(target=draw)
        thread.start()
        try:
            watched = measured(options, trainer, batches)
        finally:
            stop.set()
            thread.join()
    found = {"step s": alone["step s"], "watched step s": watched["step s"], "watched memory GB": watched["memory GB"]}
    return found | {"picture s": statistics.median(pictures), "memory GB": alone["memory GB"]}


def floor(options: SimpleNamespace) -> dict[str, Any]:
    """Seconds of the bare kernels of a step, forward and backward on the step's own tensors, beside the step.

    The kernels are gsplat's ``rasterization``, spconv's layers and the dense U-Net (on the CPU our own rasteriser and
    convolutions); their sum is the floor of a step that is built from them.
    """
    with trainer_of(options) as trainer:
        step = measured(options, trainer, batches_of(trainer, 1))["step s"]
        calls: dict[str, list[Callable[[], Any]]] = {"splat": [], "sparse": [], "dense U-Net": []}
        with recorded(trainer, calls):
            trainer.train_step(trainer.batch(0))
        found: dict[str, Any] = {"step s": step}
        for name, recordings in calls.items():
            found[f"{name} calls"] = len(recordings)
            found[f"bare {name} s"] = sum(timed(call, options, trainer.device) for call in recordings)
    total = sum(v for k, v in found.items() if k.startswith("bare "))
    return found | {"floor s": total, "step / floor": step / total, "passed": all(map(len, calls.values()))}


@contextmanager
def recorded(trainer: Pretrainer, calls: dict[str, list[Callable[[], Any]]]) -> Iterator[None]:
    """Record the kernels' calls of a step; each recording calls the kernel again, on copies that take gradients."""
    amp = trainer._amp

    def record(kind: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        args, kwargs = tuple(map(copied, args)), {k: copied(v) for k, v in kwargs.items()}

        def call() -> Any:
            with torch.autocast(trainer.device.type, torch.bfloat16, enabled=amp and kind != "splat"):
                return function(*args, **kwargs)

        calls[kind].append(call)

    def recording(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        inside = False

        def recorded_call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:  # the U-Net calls itself with other types or shapes
                return function(*args, **kwargs)
            record(kind, function, args, kwargs)
            inside = True
            try:
                return function(*args, **kwargs)
            finally:
                inside = False

        return recorded_call

    net = trainer.model.lattice_net
    patches = [mock.patch.object(net, "forward", recording("dense U-Net", net.forward))]
    if trainer.device.type == "cuda":
        import gsplat

        patches.append(mock.patch.object(gsplat, "rasterization", recording("splat", gsplat.rasterization)))
        adapter = SpconvLayer.__call__

        def watched_layer(layer: SpconvLayer, features: Tensor, grid: Any, weight: Any, key: str) -> Any:
            out = adapter(layer, features, grid, weight, key)  # makes the layer and its kernel map
            record("sparse", lambda x, w: _bare_spconv(layer, x, w, grid, key), (features, weight), {})
            return out

        patches.append(mock.patch.object(SpconvLayer, "__call__", watched_layer))
    else:
        patches.append(mock.patch.object(cpu_splat, "composite", recording("splat", cpu_splat.composite)))
        patches.append(mock.patch.object(FastConv, "apply", recording("sparse", FastConv.apply)))
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def copied(value: Any) -> Any:
    """A tensor as a leaf that takes gradients where the tensor did; Gaussians likewise."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return value.map(copied) if type(value).__name__ == "Gaussians" else value


def _bare_spconv(layer: SpconvLayer, features: Tensor, weight: Tensor, grid: Any, key: str) -> Any:
    """spconv's own layer on its own tensor, with the kernel map that the step made."""
    from spconv import pytorch as spconv

    own: Any = layer._layer
    own._parameters["weight"], own.indice_key = torch.nn.Parameter(weight), key
    shape = list(grid.spatial_shape)
    x = spconv.SparseConvTensor(features.float(), grid.indices, shape, grid.batch_size, indice_dict=grid.spconv_maps)
    with torch.autocast("cuda", enabled=False):
        return own(x)


def timed(call: Callable[[], Any], options: SimpleNamespace, device: torch.device) -> float:
    """Median seconds of a call, forward and backward."""
    seconds = []
    for _ in range(options.steps):
        wait(device)
        started = time.perf_counter()
        outputs = [t for t in _tensors(call()) if t.requires_grad]
        torch.autograd.backward(outputs, [torch.ones_like(t) for t in outputs])
        wait(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if hasattr(value, "features"):  # spconv's sparse tensor
        return [value.features]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


# --- steps ------------------------------------------------------------------------------------------------------------


@contextmanager
def trainer_of(options: SimpleNamespace, feed: LiveFeed | None = None, **changes: Any) -> Iterator[Pretrainer]:
    """A `Pretrainer` of the full preset on analytic rooms, or of the smallest network with ``size`` "small".

    Args:
        changes: fields of the model's config, and ``micro_batch``.
    """
    micro = changes.pop("micro_batch", 0)
    if options.size == "small":
        data, model = small_data(options.batch_size, "small"), small_model("small").config
        changes.pop("head", None)
    else:
        config = replace(FULL.data, data="box", batch_size=options.batch_size)
        rooms, teacher = BoxRooms(2 * options.batch_size, POINTS), RandomTeacher(options.teacher_dim, TOKENS)
        data, model = PretrainData(config, FULL.model.input, FULL.seed, rooms, rooms, teacher), FULL.model
    config = replace(
        FULL, model=replace(model, **changes), data=replace(data.config, micro_batch=micro), probe=False, timeline_mb=0
    )
    with TemporaryDirectory() as folder:
        yield Pretrainer(config, Path(folder), data, options.device, feed)
    if options.device == "cuda":
        torch.cuda.empty_cache()


def batches_of(trainer: Pretrainer, count: int) -> list[Batch]:
    """The first batches; on CUDA packed and pinned, as the feed hands them over (these rooms' images are float32)."""
    if trainer.device.type != "cuda":
        return [trainer.batch(step) for step in range(count)]
    data = trainer.data
    packed = [join([data.slot(step, slot, packed=True) for slot in data.slots]) for step in range(count)]
    return [map_tensors(batch, Tensor.pin_memory) for batch in packed]


def copied_in_turn(trainer: Pretrainer, batches: list[Batch]) -> Iterator[Batch]:
    """Repeat batches without end; pinned ones are copied to the device one step ahead, as in a training."""
    pinned = trainer.device.type == "cuda" and batches[0].points.coord.is_pinned()
    return copied_ahead(cycle(batches), trainer.device) if pinned else cycle(batches)


def measured(options: SimpleNamespace, trainer: Pretrainer, batches: list[Batch]) -> dict[str, Any]:
    """Median seconds, peak memory and losses of the steps after two that compile and choose kernels."""
    device, source = trainer.device, copied_in_turn(trainer, batches)
    losses = [trainer.train_step(next(source))["loss/total"] for _ in range(2 if device.type == "cuda" else 1)]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(options.steps):
        wait(device)
        started = time.perf_counter()
        metrics = trainer.train_step(next(source))
        wait(device)
        seconds.append(time.perf_counter() - started)
        losses.append(metrics["loss/total"])
    memory = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    median, scenes = statistics.median(seconds), len(batches[0].views)
    return {
        "scenes": scenes,
        "voxels": int(batches[0].points.offset[-1]),
        "Gaussians per scene": metrics["gaussians"],
        "step s": median,
        "scenes per s": scenes / median,
        "memory GB": memory,
        "losses": losses,
        "passed": all(math.isfinite(v) for v in losses) and trainer.nan_steps == 0,
    }


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def kernel_times(trainer: Pretrainer, batch: Any) -> dict[str, float]:
    """The kernels of one step, slowest first: name → milliseconds (operators on the CPU)."""
    cuda = trainer.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        trainer.train_step(batch)
        wait(trainer.device)
    events: list[Any] = list(profiler.key_averages())
    if cuda:
        events = [e for e in events if e.self_device_time_total > 0 and e.device_type.name != "CPU"]
    times = {e.key[:120]: (e.self_device_time_total if cuda else e.self_cpu_time_total) / 1e3 for e in events}
    return dict(sorted(times.items(), key=lambda row: -row[1]))
