"""Open the scenes that a command line names: runs, saved models, splats, points, captures and rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal

from ...core.data.scene import PointScene, PosedFrames, SceneDataset
from ...core.datasets import Capture, open_scenes, read_pointcept_scene
from ...core.datasets.scenes.capture import Up
from ...core.device import pick_device
from ...core.errors import InputError
from ...core.io.formats import ENDINGS, PointFormat, SplatFormat, find_format, points_of_gaussians
from ...core.io.pretrained import bundled_folder
from ...core.io.scenesplat import is_scenesplat, read_scenesplat
from ...core.io.splat_files import SplatData
from ...core.query import Calibration, TextEncoder, TextVectors
from ...core.query.calibration import NAME, load_calibration
from ...core.report import SILENT, Report
from ...core.teachers import Teacher, make_teacher
from .files import OneScene, prepared
from .lifted import LiftedSource
from .source import ModelSource, PointsSource, SceneSource, SplatsSource, calibration_for

BUILTIN = "builtin"
"""Default teacher."""
DINO = "builtin-dino"
"""The default teacher with a head on a DINOv2."""

BUNDLED = "bundled-rooms"
"""Model of the points of a file."""

FeaturesFrom = Literal["auto", "model", "lifted", "none"]
Device = Literal["auto", "cuda", "cpu"]


@dataclass(frozen=True)
class SceneSpec:
    """Scenes to open, and how to open them.

    Attributes:
        what: path or name: a run folder, checkpoint, saved model or "bundled-rooms"; a file of splats or points
            (`core.io.formats`) or a SOG folder; a SceneSplat folder; a capture; a Pointcept scene or folder;
            "rooms:COUNT" or "rooms:val:3".
        index: scene index, from 0.
        features_from: a "model", a teacher whose features are "lifted" onto the points, "none" for the points alone;
            "auto" takes the run's or the bundled model.
        teacher: spec of the teacher; by default the run's own or `BUILTIN`.
        text_vectors: text vectors to use instead of the teacher's text encoder.
        data: other scenes for a run or saved model.
        split: split of a data set.
        device: device of the model.
        needs_features: refuse scenes without features instead of opening their points.
        up: axis that points up in a file whose points a model encodes.
    """

    what: str
    index: int = 0
    features_from: FeaturesFrom = "auto"
    teacher: str | None = None
    text_vectors: Path | None = None
    data: str | None = None
    split: str = "val"
    device: Device = "auto"
    needs_features: bool = False
    up: Up = "auto"


@dataclass(frozen=True)
class OpenScene:
    """Opened scenes, and the encoders for queries of their features.

    Attributes:
        source: the scenes.
        index: index of the requested scene.
        kind: origin of the features: a "model", "lifted" from a teacher, a "file", or "none".
        teacher: image encoder, or None.
        encoder: text encoder, or None.
        channels: names of class channels, or None.
        calibration: presence cut that was fitted to these features, or None.
        ply: the splat PLY that the Gaussians were read from, or None.
        run: folder of the run that the model belongs to, or None.
    """

    source: SceneSource
    index: int = 0
    kind: Literal["model", "lifted", "file", "none"] = "none"
    teacher: Teacher | None = None
    encoder: TextEncoder | None = None
    channels: Sequence[str] | None = None
    calibration: Calibration | None = None
    ply: Path | None = None
    run: Path | None = None

    @property
    def teacher_name(self) -> str | None:
        """The teacher's own name, or None without one."""
        return None if self.teacher is None else self.teacher.info.name


def open_scene(spec: SceneSpec, report: Report = SILENT) -> OpenScene:
    """Open ``spec.what``, recognised by what is on disk. `SceneSource.load` computes the features when asked.

    Args:
        report: receives the progress of reading and lifting, and notices about data left out.

    Raises:
        InputError: nothing that can be opened, no scene ``spec.index``, or no features where they are needed.
    """
    path = Path(spec.what).expanduser()
    form = find_format(path)
    if isinstance(form, SplatFormat):
        data = form.read(path)
        if spec.needs_features and spec.features_from == "model":
            return _open_encoded(spec, points_of_gaussians(data.gaussians, path.stem), path, report)
        return _open_splats(spec, data, path, form.name == "INRIA PLY")
    if isinstance(form, PointFormat) and (path.is_file() or not path.exists()):
        scene = form.read(path)
        if spec.needs_features:
            return _open_encoded(spec, scene, path, report)
        return _checked(spec, OpenScene(PointsSource(scene, path.name), spec.index))
    if path.is_dir() or bundled_folder(spec.what):
        from ...trainers.pretraining.runs import find_checkpoint

        if (checkpoint := find_checkpoint(path)) is not None:
            return _open_run(spec, checkpoint, report)
        if is_scenesplat(path):
            return _open_splats(spec, SplatData(read_scenesplat(path)), path)
    if not spec.needs_features and (path / "coord.npy").is_file():
        return _checked(spec, OpenScene(PointsSource(read_pointcept_scene(path), path.name), spec.index))
    if path.is_file() and path.name != "transforms.json":
        raise InputError(path, f"a folder, or a file ending in {', '.join(ENDINGS)}", "another file")
    return _open_dataset(spec, _scenes(spec, spec.what, report))


