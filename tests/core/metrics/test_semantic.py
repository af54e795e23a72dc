"""Confusion matrix, mIoU, mAcc and allAcc against Pointcept's own figures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.metrics import confusion_matrix, semantic_scores
from helpers.paths import SHARED_DATA

GOLDEN = SHARED_DATA / "golden"


@pytest.fixture(scope="module")
def golden():
    if not (GOLDEN / "semseg.npz").exists():
        pytest.skip(f"no golden vectors in {GOLDEN}")
    config = json.loads((GOLDEN / "semseg.json").read_text())["config"]
    return dict(np.load(GOLDEN / "semseg.npz", allow_pickle=False)), config["num_classes"]


def test_counts_are_those_of_pointcept(golden):
    arrays, classes = golden
    for i, (pred, target) in enumerate(zip(arrays["pred"], arrays["target"], strict=True)):
        confusion = confusion_matrix(torch.from_numpy(pred), torch.from_numpy(target), classes).numpy()
        right = confusion.diagonal()
        assert np.array_equal(right, arrays["intersection"][i])
        assert np.array_equal(confusion.sum(0) + confusion.sum(1) - right, arrays["union"][i])
        assert np.array_equal(confusion.sum(1), arrays["target_count"][i])


def test_scores_pool_the_scenes(golden):
    arrays, classes = golden
    scenes = zip(torch.from_numpy(arrays["pred"]), torch.from_numpy(arrays["target"]), strict=True)
    scores = semantic_scores(torch.stack([confusion_matrix(p, t, classes) for p, t in scenes]).sum(0))
    np.testing.assert_allclose(scores.iou.numpy(), arrays["iou_class"], atol=1e-9)
    np.testing.assert_allclose(scores.acc.numpy(), arrays["acc_class"], atol=1e-9)
    for name, value in (("miou", scores.miou), ("macc", scores.macc), ("allacc", scores.allacc)):
        assert value == pytest.approx(float(arrays[name]), abs=1e-9)
    assert scores.miou_present == pytest.approx(float(arrays["miou_present"]), abs=1e-9)


def test_by_hand():
    prediction, target = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 1, 1, -1, 1])
    confusion = confusion_matrix(prediction, target, 4)
    assert confusion.tolist() == [[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    scores = semantic_scores(confusion)
    assert scores.iou.tolist() == pytest.approx([1 / 2, 1 / 3, 0, 0])
    assert scores.present.tolist() == [True, True, True, False]  # class 2 is predicted, class 3 nowhere
    assert scores.miou_present == pytest.approx((1 / 2 + 1 / 3) / 3) and scores.allacc == pytest.approx(2 / 4)


def test_labels_beyond_the_classes_are_ignored_and_wrong_predictions_refused():
    assert int(confusion_matrix(torch.tensor([0, 1]), torch.tensor([255, -1]), 2).sum()) == 0
    assert int(confusion_matrix(torch.tensor([7, 1]), torch.tensor([-1, 1]), 2).sum()) == 1  # not labelled: no matter
    with pytest.raises(InputError, match="classes from 0 to 1, found values from -1 to 1"):
        confusion_matrix(torch.tensor([-1, 1]), torch.tensor([0, 1]), 2)
    with pytest.raises(InputError, match="one length"):
        confusion_matrix(torch.zeros(3), torch.zeros(4), 2)


def test_nothing_labelled():
    scores = semantic_scores(confusion_matrix(torch.zeros(0).long(), torch.zeros(0).long(), 3))
    assert scores.miou == scores.allacc == 0 and np.isnan(scores.miou_present)
