"""Text queries in held-out rooms with lifted and trained features: hits, IoU, and detection of absent objects.

Queries: names of objects with at least 100 points; names of the vocabulary that are absent from the room; colour and
name ("red chair") if the room has several objects of that name.

Scores: "hit", the best point lies on a correct object; "iou" of the automatic selection; "absent AUC" of the peak
relevancy of present against absent names. The trained features are those of `--run`, by default of the bundled feature
field.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from rich.progress import Progress
from torch import Tensor

from ..app.query.answer import select_phrases
from ..app.query.pictures import AnswerPictures
from ..app.render.draw import Cell, sheet
from ..app.render.renderer import Renderer
from ..app.scenes.bundled import bundled_field_folder
from ..app.scenes.geometry import world_gaussians
from ..app.scenes.lifted import lifted_state
from ..app.scenes.open import BUILTIN, OpenScene, SceneSpec, lifted_calibration_path, open_scene
from ..app.scenes.source import SceneState
from ..core.datasets.rooms import Rooms
from ..core.errors import InputError
from ..core.features.lifting import Lifted
from ..core.io.images import write_color
from ..core.query import PRESENT, Calibration, Query, QueryableFeatures, ask, template_for
from ..core.query.calibration import NAME, load_calibration, save_calibration, update_domain
from ..core.query.domain import Domain, sample
from ..core.synthetic.rooms import build_room
from ..core.synthetic.rooms.captions import describe
from ._machine import environment, markdown, write_report
from ._vocabulary import RoomTruth, Tally, at_points, calibrated, examine

WANTED = {"hit": 0.85, "iou": 0.45, "absent_auc": 0.9, "color_hit": 0.75}
TITLES = {
    "hit": "best point on a right thing",
    "iou": "IoU of the selection, mean",
    "absent_auc": "absent things, ROC AUC",
    "color_hit": "colour and name, best point right",
    "accepted": "calibrated cut: present accepted",
    "rejected": "calibrated cut: absent rejected",
}


@dataclass(frozen=True)
class OpenVocabulary:
    """Query rooms of the validation split for present and absent things."""

    run: Path | None = None
    """Run folder of a model trained with the teacher; None: the bundled feature field."""
    teacher: str = "builtin"
    """Teacher whose features are lifted and whose text encoder is used."""
    rooms: int = 20
    """Number of rooms."""
    split: Literal["val", "test"] = "val"
    """Split of the rooms; calibration uses the other one."""
    calibrate: bool = False
    """First fit the threshold of presence on the other split's rooms, and store it beside the models."""
    domain_only: bool = False
    """With --calibrate: keep the stored cuts, and fit the domain alone; measures nothing."""
    calibration_rooms: int = 12
    """Number of rooms for calibration."""
    calibration_out: Path | None = None
    """Folder for calibrations; None: beside the models."""
    pictures: int = 6
    """Number of queries to draw."""
    out: Path = Path("bench")
    """Folder for open_vocabulary.json, .md and .png."""


def main() -> int:
    args = tyro.cli(OpenVocabulary)
    kinds = ["lifted", "model"] if args.run is not None or args.teacher == BUILTIN else ["lifted"]
    where = {kind: _calibration_file(args, kind) for kind in kinds}
    started = time.perf_counter()
    with Progress() as bar:
        if args.calibrate:
            other = "test" if args.split == "val" else "val"
            fitted, _ = measure(args, other, args.calibration_rooms, kinds, bar, 0)
            for kind in kinds:
                _store(where[kind], kind, fitted[kind], args, other)
            if args.domain_only:
                return 0
        tallies, pictures = measure(args, args.split, args.rooms, kinds, bar, args.pictures)
    summaries, cuts = {}, {}
    for kind in kinds:
        path = where[kind]
        cuts[kind] = (load_calibration(path, kind) if path is not None else None) or Calibration(PRESENT, float("nan"))
        summaries[kind] = tallies[kind].summary(cuts[kind].cut)
    rows = [
        (title, *(f"{summaries[k][key]:.3f}" for k in kinds), f"at least {WANTED[key]}" if key in WANTED else "")
        for key, title in TITLES.items()
    ]
    rows.append(("the cut", *(f"{cuts[k].cut:.3f}" for k in kinds), ""))
    for key in ("queries", "absent_queries", "color_queries"):
        rows.append((key.replace("_", " "), *(f"{summaries[k][key]:.0f}" for k in kinds), ""))
    report = {
        "environment": environment(torch.device("cpu")),
        "teacher": args.teacher,
        "run": "bundled" if args.run is None else args.run.name,
        "split": args.split,
        "rooms": args.rooms,
        "seconds": time.perf_counter() - started,
        "fields": summaries,
        "cuts": {k: c.cut for k, c in cuts.items()},
        "unknown": sorted(tallies["lifted"].unknown),
        "by_name": {k: {n: list(v) for n, v in tallies[k].by_name().items()} for k in kinds},
        "wrong": {k: [[room, phrase] for room, phrase, hit in tallies[k].hits if not hit] for k in kinds},
        "wrong_colors": {k: [[room, phrase] for room, phrase, hit in tallies[k].colors if not hit] for k in kinds},
    }
    titles = {"lifted": f"{args.teacher}, lifted", "model": "trained"}
    write_report(args.out, "open_vocabulary", report, markdown(("", *(titles[k] for k in kinds), "wanted"), rows))
    if pictures:
        columns = ["scene", *(titles[k] for k in kinds)]
        names = [phrase for phrase, _ in pictures]
        write_color(args.out / "open_vocabulary.png", sheet([c for _, c in pictures], columns, names, 1500, 4 / 3, 16))
    return 0


