"""`gaussiancross query`: search a scene for phrases, images or places; writes pictures, PLYs and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from ...core.datasets.scenes.capture import Up
from ...core.errors import InputError
from ...core.query import Answer, Query, ask, template_for
from ..query.answer import PhraseResult, image_example, position_examples, select_phrases
from ..query.report import write_report
from ..query.search import words_for
from ..render.renderer import Renderer
from ..reporting import ConsoleReport
from ..scenes.open import OpenScene, SceneSpec, open_scene
from ..scenes.source import SceneState


@dataclass(frozen=True)
class QueryCommand:
    """Search a scene: writes heat maps, the selection and labels as PLY, boxes and scores as JSON.

    SCENE is a run folder, a checkpoint or a saved model ("bundled-rooms"), Gaussians with features (.ply, .glb, a
    SceneSplat folder), a file of points, "rooms:val:3", or any posed capture. Rooms and captures use the bundled
    feature field; with --features-from lifted, the teacher's features lifted onto the points. Points use bundled-rooms.
    """

    scene: tyro.conf.Positional[str]
    """Scene to search; see above."""
    phrases: tyro.conf.Positional[tuple[str, ...]] = ()
    """Phrases to search for, e.g. "a red chair" "a lamp"."""
    negatives: tuple[str, ...] = ()
    """Phrases that count against every searched phrase."""
    images: tuple[Path, ...] = ()
    """Pictures (crops) of objects to search for; needs an image teacher."""
    at: Annotated[tuple[tuple[float, float, float], ...], tyro.conf.UseAppendAction] = ()
    """Position x y z (m) of an example to search for; may be repeated."""
    teacher: str | None = None
    """Teacher of the features: "builtin", "clip:…" or "precomputed:FOLDER"; by default the run's own, or "builtin"."""
    text_vectors: Path | None = None
    """Text vectors FILE.npy [V, D], their texts in FILE_names.json, instead of the teacher's text encoder."""
    features_from: Annotated[Literal["auto", "model", "lifted"], tyro.conf.arg(aliases=("--field",))] = "auto"
    """Features of the run's or the bundled model, or of the teacher lifted onto the points."""
    data: str | None = None
    """Other scenes for a run or a saved model."""
    split: Literal["train", "val", "test"] = "val"
    """Scenes of a data set with splits."""
    index: int = 0
    """Scene index, counted from 0."""
    up: Up = "auto"
    """Axis that points up in a file of points; "auto" guesses it and says so."""
    classes: bool = False
    """Assign every point to its best phrase only; by default phrases are selected independently."""
    template: str | None = None
    """Prompt for text towers, with {} for the phrase; by default "a photo of a {}", or the bare phrase."""
    threshold: float | None = None
    """Select scores above this value; by default an automatic threshold, which is printed."""
    views: int = 3
    """Pictures per phrase."""
    width: int = 480
    """Width of a picture, pixels."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device of the model; "auto" takes CUDA if available."""
    out: Path = Path("query")
    """Output folder: page.png, one .png and .ply per phrase, labels.ply and answer.json."""

    def scene_spec(self) -> SceneSpec:
        """The scene to open."""
        return SceneSpec(
            self.scene,
            self.index,
            self.features_from,
            self.teacher,
            self.text_vectors,
            self.data,
            self.split,
            self.device,
            needs_features=True,
            up=self.up,
        )


def main(args: Sequence[str]) -> int:
    options = tyro.cli(QueryCommand, args=args, prog="gaussiancross query")
    if not (options.phrases or options.images or options.at):
        raise InputError("gaussiancross query", "at least one phrase, --images or --at", "none")
    console = Console()
    with ConsoleReport("searching the scene") as report:
        opened = open_scene(options.scene_spec(), report)
        renderer = Renderer(opened.source)
        state = renderer.load(opened.index)
        answer, results = run_query(options, opened, state)
        options.out.mkdir(parents=True, exist_ok=True)
        files = write_report(
            options.out,
            opened,
            renderer,
            answer,
            results,
            options.scene,
            options.negatives,
            options.views,
            options.width,
        )
    print_answer(console, answer, results)
    console.print(f"{options.out}: {', '.join(files)}", highlight=False, markup=False)
    return 0 if results else 1


def run_query(options: QueryCommand, opened: OpenScene, state: SceneState) -> tuple[Answer, list[PhraseResult]]:
    """Scores for all phrases and examples, and the selection for each of the known ones."""
    features = words_for(state, opened.encoder, opened.channels, opened.calibration)
    if isinstance(features, str):
        raise InputError(options.scene, "features that text can be compared with", features.rstrip("."))
    images = [image_example(path, opened.teacher) for path in options.images]
    targets = (*options.phrases, *images, *position_examples(options.at, state))
    template = options.template or template_for(features.encoder)
    answer = ask(features, Query(targets, options.negatives, template))
    return answer, select_phrases(answer, features, state, options.threshold, options.classes)


def print_answer(console: Console, answer: Answer, results: Sequence[PhraseResult]) -> None:
    """Print a table of the phrases, and a sentence for each unknown one."""
    table = Table("phrase", "", "score", "cut", "threshold", "selected", "objects")
    for result in results:
        presence = result.answer.presence
        assert presence is not None
        threshold = f"{result.cut.value:.2f} ({result.cut.method})"
        numbers = (f"{presence.score:.2f}", f"{presence.cut:.2f}", threshold)
        count, objects = f"{int(result.selected.sum()):,}", str(len(result.objects))
        table.add_row(result.answer.phrase, presence.verdict, *numbers, count, objects)
    if results:
        console.print(table)
    for doubt in dict.fromkeys(r.answer.presence.doubt for r in results if r.answer.presence is not None):
        if doubt:
            console.print(f"No phrase is called absent: {doubt}.", style="yellow", highlight=False, markup=False)
    for unknown in (*(p.unknown for p in answer.phrases), *answer.unknown_negatives):
        if unknown is not None:
            console.print(str(unknown), style="yellow", highlight=False, markup=False)