def open_comparison(spec: SceneSpec, other: str, report: Report = SILENT) -> SceneSource:
    """The run, checkpoint or saved model ``other`` on the scenes of the run ``spec.what``.

    Raises:
        InputError: one of the two is no run, checkpoint or saved model.
    """
    from ...trainers.pretraining.runs import find_checkpoint, load_run

    left, right = (find_checkpoint(Path(what).expanduser()) for what in (spec.what, other))
    if left is None or right is None:
        raise InputError(other if left else spec.what, "a run, a checkpoint or a saved model to compare", "none there")
    data = spec.data or load_run(left)[1].data.data
    return _open_run(replace(spec, what=other, data=data), right, report).source


# --- files, runs, datasets ----------------------------------------------------------------------------------------


def _open_encoded(spec: SceneSpec, scene: PointScene, path: Path, report: Report) -> OpenScene:
    """The points of a file with the features of the bundled model, which needs points alone."""
    from ...trainers.pretraining.runs import find_checkpoint

    if spec.features_from == "lifted":
        raise InputError(path, "posed frames with depth to lift features from", "points alone", "query a capture")
    checkpoint = find_checkpoint(Path(BUNDLED))
    assert checkpoint is not None
    report.notice(f"{scene.name}: features of {BUNDLED}, which has seen procedural rooms alone")
    return _open_run(spec, checkpoint, report, OneScene(prepared(scene.validated(), path, spec.up, report), report))


def _open_splats(spec: SceneSpec, data: SplatData, path: Path, is_inria: bool = False) -> OpenScene:
    gaussians, is_folder = data.gaussians, path.is_dir()
    if spec.needs_features and gaussians.features is None:
        expected = "features as lang_feat.npy" if is_folder else "features as properties feat_0, feat_1, …"
        raise InputError(
            path,
            expected,
            "none",
            "write them with `gaussiancross export --features`, query the capture, or add --features-from model",
        )
    # Queries compare on the CPU; the viewer renders on CUDA if there is one.
    device = "cpu" if spec.needs_features else None
    source = SplatsSource(
        gaussians, path.name if is_folder else path.stem, path.name, device=device, sh=data.sh, labels=data.labels
    )
    teacher = None if spec.teacher is None or not spec.needs_features else _teacher(spec.teacher)
    return _checked(
        spec,
        OpenScene(
            source,
            spec.index,
            "none" if gaussians.features is None else "file",
            teacher,
            _text_vectors(spec) or getattr(teacher, "text", None),
            getattr(teacher, "channels", None),
            ply=path if is_inria else None,
        ),
    )


def _open_run(spec: SceneSpec, checkpoint: Path, report: Report, dataset: SceneDataset | None = None) -> OpenScene:
    """A run on ``dataset``, by default on the scenes that ``spec`` names or that it was trained on."""
    from ...trainers.pretraining.runs import load_probe, load_run, run_folder, run_name
    from ...trainers.pretraining.timeline import list_frames
    from .timeline import TimelineSource

    model, config, step = load_run(checkpoint)
    run, name = run_folder(checkpoint), run_name(checkpoint)
    if dataset is None:
        dataset = _scenes(spec, spec.data or config.data.data, report)
    if spec.features_from == "none":
        return OpenScene(PointsSource(dataset, name), spec.index, run=run)
    teacher_spec = spec.teacher or config.data.teacher
    if spec.needs_features and _is_none(teacher_spec):
        raise InputError(spec.what, "a run that was trained with a teacher", "none", "give --teacher")
    if spec.features_from == "lifted":
        return replace(_open_lifted(spec, dataset, teacher_spec, name), run=run)
    teacher = _teacher(teacher_spec) if spec.needs_features else make_teacher(teacher_spec)
    title = name if step is None else f"step {step} of {name}"
    source = ModelSource(
        model.to(pick_device(spec.device)), dataset, teacher, title, step, probe=load_probe(checkpoint)
    )
    source.calibration = calibration_for(dataset, load_calibration(run / NAME, "model"))
    opened = OpenScene(
        source,
        spec.index,
        "model",
        teacher,
        _text_vectors(spec) or source.text,
        source.channels,
        None if spec.text_vectors is not None else source.calibration,
        run=run,
    )
    if spec.needs_features or step is None or step not in [frame.step for frame in list_frames(run)]:
        return opened  # a saved model, or a checkpoint without a timeline
    is_newest = Path(spec.what).expanduser() != checkpoint
    return replace(opened, source=TimelineSource(source, run, None if is_newest else step, title=name))


