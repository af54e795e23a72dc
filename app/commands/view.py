"""`gaussiancross view`: show a run, a capture, a scene or splats in the browser."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ...core.io.pretrained import BUNDLED_CLIPGS
from ...core.query import TextVectors
from ..inspector import Inspector
from ..objects.gallery import open_recognizer
from ..reporting import ConsoleReport
from ..scenes.open import SceneSpec, open_comparison, open_scene


@dataclass(frozen=True)
class View:
    """Show a run, a capture, a scene or splats in the browser.

    WHAT is a run folder, a checkpoint or a saved model ("bundled-rooms"), a capture, a Pointcept folder or scene,
    a file of splats or points, a SOG or SceneSplat folder, "rooms:COUNT" or "rooms:val:3".
    """

    what: tyro.conf.Positional[str] = "rooms:1"
    """What to show; see above."""
    other: tyro.conf.Positional[str | None] = None
    """Run, checkpoint or saved model to compare with, on the scenes of the first."""
    data: str | None = None
    """Other scenes for a run or a saved model: a path, "rooms:COUNT" or "rooms:val:3"."""
    teacher: str | None = None
    """Teacher whose features are shown ("clip:…", "precomputed:FOLDER"); "none" for a run or the points alone."""
    features_from: Annotated[Literal["auto", "model", "lifted"], tyro.conf.arg(aliases=("--field",))] = "auto"
    """Features of the run's or the bundled model, or of the teacher lifted onto the points."""
    split: Literal["train", "val", "test"] = "val"
    """Scenes of a data set with splits."""
    text_vectors: Path | None = None
    """Text vectors to search with: FILE.npy [V, D], their texts in FILE_names.json."""
    objects: Path | None = None
    """Gallery of the Objects tab: a folder of objects, or an .npz of `gaussiancross clipgs embed`."""
    object_model: str = BUNDLED_CLIPGS[0]
    """CLIP-GS model of the Objects tab: a run folder, a checkpoint or the bundled one."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where a model computes; "auto" takes CUDA if there is a device."""
    host: str = "127.0.0.1"
    """Address to listen on. Everybody who can reach it can use the page."""
    allow_host: tuple[str, ...] = ()
    """Further names of this machine by which browsers may open the page, where --host is not 127.0.0.1."""
    port: int = 7007
    """Port; the next free one if it is taken."""
    share: bool = False
    """Also ask viser's public relay (share.viser.studio) for an address that is open to everybody for a day."""

    def scene_spec(self) -> SceneSpec:
        """The scenes to open."""
        return SceneSpec(
            self.what,
            features_from=self.features_from,
            teacher=self.teacher,
            data=self.data,
            split=self.split,
            device=self.device,
        )


def main(args: Sequence[str]) -> int:
    options = tyro.cli(View, args=args, prog="gaussiancross view")
    text = None if options.text_vectors is None else TextVectors.load(options.text_vectors)
    spec = options.scene_spec()
    with ConsoleReport(f"opening {options.what}") as report:
        opened = open_scene(spec, report)
        other = None if options.other is None else open_comparison(spec, options.other, report)
        recognizer = open_recognizer(options.object_model, options.objects, report=report)
    inspector = Inspector(
        opened.source,
        options.host,
        options.port,
        text=text,
        other=other,
        tour=True,
        public=options.share,
        metrics=None if opened.run is None else opened.run / "metrics.jsonl",
        recognizer=recognizer,
        names=options.allow_host,
    )
    try:
        print("Ctrl-C ends it.")
        while True:
            time.sleep(1)
    finally:
        inspector.close()
