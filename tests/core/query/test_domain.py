"""Verdicts in scenes that a cut was not fitted on."""

from __future__ import annotations

import json

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.query import Calibration, Query, QueryableFeatures, TextVectors, ask, calibrate
from gaussiancross.core.query.calibration import load_calibration, save_calibration, update_domain
from gaussiancross.core.query.domain import Domain


def scene(seed: int, foreign: bool = False, count: int = 600) -> torch.Tensor:
    """Features [N, 12] near three directions; those of a foreign scene lie near three others."""
    g = torch.Generator().manual_seed(seed)
    at = torch.randint(3, (count,), generator=g) + (6 if foreign else 0)
    return torch.eye(12)[at] + 0.1 * torch.randn(count, 12, generator=g)


@pytest.fixture(scope="module")
def domain() -> Domain:
    return Domain.fit([scene(k) for k in range(4)])


def test_scenes_like_the_fitted_ones_are_not_foreign(domain):
    assert domain.unusual(scene(9)) < domain.share and not domain.is_foreign(scene(9))
    assert not domain.is_foreign(5 * scene(9))  # lengths do not matter


def test_other_scenes_are_foreign(domain):
    assert domain.unusual(scene(9, foreign=True)) > 0.9 and domain.is_foreign(scene(9, foreign=True))
    mixed = torch.cat([scene(9), scene(10, foreign=True)])
    assert domain.is_foreign(mixed)
    assert domain.is_foreign(torch.ones(5, 3))  # of another width


def test_unusable_features_do_not_count(domain):
    rows = scene(9)
    rows[::2] = torch.nan
    assert not domain.is_foreign(rows) and domain.unusual(torch.zeros(4, 12)) == 0
    with pytest.raises(InputError, match="usable"):
        Domain.fit([torch.zeros(3, 4)])


def test_nothing_is_called_absent_in_a_foreign_scene(domain):
    words = TextVectors(torch.eye(12)[[0, 1, 2, 5, 7]], ["sofa", "lamp", "bed", "giraffe", "tree"])
    fitted = Calibration(0.9, 1.0, data="rooms:test, the first 12", domain=domain)
    here = ask(QueryableFeatures.build(scene(9), words, calibration=fitted), Query(("sofa", "giraffe")))
    assert [p.presence.verdict for p in here.phrases] == ["found", "not in this scene"]
    there = ask(QueryableFeatures.build(scene(9, True), words, calibration=fitted), Query(("sofa", "giraffe", "tree")))
    assert [p.presence.verdict for p in there.phrases] == ["no confident match", "no confident match", "found"]
    assert "rooms:test, the first 12" in there.phrases[0].presence.doubt


def test_scores_below_the_fitted_ones_decide_nothing():
    fitted = calibrate([0.8, 0.9], [0.3, 0.4])._replace(data="rooms")
    assert fitted.lowest == pytest.approx(0.3)
    assert fitted.judge(torch.full((30,), 0.35)).verdict == "not in this scene"
    assert fitted.judge(torch.full((30,), 0.2)).verdict == "no confident match"
    assert fitted.judge(torch.full((30,), 0.95)).verdict == "found"


def test_the_domain_is_stored_beside_the_cut(tmp_path, domain):
    path = tmp_path / "calibration.json"
    save_calibration(path, "lifted", Calibration(0.6, 0.9, 0.2, 0.4, 0.1, "rooms", domain), {})
    stored = load_calibration(path, "lifted")
    assert stored is not None and stored.data == "rooms" and stored.lowest == 0.1
    assert stored.domain.is_foreign(scene(9, foreign=True)) and not stored.domain.is_foreign(scene(9))
    assert update_domain(path, "lifted", Domain.fit([scene(1, foreign=True)]), "others")
    assert load_calibration(path, "lifted").domain.is_foreign(scene(9)) and load_calibration(path, "lifted").cut == 0.6
    assert not update_domain(path, "model", domain, "others")
    content = json.loads(path.read_text())
    content["fields"]["lifted"]["domain"]["mean"] = [1.0]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="fit it again"):
        load_calibration(path, "lifted")
