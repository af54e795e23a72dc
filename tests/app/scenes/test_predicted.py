"""Features of the teacher's width are computed where they are asked for, not to draw a scene."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.app.render.colors import MARK, embedding_colors, feature_colors
from gaussiancross.app.scenes import predicted
from gaussiancross.app.scenes.predicted import PredictedState
from gaussiancross.app.scenes.timeline import state_bytes
from gaussiancross.core.features.pca import PcaBasis
from torch.nn import functional as F

N, CODES, D = 70, 6, 12


def some_state(hidden: bool = False) -> PredictedState:
    torch.manual_seed(0)
    linear = torch.nn.Linear(CODES, D)
    lift = torch.nn.Sequential(torch.nn.Linear(CODES, CODES), torch.nn.GELU(), linear) if hidden else linear
    return PredictedState("room", codes=torch.randn(N, CODES), lift=lift)


def lifted(state: PredictedState) -> torch.Tensor:
    with torch.no_grad():
        return F.normalize(state.lift(state.codes), dim=-1)


@pytest.mark.parametrize("hidden", [False, True])
def test_colours_are_those_of_the_features_without_the_features(hidden, monkeypatch):
    monkeypatch.setattr("gaussiancross.app.render.colors.BLOCK", 32)
    state = some_state(hidden)
    basis = PcaBasis.fit(torch.randn(200, D) * torch.linspace(0.1, 1, D))
    state.codes[3] = torch.nan
    colors, bad = embedding_colors(state, basis)
    assert not state.is_lifted and bad == 1 and torch.equal(colors[3], torch.tensor(MARK))
    assert float(colors.std()) > 0.05 and state.has_embeddings and state.embedding_width == D and not state.is_lifted
    torch.testing.assert_close(colors, feature_colors(lifted(state), basis)[0], rtol=1e-4, atol=1e-4)


def test_they_are_computed_once_in_blocks_when_they_are_read(monkeypatch):
    monkeypatch.setattr(predicted, "BLOCK", 32)
    state = some_state()
    before = state_bytes(state)
    torch.testing.assert_close(state.embeddings, lifted(state))
    assert state.is_lifted and state.embeddings is state.embeddings
    assert state_bytes(state) == before + 4 * N * D
    copy = state.copy()
    assert isinstance(copy, PredictedState) and not copy.is_lifted and copy.codes is state.codes


def test_large_ones_leave_the_device_that_trains(monkeypatch):
    state = some_state()
    devices = []
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *a, device=None, **k: devices.append(device) or new_empty(*a))
    monkeypatch.setattr(predicted, "DEVICE_BYTES", 4 * N * D - 1)
    assert state.embeddings is not None and devices == ["cpu"]


def test_without_codes_there_are_none():
    state = PredictedState("room")
    assert state.embeddings is None and not state.has_embeddings and state.embedding_width is None
