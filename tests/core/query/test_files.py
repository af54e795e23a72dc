"""Calibrations beside models, and SceneSplat folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.scenesplat import is_scenesplat, read_scenesplat
from gaussiancross.core.query import Calibration
from gaussiancross.core.query.calibration import load_calibration, save_calibration


def test_calibrations_of_both_fields_live_in_one_file(tmp_path):
    path = tmp_path / "calibration.json"
    assert load_calibration(path, "model") is None
    save_calibration(path, "lifted", Calibration(0.61, 0.95), {"scenes": 20})
    save_calibration(path, "model", Calibration(0.7, 0.97), {})
    save_calibration(path, "lifted", Calibration(0.62, 0.96), {"scenes": 21})
    assert load_calibration(path, "lifted") == Calibration(0.62, 0.96)
    assert load_calibration(path, "model") == Calibration(0.7, 0.97)
    save_calibration(path, "soft", Calibration(0.7, 0.97, 0.25, 0.4), {})
    soft = load_calibration(path, "soft")
    assert soft.min_threshold(np.full(30, 0.9)) == pytest.approx(0.36) and soft.min_threshold(np.full(30, 0.1)) == 0.25
    assert load_calibration(path, "other") is None
    assert json.loads(path.read_text())["fields"]["lifted"]["scenes"] == 21
    assert [p.name for p in tmp_path.iterdir()] == ["calibration.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": "x", "fields": {}}', '{"fields"'])
def test_damaged_calibrations_are_refused(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(InputError, match="fit it again"):
        load_calibration(path, "model")


def test_calibrations_without_a_cut_are_refused(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(
        '{"format": "gaussiancross-calibration", "fields": {"model": {"cut": NaN, "auc": 0.5, "floor": 0, "share": 0}}}'
    )
    with pytest.raises(InputError, match="nan"):
        load_calibration(path, "model")


def write_scenesplat(folder, n=30, logits=False):
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    arrays = {
        "coord": rng.normal(size=(n, 3)).astype(np.float32),
        "color": rng.integers(0, 256, (n, 3)).astype(np.uint8),
        "opacity": rng.uniform(0.1, 0.9, n).astype(np.float32),
        "quat": rng.normal(size=(n, 4)).astype(np.float32),
        "scale": rng.uniform(0.01, 0.1, (n, 3)).astype(np.float32),
        "lang_feat": rng.normal(size=(n, 8)).astype(np.float16),
        "valid_feat_mask": np.arange(n) % 3 > 0,
    }
    if logits:
        arrays["opacity"] = np.log(arrays["opacity"] / (1 - arrays["opacity"]))
        arrays["scale"] = np.log(arrays["scale"])
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return arrays


def test_scenesplat_folders(tmp_path):
    arrays = write_scenesplat(tmp_path / "plain")
    assert is_scenesplat(tmp_path / "plain") and not is_scenesplat(tmp_path)
    g = read_scenesplat(tmp_path / "plain")
    assert g.features.shape == (30, 8) and not g.features[::3].any() and g.features[1].any()
    np.testing.assert_allclose(g.colors, arrays["color"] / 255, atol=1e-6)
    write_scenesplat(tmp_path / "logits", logits=True)
    stored = read_scenesplat(tmp_path / "logits")
    torch.testing.assert_close(stored.opacities, g.opacities)
    torch.testing.assert_close(stored.scales, g.scales)


def test_scenesplat_features_of_the_valid_only(tmp_path):
    arrays = write_scenesplat(tmp_path)
    whole = read_scenesplat(tmp_path).features
    np.save(tmp_path / "lang_feat.npy", arrays["lang_feat"][arrays["valid_feat_mask"]])
    torch.testing.assert_close(read_scenesplat(tmp_path).features, whole)
    np.save(tmp_path / "lang_feat.npy", arrays["lang_feat"][:5])
    with pytest.raises(InputError, match="valid_feat_mask"):
        read_scenesplat(tmp_path)
    (tmp_path / "lang_feat.npy").unlink()
    assert read_scenesplat(tmp_path).features is None


def test_scenesplat_that_cannot_be_used(tmp_path):
    arrays = write_scenesplat(tmp_path)
    np.save(tmp_path / "opacity.npy", arrays["opacity"][:4])
    with pytest.raises(InputError, match="one per row"):
        read_scenesplat(tmp_path)
    write_scenesplat(tmp_path)
    np.save(tmp_path / "scale.npy", np.full((30, 3), np.nan, np.float32))
    with pytest.raises(InputError, match="finite"):
        read_scenesplat(tmp_path)
