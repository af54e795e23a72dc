"""`gaussiancross query`: ask a scene for things, without a browser. Pictures, PLYs and JSON come out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ...core.errors import InputError
from ...core.io import write_color
from ...core.io.images import read_color
from ...core.query import Answer, Cut, Example, PhraseAnswer, Query, QueryableFeatures, ask, choose_cut, template_for
from ...core.teachers import ImageTeacher, Teacher
from ..query.report import AnswerPictures, PhraseResult, original_rows, write_labels, write_selection
from ..query.search import objects, words_for
from ..render.renderer import Renderer
from ..reporting import ConsoleReport
from ..scenes.open import Field, OpenField, open_field
from ..scenes.source import SceneState

NEAR = 0.05
"""Metres around a position whose features are its example."""


@dataclass(frozen=True)
class QueryCommand:
    """Ask a scene for things: heat maps, the selection and labels as PLY, boxes and scores as JSON.

    SCENE is a run folder, a checkpoint or a saved model ("bundled-rooms"), Gaussians (a 3DGS .ply with feat_*, a
    SceneSplat folder with lang_feat.npy), "rooms:val:3", or any posed capture. Rooms and captures are asked through the
    bundled feature field; with --field lifted, through the teacher's features on the points, without training.
    """

    scene: tyro.conf.Positional[str]
    """What to ask; see above."""
    phrases: tyro.conf.Positional[tuple[str, ...]] = ()
    """What to look for, one phrase each: "a red chair" "a lamp"."""
    negatives: tuple[str, ...] = ()
    """What is not meant; it counts against every phrase."""
    images: tuple[Path, ...] = ()
    """Pictures of things to look for (crops), asked through the image teacher."""
    at: Annotated[tuple[tuple[float, float, float], ...], tyro.conf.UseAppendAction] = ()
    """A position x y z, metres: look for what is like what is there. May be given several times."""
    teacher: str | None = None
    """Whose features these are: "builtin", "clip:…", "precomputed:FOLDER"; a run knows its own. For rooms and
    captures "builtin" by default; another one is lifted onto the points."""
    text_vectors: Path | None = None
    """Words: FILE.npy [V, D] with FILE_names.json, instead of the teacher's text side."""
    field: Literal["auto", "model", "lifted"] = "auto"
    """Features of a model (a run's, or the field that ships), or of its teacher lifted onto the points."""
    data: str | None = None
    """For a run or a model: other scenes than its own."""
    split: Literal["train", "val", "test"] = "val"
    """Which scenes, where there is a choice."""
    index: int = 0
    """Which scene, where there are several, counted from 0."""
    classes: bool = False
    """Every place belongs to one phrase at most, the best; by default each phrase is decided by itself."""
    template: str | None = None
    """What text towers are given, with {} for the phrase; "a photo of a {}" unless they take bare words."""
    threshold: float | None = None
    """Scores above it are selected; None = an automatic one, which is shown."""
    views: int = 3
    """Pictures per phrase."""
    width: int = 480
    """Of a picture, pixels."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where a run's model computes."""
    out: Path = Path("query")
    """Folder for page.png, one .png and .ply per phrase, labels.ply and answer.json."""


def main(args: Sequence[str]) -> int:
    given = tyro.cli(QueryCommand, args=args, prog="gaussiancross query")
    if not (given.phrases or given.images or given.at):
        raise InputError("gaussiancross query", "at least one phrase, --images or --at", "none")
    console = Console()
    with ConsoleReport("asking the scene") as report:
        opened = open_field(
            OpenField(
                given.scene, given.field, given.teacher, given.text_vectors, given.data, given.split, given.index
            ),
            given.device,
            report,
        )
        renderer = Renderer(opened.source)
        state = renderer.load(opened.index)
        answer, findings = answer_of(given, opened, state)
        given.out.mkdir(parents=True, exist_ok=True)
        written = write_answer(given, opened, renderer, state, answer, findings)
    told(console, answer, findings)
    console.print(f"{given.out}: {', '.join(written)}", highlight=False, markup=False)
    return 0 if findings else 1


def answer_of(given: QueryCommand, opened: Field, state: SceneState) -> tuple[Answer, list[PhraseResult]]:
    """Scores of everything that was asked for, and what each phrase that is known found."""
    words = words_for(state, opened.encoder, opened.channels, opened.calibration)
    if isinstance(words, str):
        raise InputError(given.scene, "features that words can be compared with", words.rstrip("."))
    asked = (*given.phrases, *(_crop(path, opened.teacher) for path in given.images), *_positions(given.at, state))
    template = given.template or template_for(words.encoder)
    answer = ask(words, Query(asked, given.negatives, template))
    return answer, findings_of(answer, words, state, given.threshold, given.classes)


def findings_of(
    answer: Answer, words: QueryableFeatures, state: SceneState, threshold: float | None = None, classes: bool = False
) -> list[PhraseResult]:
    """What is selected and grouped for each known phrase.

    Args:
        classes: every Gaussian belongs to the best of the phrases that select it.
    """
    if answer.phrase_scores is None:
        return []
    cuts = [
        choose_cut(s, words.min_threshold(s)) if threshold is None else Cut(threshold, "given", 0.0, 1.0)
        for s in answer.phrase_scores.T
    ]
    best = answer.classes([c.value for c in cuts])
    out = []
    for k, phrase in enumerate(answer.known_phrases):
        scores = answer.phrase_scores[:, k]
        mask = (best == k) if classes else scores > cuts[k].value
        assert phrase.presence is not None
        selected = mask.numpy() if phrase.presence.present else np.zeros(len(scores), bool)
        out.append(PhraseResult(phrase, scores, cuts[k], selected, objects(state, selected, scores)))
    return out


