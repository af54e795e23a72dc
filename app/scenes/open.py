"""Scenes that words can be compared with: whatever a person names, opened as features on Gaussians or points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from ...core.data.scene import SceneDataset
from ...core.datasets import open_scenes
from ...core.errors import InputError
from ...core.io import read_gaussians
from ...core.io.pretrained import bundled_folder
from ...core.io.scenesplat import is_scenesplat, read_scenesplat
from ...core.query import Calibration, TextEncoder, TextVectors
from ...core.query.calibration import NAME, load_calibration
from ...core.report import SILENT, Report
from ...core.teachers import Teacher, make_teacher
from .lifted import LiftedSource
from .source import SceneSource, SplatsSource

BUILTIN = "builtin"
"""The teacher of scenes that name none."""

Kind = Literal["model", "lifted", "file"]
Device = Literal["auto", "cuda", "cpu"]


@dataclass(frozen=True)
class OpenField:
    """What to open; see `commands.query.QueryCommand` for the words."""

    what: str
    field: Literal["auto", "model", "lifted"] = "auto"
    teacher: str | None = None
    text_vectors: Path | None = None
    data: str | None = None
    split: str = "val"
    index: int = 0


@dataclass(frozen=True)
class Field:
    """Features of a scene and the words to ask for them.

    Attributes:
        source: of the scene. index: which of its scenes.
        kind: where the features come from: a run's "model", "lifted" from a teacher, or a "file".
        teacher: the image side, or None. teacher_name: as it calls itself, or None.
        encoder: the text side, or None. channels: names of class channels, or None.
        calibration: fitted for these features, or None.
        ply: the file that the Gaussians came from, or None.
    """

    source: SceneSource
    index: int
    kind: Kind
    teacher: Teacher | None
    encoder: TextEncoder | None
    channels: Sequence[str] | None
    calibration: Calibration | None
    ply: Path | None = None

    @property
    def teacher_name(self) -> str | None:
        return None if self.teacher is None else self.teacher.info.name


def open_field(given: OpenField, device: Device = "auto", report: Report = SILENT) -> Field:
    """What ``given.what`` names, recognised by what is there. No features yet: `Field.source` computes them when asked.

    Args:
        device: of a run's model.
        report: told the progress of reading and lifting, and what reading leaves out.

    Raises:
        InputError: nothing of the kind, or nothing to compare words with.
    """
    from ...trainers.pretraining.runs import find_checkpoint

    path = Path(given.what).expanduser()
    vectors = None if given.text_vectors is None else TextVectors.load(given.text_vectors)
    if path.suffix.lower() == ".ply" or (path.is_dir() and is_scenesplat(path)):
        return _still(given, path, vectors)
    if (path.is_dir() or bundled_folder(given.what)) and (checkpoint := find_checkpoint(path)) is not None:
        return _run(given, checkpoint, vectors, device, report)
    dataset = open_scenes(given.what, given.split, report)
    if given.field != "lifted" and given.teacher in (None, BUILTIN) and vectors is None:
        return _shipped(given.what, dataset, given.index, device)
    if given.field == "model":
        raise InputError(given.what, "a run, for the field of a model of that teacher", "scenes without one")
    teacher = _named(given.teacher or BUILTIN)
    return _lifted(dataset, teacher, given.index, given.teacher or BUILTIN, vectors)


def _named(spec: str) -> Teacher:
    teacher = make_teacher(spec)
    if teacher is None:
        raise InputError("--teacher", "one that has features", spec)
    return teacher


def _still(given: OpenField, path: Path, vectors: TextVectors | None) -> Field:
    gaussians = read_scenesplat(path) if path.is_dir() else read_gaussians(path)
    if gaussians.features is None:
        expected = "features as lang_feat.npy" if path.is_dir() else "features as properties feat_0, feat_1, …"
        raise InputError(
            path, expected, "none", "write them with `gaussiancross export --features`, or ask the capture instead"
        )
    teacher = None if given.teacher is None else _named(given.teacher)
    encoder = vectors or getattr(teacher, "text", None)
    source = SplatsSource(gaussians, path.stem, path.name, device="cpu")
    ply = None if path.is_dir() else path
    channels = getattr(teacher, "channels", None)
    return Field(source, 0, "file", teacher, encoder, channels, None, ply)


def _shipped(data: str, dataset: SceneDataset, index: int, device: Device) -> Field:
    from ...core.device import pick_device
    from .bundled import shipped_field

    _checked_index(index, len(dataset))
    if not dataset.frames(index):  # the model would take zeros for what it lifts from them, and answer all the same
        hint = "put the RGB-D exports beside the points, or ask a run: `gaussiancross query RUN --data …`"
        raise InputError(dataset.names[index], "posed frames, which the field that ships is made of", "none", hint)
    source = shipped_field(dataset, data, pick_device(device))
    return Field(source, index, "model", source.teacher, source.text, None, source.calibration)


def _lifted(
    dataset,
    teacher: Teacher,
    index: int,
    spec: str,
    vectors: TextVectors | None,
) -> Field:
    source = LiftedSource(dataset, teacher, f"{teacher.info.name}, lifted")
    _checked_index(index, len(dataset))
    encoder = vectors or source.text
    calibration = None if vectors is not None else calibration_of(spec, "lifted")
    return Field(source, index, "lifted", teacher, encoder, source.channels, calibration)


def _run(
    given: OpenField,
    checkpoint: Path,
    vectors: TextVectors | None,
    device: Device,
    report: Report,
) -> Field:
    from ...core.device import pick_device
    from ...trainers.pretraining.runs import load_run, run_folder, run_name
    from .source import ModelSource

    model, config, step = load_run(checkpoint)
    index, spec = given.index, given.teacher or config.data.teacher
    dataset = open_scenes(given.data or config.data.data, given.split, report)
    if _is_none(spec):
        raise InputError(given.what, "a run that was trained with a teacher", "none", "give --teacher")
    teacher = _named(spec)
    if given.field == "lifted":
        return _lifted(dataset, teacher, index, spec, vectors)
    _checked_index(index, len(dataset))
    run = run_folder(checkpoint)
    title = run_name(checkpoint) if step is None else f"step {step} of {run_name(checkpoint)}"
    source = ModelSource(model.to(pick_device(device)), dataset, teacher, title, step or 0)
    encoder = vectors or getattr(teacher, "text", None)
    calibration = None if vectors is not None else load_calibration(run / NAME, "model")
    return Field(source, index, "model", teacher, encoder, source.channels, calibration)


def _is_none(spec: str) -> bool:
    """Whether a teacher's name means none."""
    return spec.strip() in ("", "none")


def calibration_path(spec: str) -> Path | None:
    """Where the calibration of a teacher's own features lies; None for teachers without a folder of ours."""
    kind, _, folder = spec.partition(":")
    if kind != BUILTIN:
        return None
    root = Path(folder).expanduser() if folder else Path(str(files("gaussiancross.assets")))
    return root / f"{BUILTIN}.{NAME}"


def calibration_of(spec: str, field: str) -> Calibration | None:
    """The cut for "not in this scene" that was fitted for a teacher's lifted features, or None."""
    path = calibration_path(spec)
    return None if path is None else load_calibration(path, field)


def _checked_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise InputError("--index", f"0 to {count - 1}", str(index))
