"""`gaussiancross view`: anything in the browser, no training. What trains is imported for runs only: a file is to be on
the page as soon as torch is there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from ...core.data.scene import PosedFrames, SceneDataset
from ...core.datasets import Capture, open_scenes, read_pointcept_scene
from ...core.errors import InputError
from ...core.io import read_gaussians, read_points, read_splat
from ...core.io.pretrained import BUNDLED_CLIPGS, bundled_folder
from ...core.io.scenesplat import is_scenesplat, read_scenesplat
from ...core.query import TextVectors
from ...core.query.calibration import NAME as CALIBRATION
from ...core.query.calibration import load_calibration
from ...core.report import SILENT, Report
from ...core.teachers import make_teacher
from ...trainers.pretraining.timeline import list_frames
from ..inspector import Inspector, ModelSource, PointsSource, SceneSource, SplatsSource, TimelineSource
from ..objects.gallery import open_desk
from ..reporting import ConsoleReport
from ..scenes.lifted import LiftedSource
from ..scenes.open import BUILTIN, calibration_of


@dataclass(frozen=True)
class View:
    """Look at something in the browser."""

    what: tyro.conf.Positional[str] = "rooms:1"
    """A run folder, one of its checkpoints or a saved model ("bundled-rooms"); a capture; a Pointcept
    folder or one of its scenes; a .ply or .splat; a SceneSplat folder; "rooms:COUNT", or "rooms:val:3" for one of them.
    A built-in room by default."""
    other: tyro.conf.Positional[str | None] = None
    """Another run, checkpoint or saved model to compare with, side by side, on the scenes of the first."""
    data: str | None = None
    """For a run or a model: other scenes than its own, "rooms:COUNT", "rooms:val:3" or a path."""
    teacher: str | None = None
    """For a run: another place of its teacher features, or "none". For scenes with frames: the teacher whose features
    are lifted onto the points without any training ("clip:…", "precomputed:FOLDER", …); "none" = the points alone."""
    field: Literal["auto", "model", "lifted"] = "auto"
    """What is shown and searched: the Gaussians of the run's model (of the model that ships, for other scenes with
    frames) or the teacher's features lifted onto the points."""
    split: Literal["train", "val", "test"] = "val"
    """Which scenes, where there is a choice."""
    text_vectors: Path | None = None
    """Words to search with: FILE.npy [V, D] from the text side of the teacher, its words in FILE_names.json."""
    objects: Path | None = None
    """A gallery for the Objects tab: a folder of objects, or what `gaussiancross clipgs embed` wrote (.npz)."""
    object_model: str = BUNDLED_CLIPGS[0]
    """The CLIP-GS model for the Objects tab: a run folder, a checkpoint or the bundled one."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where a run's model computes; "auto" takes CUDA when there is one."""
    host: str = "127.0.0.1"
    """Address to listen on. Anybody who can reach it can look."""
    port: int = 7007
    """Port; the next free one when it is taken."""
    share: bool = False
    """Also ask viser's public relay (share.viser.studio) for an address that anybody who has it can open, for a day."""


def main(args: Sequence[str]) -> int:
    given = tyro.cli(View, args=args, prog="gaussiancross view")
    text = None if given.text_vectors is None else TextVectors.load(given.text_vectors)
    report = ConsoleReport(f"opening {given.what}")
    with report:
        source, other = open_source(given, report), open_other(given, report)
        recognizer = open_desk(given.object_model, given.objects, report=report)
    inspector = Inspector(
        source,
        given.host,
        given.port,
        text=text,
        other=other,
        tour=True,
        public=given.share,
        metrics=metrics_of(given),
        recognizer=recognizer,
    )
    try:
        print("Ctrl-C ends it.")
        while True:
            time.sleep(1)
    finally:
        inspector.close()


def metrics_of(given: View) -> Path | None:
    """Where the curves of the run are that ``given.what`` names; None where it names no run."""
    from ...trainers.pretraining.runs import find_checkpoint, run_folder

    path = Path(given.what).expanduser()
    checkpoint = find_checkpoint(path) if path.is_dir() else None
    return None if checkpoint is None else run_folder(checkpoint) / "metrics.jsonl"