def labels_of(findings: Sequence[PhraseResult], numbers: Sequence[int]) -> NDArray[np.int64]:
    """[N] number of the best phrase that selects each Gaussian, −1 for none."""
    scores = torch.stack([torch.where(torch.from_numpy(f.selected), f.scores, -torch.inf) for f in findings])
    best, which = scores.max(0)
    return np.where(torch.isfinite(best).numpy(), np.asarray(numbers)[which.numpy()], -1)


def write_answer(
    given: QueryCommand,
    opened: Field,
    renderer: Renderer,
    state: SceneState,
    answer: Answer,
    findings: list[PhraseResult],
) -> list[str]:
    """All files; returns their names."""
    table = None
    if opened.ply is not None and state.gaussians is not None:
        table = original_rows(opened.ply, len(state.gaussians))
    names = file_names([p.phrase for p in answer.phrases])
    written, about = [], []
    for number, phrase in enumerate(answer.phrases):
        entry: dict[str, Any] = {"label": number}
        finding = next((f for f in findings if f.answer is phrase), None)
        if finding is None:
            entry |= _unknown(phrase)
        else:
            entry |= finding.about()
            if finding.selected.any():
                entry["ply"] = f"{names[number]}.ply"
                write_selection(given.out / entry["ply"], state, finding.selected, table)
            entry["picture"] = f"{names[number]}.png"
            pictures = AnswerPictures(renderer, opened.index, given.width, "relevancy")
            write_color(given.out / entry["picture"], pictures.phrase(finding, given.views))
            written += [entry[k] for k in ("picture", "ply") if k in entry]
        about.append(entry)
    if findings:
        numbers = [i for i, p in enumerate(answer.phrases) if p.unknown is None]
        write_labels(given.out / "labels.ply", state, labels_of(findings, numbers), table)
        pictures = AnswerPictures(renderer, opened.index, given.width, "relevancy, 0.5 = as any other word")
        write_color(given.out / "page.png", pictures.page(findings))
        written += ["labels.ply", "page.png"]
    report = {
        "format": "gaussiancross-answer",
        "version": 1,
        "scene": given.scene,
        "name": state.name,
        "field": opened.kind,
        "teacher": opened.teacher_name,
        "step": state.step,
        "count": 0 if state.gaussians is None else len(state.gaussians),
        "calibrated": None if opened.calibration is None else opened.calibration._asdict(),
        "phrases": about,
        "negatives": list(given.negatives),
        "unknown_negatives": [str(u) for u in answer.unknown_negatives],
    }
    (given.out / "answer.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return [*written, "answer.json"]


def _unknown(phrase: PhraseAnswer) -> dict[str, Any]:
    assert phrase.unknown is not None
    return {
        "phrase": phrase.phrase,
        "known": False,
        "unknown_word": phrase.unknown.phrase,
        "suggestions": list(phrase.unknown.suggestions),
    }


def file_names(phrases: Sequence[str]) -> list[str]:
    """Different, plain file names without endings; reserved ones are not used."""
    out: list[str] = []
    for phrase in phrases:
        plain = re.sub(r"[^a-z0-9]+", "-", phrase.casefold()).strip("-")[:60] or "phrase"
        name, number = plain, 2
        while name in out or name in ("page", "labels", "answer"):
            name, number = f"{plain}-{number}", number + 1
        out.append(name)
    return out


def told(console: Console, answer: Answer, findings: Sequence[PhraseResult]) -> None:
    """The answer as a table, and what is not known."""
    table = Table("phrase", "", "score", "cut", "threshold", "selected", "objects")
    for f in findings:
        p = f.answer.presence
        assert p is not None
        verdict = "found" if p.present else "not in this scene"
        numbers = (f"{p.score:.2f}", f"{p.cut:.2f}", f"{f.cut.value:.2f} ({f.cut.method})")
        table.add_row(f.answer.phrase, verdict, *numbers, f"{int(f.selected.sum()):,}", str(len(f.objects)))
    if findings:
        console.print(table)
    for unknown in (*(p.unknown for p in answer.phrases), *answer.unknown_negatives):
        if unknown is not None:
            console.print(str(unknown), style="yellow", highlight=False, markup=False)


# --- examples -----------------------------------------------------------------------------------------------------


def _crop(path: Path, teacher: Teacher | None) -> Example:
    if not isinstance(teacher, ImageTeacher):
        raise InputError("--images", "a teacher that can be asked about any image", "none", "give --teacher builtin")
    image = torch.from_numpy(read_color(path)).float()[None] / 255
    return Example(path.stem, teacher.maps(image)[0].flatten(0, 1))


def _positions(at: Sequence[tuple[float, float, float]], state: SceneState) -> list[Example]:
    if not at:
        return []
    from ..scenes.geometry import centers_in_world

    assert state.embeddings is not None
    centers, out = centers_in_world(state), []
    for x, y, z in at:
        distance = np.linalg.norm(centers - np.array([x, y, z]), axis=1)
        near = np.flatnonzero(distance <= max(NEAR, float(np.nanmin(distance))))
        out.append(Example(f"{x:g} {y:g} {z:g}", state.embeddings[torch.from_numpy(near)]))
    return out