def _open_dataset(spec: SceneSpec, dataset: SceneDataset) -> OpenScene:
    """Points, lifted features or the bundled feature field, depending on ``spec`` and on the depth of the frames."""
    name = Path(spec.what).expanduser().name
    points = OpenScene(PointsSource(dataset, name), spec.index)
    wants_lifted = spec.features_from == "lifted"
    wants_points = spec.features_from == "none" or (not wants_lifted and spec.teacher == "none")
    if spec.needs_features:
        wants_points = False
        if spec.features_from == "model" and spec.teacher not in (None, BUILTIN):
            raise InputError(spec.what, "a run, for features of a model of that teacher", "scenes without one")
        if spec.teacher is not None and _is_none(spec.teacher):
            raise InputError("--teacher", "one that has features", spec.teacher)
    if wants_points and not isinstance(dataset, Capture):
        return points  # without looking at frames: those of rooms would have to be rendered first
    frames = dataset.frames(spec.index)
    has_depth = frames is not None and _measures_depth(frames)
    if not has_depth and not spec.needs_features:
        dataset.scene(spec.index)  # from a file of points; without one it is refused here
        if wants_points or (not wants_lifted and spec.teacher is None):
            return points
    if wants_points:
        return points
    if not has_depth:
        hint = "give --teacher none to see the points alone"
        if spec.needs_features:
            hint = "put the RGB-D exports beside the points, or query a run: `gaussiancross query RUN --data …`"
        found = "no frames" if frames is None else "no depth in any of them"
        raise InputError(dataset.names[spec.index], "posed frames with depth to lift features from", found, hint)
    if wants_lifted or spec.teacher not in (None, BUILTIN) or spec.text_vectors is not None:
        return _open_lifted(spec, dataset, spec.teacher or BUILTIN, name)
    from .bundled import open_bundled_field

    source = open_bundled_field(dataset, spec.what, pick_device(spec.device))
    source.opens_on_points = isinstance(dataset, Capture)  # its points are sharper than a model's first guess
    return OpenScene(source, spec.index, "model", source.teacher, source.text, None, source.calibration)


def _open_lifted(spec: SceneSpec, dataset: SceneDataset, teacher_spec: str, name: str) -> OpenScene:
    """The points of scenes with the features of a teacher, lifted from the frames."""
    teacher = _teacher(teacher_spec)
    source = LiftedSource(dataset, teacher, f"{name}, {teacher.info.name} lifted")
    source.calibration = calibration_for(dataset, load_lifted_calibration(teacher_spec))
    return OpenScene(
        source,
        spec.index,
        "lifted",
        teacher,
        _text_vectors(spec) or source.text,
        source.channels,
        None if spec.text_vectors is not None else source.calibration,
    )


def _scenes(spec: SceneSpec, data: str, report: Report) -> SceneDataset:
    dataset = open_scenes(data, spec.split, report)
    _check_index(spec.index, len(dataset))
    return dataset


def _checked(spec: SceneSpec, opened: OpenScene) -> OpenScene:
    _check_index(spec.index, len(opened.source.scene_names))
    return opened


def _check_index(index: int, count: int) -> None:
    if count == 0:
        raise InputError("--split", "one with scenes", "none in it")
    if not 0 <= index < count:
        raise InputError("--index", f"0 to {count - 1}", str(index))


def _measures_depth(frames: PosedFrames) -> bool:
    """Whether any frame has a pixel with depth, which lifting features needs. Reads frames until one has."""
    return any(bool(frames.read(i, 64, 48).depth.any()) for i in range(len(frames)))


# --- teachers and text --------------------------------------------------------------------------------------------


def _teacher(spec: str) -> Teacher:
    teacher = make_teacher(spec)
    if teacher is None:
        raise InputError("--teacher", "one that has features", spec)
    return teacher


def _is_none(teacher_spec: str) -> bool:
    return teacher_spec.strip() in ("", "none")


def _text_vectors(spec: SceneSpec) -> TextVectors | None:
    return None if spec.text_vectors is None else TextVectors.load(spec.text_vectors)


def lifted_calibration_path(teacher_spec: str) -> Path | None:
    """File of the presence cut of a built-in teacher's lifted features; None for other teachers."""
    kind, _, folder = teacher_spec.partition(":")
    if kind == DINO:
        return Path(str(files("gaussiancross.assets"))) / f"builtin_dino.{NAME}"
    if kind != BUILTIN:
        return None
    root = Path(folder).expanduser() if folder else Path(str(files("gaussiancross.assets")))
    return root / f"{BUILTIN}.{NAME}"


def load_lifted_calibration(teacher_spec: str) -> Calibration | None:
    """The presence cut that was fitted to a teacher's lifted features, or None."""
    path = lifted_calibration_path(teacher_spec)
    return None if path is None else load_calibration(path, "lifted")