def open_source(given: View, report: Report = SILENT) -> SceneSource:
    """What ``given.what`` names, recognised by what is there. The report is told what reading scenes leaves out."""
    path = Path(given.what).expanduser()
    if path.suffix.lower() == ".splat":
        return SplatsSource(read_splat(path), path.stem, path.name)
    if path.suffix.lower() == ".ply":
        if is_splat_ply(path):
            return SplatsSource(read_gaussians(path), path.stem, path.name)
        return PointsSource(read_points(path), path.name)
    if path.is_dir() or bundled_folder(given.what):
        from ...trainers.pretraining.runs import find_checkpoint

        if (checkpoint := find_checkpoint(path)) is not None:
            return _open_run(given, checkpoint, report)
        if is_scenesplat(path):
            return SplatsSource(read_scenesplat(path), path.name, path.name)
    if (path / "coord.npy").is_file():
        return PointsSource(read_pointcept_scene(path), path.name)
    if path.is_file() and path.name != "transforms.json":
        raise InputError(path, "a folder, a .ply or a .splat", "another file")
    dataset = open_scenes(given.what, given.split, report)
    alone = given.field != "lifted" and given.teacher == "none"
    if alone and not isinstance(dataset, Capture):
        return PointsSource(dataset, path.name)  # at once: frames of rooms would have to be rendered first
    frames = dataset.frames(0)
    measured = frames is not None and measures_depth(frames)
    if not measured:
        dataset.scene(0)  # from a file of points; where there is none it is refused here, before the page opens
    if alone or (given.field != "lifted" and given.teacher is None and not measured):
        return PointsSource(dataset, path.name)
    if not measured:
        found = "no frames" if frames is None else "no depth in any of them"
        hint = "give --teacher none to see the points alone"
        raise InputError(dataset.names[0], "posed frames with depth to lift features from", found, hint)
    if given.field != "lifted" and given.teacher in (None, BUILTIN):
        from ...core.device import pick_device
        from ..scenes.bundled import shipped_field

        return shipped_field(dataset, given.what, pick_device(given.device))
    return lifted_source(dataset, given.teacher or BUILTIN, path.name)


def measures_depth(frames: PosedFrames) -> bool:
    """Whether any frame has a pixel with depth, which lifting features needs. Reads frames until one has."""
    return any(bool(frames.read(i, 64, 48).depth.any()) for i in range(len(frames)))


def lifted_source(dataset: SceneDataset, spec: str, name: str) -> SceneSource:
    """The points of scenes with the features of a teacher, lifted from the frames."""
    teacher = make_teacher(spec)
    if teacher is None:
        raise InputError("--teacher", "one whose features can be lifted", spec)
    source = LiftedSource(dataset, teacher, f"{name}, {teacher.info.name} lifted")
    source.calibration = calibration_of(spec, "lifted")
    return source


def is_splat_ply(path: Path) -> bool:
    """Whether the header of a PLY lists what Gaussian splats have. A missing file is left to the reader."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b" f_dc_0" in file.read(1 << 14).partition(b"end_header")[0]


def _open_run(given: View, checkpoint: Path, report: Report) -> SceneSource:
    from ...core.device import pick_device
    from ...trainers.pretraining.runs import load_probe, load_run, run_folder, run_name

    model, config, step = load_run(checkpoint)
    scenes = open_scenes(given.data or config.data.data, given.split, report)
    run, name = run_folder(checkpoint), run_name(checkpoint)
    if given.field == "lifted":
        return lifted_source(scenes, given.teacher or config.data.teacher, name)
    teacher = make_teacher(given.teacher or config.data.teacher)
    probe, title = load_probe(checkpoint), name if step is None else f"step {step} of {name}"
    source = ModelSource(model.to(pick_device(given.device)), scenes, teacher, title, step, probe=probe)
    source.calibration = load_calibration(run / CALIBRATION, "model")
    if step is None or step not in [frame.step for frame in list_frames(run)]:
        return source  # a saved model, or a checkpoint on its own
    newest = Path(given.what).expanduser() != checkpoint
    return TimelineSource(source, run, None if newest else step, title=name)


def open_other(given: View, report: Report = SILENT) -> SceneSource | None:
    """The right side of a comparison: another run on the same scenes."""
    if given.other is None:
        return None
    from ...trainers.pretraining.runs import find_checkpoint, load_run

    left, right = (find_checkpoint(Path(what).expanduser()) for what in (given.what, given.other))
    if left is None or right is None:
        raise InputError(
            given.other if left else given.what, "a run, a checkpoint or a saved model to compare", "none there"
        )
    data = given.data or load_run(left)[1].data.data
    return _open_run(replace(given, what=given.other, data=data), right, report)
