"""`select_phrases`: which points a phrase selects."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussiancross.app.query.answer import select_phrases
from gaussiancross.app.scenes.source import SceneState
from gaussiancross.core.errors import InputError
from gaussiancross.core.query import Answer, PhraseAnswer, Presence, read_phrases
from helpers.inspector import as_gaussians, box_room


def test_absent_phrases_take_no_points_from_present_ones():
    """With ``classes`` each point goes to the best phrase; one that is not in the scene does not compete."""
    state = SceneState("box", gaussians=as_gaussians(box_room()))
    scores = torch.full((len(state.gaussians), 2), 0.2)
    scores[:10, 0], scores[:5, 1] = 0.8, 0.9
    phrases = tuple(
        PhraseAnswer(name, name, presence=Presence(present, 0.9, 0.5))
        for name, present in (("sofa", True), ("zebra", False))
    )
    answer = Answer(scores.amax(1), phrases, (), scores)
    features = SimpleNamespace(min_threshold=lambda scores: 0.5)
    sofa, zebra = select_phrases(answer, features, state, threshold=0.5, classes=True)
    assert np.flatnonzero(sofa.selected).tolist() == list(range(10)) and not zebra.selected.any()


@pytest.mark.parametrize(
    ("text", "found"),
    [(",".join(f"word{i}" for i in range(17)), "found 17 phrases"), ("x" * 81, "found one of 81 letters")],
)
def test_too_many_phrases_are_counted(text, found):
    with pytest.raises(InputError, match=found):
        read_phrases(text)
