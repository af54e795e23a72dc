"""Fixtures of the downstream tests: labelled scenes and a trained network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gaussiancross.trainers.downstream import SemanticTrainer
from helpers.labelled_scenes import SMALL, labelled_scenes
from rich.console import Console

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def scenes():
    return labelled_scenes()


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    trainer = SemanticTrainer(replace(SMALL, steps=60, eval_every=0), folder, scenes, device="cpu")
    trainer.fit(console=QUIET)
    return trainer