def measure(
    args: OpenVocabulary, split: str, count: int, kinds: list[str], bar: Progress, draw: int
) -> tuple[dict[str, Tally], list[tuple[str, list[Cell]]]]:
    """Query the first rooms of a split.

    Returns:
        kind of features → results; (phrase, cells of a row) of up to ``draw`` queries.
    """
    rooms = Rooms(split, count)
    tallies, pictures = {kind: Tally() for kind in kinds}, []
    task = bar.add_task(f"{split} rooms", total=count)
    opened = {}
    for kind in kinds:
        path = _calibration_file(args, kind)
        fitted = None if path is None else load_calibration(path, kind)
        opened[kind] = replace(_open(args, kind, f"rooms:{count}", split), calibration=fitted)
    for index in range(count):
        scene = rooms.scene(index)
        truth = RoomTruth.of(scene, describe(build_room(rooms.seed(index))))
        states: dict[str, SceneState] = {}
        for kind, one in opened.items():
            states[kind] = state = one.source.load(index)
            features = _features(state, scene.coord)
            if not draw:
                tallies[kind].scenes.append(sample(features))
            if args.domain_only:
                continue
            words = _words(one, features)
            examine(truth, words, tallies[kind], rules=not draw)
        if len(pictures) < draw:
            named = [q.phrase for q in truth.questions() if q.kind == ("color" if index % 3 == 2 else "present")]
            if named:
                phrase = named[int(np.random.default_rng(index).integers(len(named)))]
                pictures.append((phrase, _row(truth, opened, states, phrase, index)))
        bar.update(task, advance=1)
    return tallies, pictures


def _open(options: OpenVocabulary, kind: str, data: str, split: str) -> OpenScene:
    if kind == "lifted":
        return open_scene(
            SceneSpec(data, features_from="lifted", teacher=options.teacher, split=split, needs_features=True)
        )
    if options.run is None:
        return open_scene(SceneSpec(data, features_from="model", split=split, needs_features=True))
    spec = SceneSpec(str(options.run), features_from="model", data=data, split=split, needs_features=True)
    opened = open_scene(spec)
    if opened.encoder is None:
        raise InputError(str(options.run), "a run whose teacher has a text side", "another")
    return opened


def _features(state: SceneState, coord: np.ndarray) -> Tensor:
    """Return the features of the scene's points, in order."""
    assert state.gaussians is not None and state.embeddings is not None
    if state.lift is None:
        return state.embeddings  # lifted onto these very points
    return at_points(world_gaussians(state), state.embeddings, coord)


def _words(opened: OpenScene, features: Tensor) -> QueryableFeatures:
    return QueryableFeatures.build(features, opened.encoder, opened.channels, opened.calibration)


def _row(
    truth: RoomTruth, opened: dict[str, OpenScene], states: dict[str, SceneState], phrase: str, index: int
) -> list[Cell]:
    """Draw the room, seen where the lifted features match the phrase, and heat maps of all features at its points."""
    cells: list[Cell] = []
    view = None
    for kind, one in opened.items():
        features = _features(states[kind], truth.scene.coord)
        lifted = Lifted(features, torch.ones(len(features), dtype=torch.int32))
        state = lifted_state(truth.scene, states[kind].frames, lifted)
        renderer = Renderer(_StaticSource(state))
        renderer.load(0)
        words = _words(one, features)
        answer = ask(words, Query((phrase,), template=template_for(words.encoder)))
        found = select_phrases(answer, words, state)
        if not found:
            return [Cell(None, "unknown")] * (1 + len(opened))
        pictures = AnswerPictures(renderer, 0, 480, "")
        view = view or pictures.best(found[0], 1)[0]
        if not cells:
            cells.append(pictures.scene_cell(*view))
        cells.append(pictures.heat_cell(found[0], view[0]))
    return cells


class _StaticSource:
    """Scene source with one fixed state."""

    title, class_names = "room", ()

    def __init__(self, state: SceneState) -> None:
        self.scene_names, self._state = (state.name,), state

    def step(self) -> None:
        return None

    def load(self, index: int) -> SceneState:
        return self._state

    def teacher_features(self, index: int, frame: int) -> None:
        return None


def _calibration_file(args: OpenVocabulary, kind: str) -> Path | None:
    if kind == "model":
        return (args.calibration_out or args.run or bundled_field_folder()) / NAME
    own = lifted_calibration_path(args.teacher)
    return own if args.calibration_out is None or own is None else args.calibration_out / own.name


def _store(path: Path | None, kind: str, tally: Tally, args: OpenVocabulary, split: str) -> None:
    data = f"rooms:{split}, the first {args.calibration_rooms}"
    if args.domain_only:
        if path is None or not update_domain(path, kind, Domain.fit(tally.scenes), data):
            raise InputError(f"{path}, entry {kind}", "a calibration to keep", "none")
        return
    fitted = calibrated(tally, data)
    print(f"{kind}: {fitted.numbers()}, on {data}")
    if path is None:
        raise InputError(f"--teacher {args.teacher}", "builtin, or --calibration-out", "no folder for its calibration")
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "present": len(tally.there),
        "absent": len(tally.absent),
        "command": "gaussiancross bench open_vocabulary --calibrate",
    }
    save_calibration(path, kind, fitted, about)


if __name__ == "__main__":
    raise SystemExit(main())
