"""AP, AP50 and AP25 against Pointcept's own figures, cases worked out by hand, and the rules written out slowly."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.metrics.instance import THRESHOLDS, InstanceAP, InstanceScores, average_precision


@pytest.fixture(scope="module")
def golden(shared_data):
    folder = shared_data / "golden"
    config = json.loads((folder / "insseg_ap.json").read_text())["config"]
    return dict(np.load(folder / "insseg_ap.npz", allow_pickle=False)), config


@pytest.mark.parametrize("form", ["dense", "indices"])
def test_figures_are_those_of_pointcept(golden, form):
    arrays, config = golden
    ignored = [c for c in config["segment_ignore_index"] if c >= 0]
    metric = InstanceAP(config["num_classes"], ignored, config["min_region_size"])
    for s in range(config["n_scenes"]):
        rows = slice(arrays["pred_offsets"][s], arrays["pred_offsets"][s + 1])
        masks = torch.from_numpy(arrays["pred_masks"][rows])
        given = masks if form == "dense" else [m.nonzero()[:, 0] for m in masks]
        truth = (torch.from_numpy(arrays[name][s]) for name in ("segment", "instance"))
        metric.add(*truth, given, torch.from_numpy(arrays["pred_classes"][rows]), arrays["pred_scores"][rows])
    scores = metric.scores()
    assert tuple(arrays["overlaps"].tolist()) == THRESHOLDS
    asked = [k for k in range(config["num_classes"]) if k not in ignored]
    for mine, theirs in (("table", "ap_table"), ("ap", "ap_class"), ("ap50", "ap50_class"), ("ap25", "ap25_class")):
        np.testing.assert_allclose(getattr(scores, mine)[asked].numpy(), arrays[theirs], atol=1e-9)
    for mine, theirs in (("mean_ap", "all_ap"), ("mean_ap50", "all_ap50"), ("mean_ap25", "all_ap25")):
        assert getattr(scores, mine) == pytest.approx(float(arrays[theirs]), abs=1e-9)
    assert scores.ap[ignored].isnan().all()


# --- by hand: 1,000 points, instances and predictions are runs of points ----------------------------------------------


def run_of(*spans: tuple[int, int], n: int = 1000) -> torch.Tensor:
    mask = torch.zeros(n, dtype=torch.bool)
    for start, end in spans:
        mask[start:end] = True
    return mask


def truth(*instances: tuple[int, int, int], n: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Instances as (start, end, class); the rest is class 0, of no instance."""
    segment, instance = torch.zeros(n, dtype=torch.long), torch.full((n,), -1)
    for i, (start, end, kind) in enumerate(instances):
        segment[start:end], instance[start:end] = kind, i
    return segment, instance


def score(true, *predictions: tuple[torch.Tensor, int, float], ignored=(0,)) -> InstanceScores:
    metric = InstanceAP(3, ignored)
    masks = torch.stack([p[0] for p in predictions]) if predictions else torch.zeros(0, 1000)
    metric.add(*true, masks, [p[1] for p in predictions], [p[2] for p in predictions])
    return metric.scores()


def test_a_perfect_prediction_and_an_absent_class():
    scores = score(truth((0, 200, 1)), (run_of((0, 200)), 1, 0.9))
    assert scores.ap[1] == scores.ap50[1] == scores.ap25[1] == 1
    assert scores.ap[2].isnan() and scores.mean_ap == scores.mean_ap50 == scores.mean_ap25 == 1


def test_the_threshold_itself_does_not_match():
    scores = score(truth((0, 200, 1)), (run_of((0, 100)), 1, 0.9))  # IoU 100 / 200
    assert scores.ap50[1] == 0 and scores.ap25[1] == 1
    # 160 / 200 = 0.8 passes 0.50 … 0.75: the sixth of nine thresholds is the last below it, and 0.8 is 0.8
    scores = score(truth((0, 200, 1)), (run_of((0, 161)), 1, 0.9))
    assert scores.ap[1] == pytest.approx(7 / 9)


def test_a_false_positive_counts_by_its_score():
    true = truth((0, 200, 1))
    hit, miss = (run_of((0, 200)), 1), run_of((200, 400))
    true[0][200:400] = 2  # where it lies is a valid class, so it cannot be excused
    assert score(true, (*hit, 0.9), (miss, 1, 0.5)).ap[1] == 1  # after everything was found
    # Points of the curve (precision, recall): both (1/2, 1), the false positive alone (0, 0), end (1, 0).
    # Weights are half the recall between neighbours: (1 − 0)/2, (1 − 0)/2, 0.
    assert score(true, (*hit, 0.5), (miss, 1, 0.9)).ap[1] == pytest.approx(0.25)
    # Of equal score they are one step: (1/2, 1) weighs (1 − 0)/2, the end (1 − 0)/2 of precision 1.
    assert score(true, (*hit, 0.5), (miss, 1, 0.5)).ap[1] == pytest.approx(0.75)


def test_predictions_on_ignored_points_are_excused():
    assert score(truth((0, 200, 1)), (run_of((0, 200)), 1, 0.5), (run_of((300, 500)), 1, 0.9)).ap[1] == 1
    unlabelled = truth((0, 200, 1))
    unlabelled[0][300:500] = -1
    assert score(unlabelled, (run_of((0, 200)), 1, 0.5), (run_of((300, 500)), 1, 0.9)).ap[1] == 1
    # Half on an ignored class excuses at 0.25 alone: 0.5 > 0.25, but not 0.5 > 0.5.
    half = truth((0, 200, 1))
    half[0][400:500] = 2
    scores = score(half, (run_of((0, 200)), 1, 0.5), (run_of((300, 500)), 1, 0.9))
    assert scores.ap25[1] == 1 and scores.ap50[1] == pytest.approx(0.25)


def test_small_instances_are_ignored():
    true = truth((0, 200, 1), (300, 399, 1))  # the second has 99 points
    assert score(true, (run_of((0, 200)), 1, 0.5)).ap[1] == 1
    # A prediction of it (and a point more, to be large enough) is neither right nor wrong.
    assert score(true, (run_of((0, 200)), 1, 0.5), (run_of((300, 400)), 1, 0.9)).ap[1] == 1
    assert score(truth((300, 399, 1)), (run_of((300, 400)), 1, 0.9)).ap[1].isnan()


def test_small_predictions_are_dropped():
    true = truth((0, 200, 1))
    true[0][200:300] = 2
    assert score(true, (run_of((0, 200)), 1, 0.5), (run_of((200, 299)), 1, 0.9)).ap[1] == 1
    assert score(true, (run_of((0, 200)), 1, 0.5), (run_of((200, 300)), 1, 0.9)).ap[1] < 1


def test_duplicates_are_false_positives_of_the_lower_score():
    true = truth((0, 200, 1))
    twice = (run_of((0, 200)), 1, 0.3), (run_of((0, 199)), 1, 0.9)
    assert score(true, *twice).ap[1] == score(true, *twice[::-1]).ap[1] == 1  # the right one is that of 0.9
    # Two instances, one found twice: (right, 0.9), (wrong, 0.3), one missed. Points: both (1/2, 1/2), the right one
    # alone (1, 1/2), end (1, 0); weights 0, 1/4, 1/4.
    assert score(truth((0, 200, 1), (400, 600, 1)), *twice).ap[1] == pytest.approx(0.5)


def test_other_classes_do_not_match():
    scores = score(truth((0, 200, 1), (300, 500, 2)), (run_of((0, 200)), 2, 0.9), (run_of((300, 500)), 2, 0.8))
    assert scores.ap[1] == 0 and scores.ap[2] == pytest.approx(0.25)
    assert scores.mean_ap == pytest.approx(0.125)


def test_scenes_are_pooled():
    metric = InstanceAP(3, (0,))
    right, wrong = run_of((0, 200))[None], run_of((400, 600))[None]
    for masks, confidence in ((right, 0.9), (wrong, 0.8)):
        true = truth((0, 200, 1))
        true[0][400:600] = 2
        metric.add(*true, masks, [1], [confidence])
    # (1/2, 1/2) for both, (1, 1/2) for the first alone, end (1, 0): 0 · 1/2 + 1/4 · 1 + 1/4 · 1
    assert len(metric) == 2 and metric.scores().ap[1] == pytest.approx(0.5)


def test_nothing_to_score():
    scores = InstanceAP(3).scores()
    assert math.isnan(scores.mean_ap) and scores.table.isnan().all()
    assert score(truth((0, 200, 1))).mean_ap == 0  # asked for, and no predictions at all


def test_average_precision_of_nothing_found():
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0
    assert average_precision(np.array([0.5]), np.array([False]), 3) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segment": torch.zeros(5)}, "two vectors of one length"),
        ({"masks": torch.zeros(1, 9)}, r"expected \[P, 10\], found \[1, 9\]"),
        ({"masks": [torch.tensor([10])]}, "point indices from 0 to 9"),
        ({"classes": [3]}, "expected 0 to 2, found values from 3 to 3"),
        ({"scores": [math.nan]}, "finite"),
        ({"scores": [0.5, 0.5]}, "1, 1 and 2"),
    ],
)
def test_inputs_that_do_not_match_are_refused(change, message):
    given = {"segment": torch.zeros(10), "instance": torch.zeros(10), "masks": torch.ones(1, 10)}
    given |= {"classes": [1], "scores": [0.5]} | change
    with pytest.raises(InputError, match=message):
        InstanceAP(3).add(**given)


# --- the rules, slowly ------------------------------------------------------------


def slow_table(scenes, classes: int, ignored: set[int], smallest: int) -> np.ndarray:
    """The table [K, 10], with sets of points and one loop per rule."""
    table = np.full((classes, len(THRESHOLDS)), np.nan)
    for k in range(classes):
        for column, threshold in enumerate(THRESHOLDS):
            detections, missed, asked = [], 0, False
            for segment, instance, masks, kinds, confidences in scenes:
                points = range(len(segment))
                void = {p for p in points if segment[p] in ignored or not 0 <= segment[p] < classes}
                true = []
                for i in sorted({i for i in instance if i >= 0}):
                    members = [p for p in points if instance[p] == i]
                    if segment[members[0]] == k and k not in ignored:
                        true.append(set(members))
                large = [t for t in true if len(t) >= smallest]
                small = [t for t in true if len(t) < smallest]
                asked |= bool(large)
                mine = [
                    ({p for p in points if mask[p]}, confidence)
                    for mask, kind, confidence in zip(masks, kinds, confidences, strict=True)
                    if kind == k and sum(mask) >= smallest and k not in ignored
                ]

                def matches(a, b, threshold=threshold):
                    return len(a & b) / len(a | b) > threshold

                taken: set[int] = set()
                for t in large:
                    held = None
                    for j, (mask, confidence) in enumerate(mine):
                        if j in taken or not matches(t, mask):
                            continue
                        if held is None:
                            held = confidence
                            taken.add(j)
                        else:
                            detections.append((min(held, confidence), False))
                            held = max(held, confidence)
                    if held is None:
                        missed += 1
                    else:
                        detections.append((held, True))
                for mask, confidence in mine:
                    excused = len(mask & void) + sum(len(mask & s) for s in small)
                    if not any(matches(t, mask) for t in true) and excused / len(mask) <= threshold:
                        detections.append((confidence, False))
            if asked:
                table[k, column] = slow_ap(detections, missed)
    return table


def slow_ap(detections: list[tuple[float, bool]], missed: int) -> float:
    curve = []
    total = sum(right for _, right in detections) + missed
    for s in sorted({s for s, _ in detections}):
        kept = [right for confidence, right in detections if confidence >= s]
        curve.append((sum(kept) / len(kept), sum(kept) / total))
    curve.append((1.0, 0.0))
    recalls = [curve[0][1], *(r for _, r in curve), 0.0]
    return sum(p * (recalls[i] - recalls[i + 2]) / 2 for i, (p, _) in enumerate(curve))


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_the_rules_written_out(seed):
    rng = np.random.default_rng(seed)
    classes, smallest, n = 4, 5, 60
    scenes = []
    metric = InstanceAP(classes, (0,), smallest)
    for _ in range(3):
        instance = np.repeat(rng.integers(-1, 9, n // 4), 4)
        segment = np.where(rng.random(n) < 0.9, np.arange(9).take(instance, mode="clip") % classes, -1)
        count = int(rng.integers(0, 16))
        masks = np.zeros((count, n), bool)
        for mask in masks:  # an instance with points added and left out, so that every overlap occurs
            mask[:] = (instance == rng.integers(-1, 9)) ^ (rng.random(n) < rng.choice([0, 0.05, 0.2]))
        kinds, confidences = rng.integers(0, classes, count), rng.integers(1, 6, count) / 5
        kinds = np.where(rng.random(count) < 0.7, [segment[m.argmax()] % classes for m in masks], kinds).astype(int)
        scenes.append([x.tolist() for x in (segment, instance, masks, kinds, confidences)])
        metric.add(torch.from_numpy(segment), torch.from_numpy(instance), torch.from_numpy(masks), kinds, confidences)
    expected = slow_table(scenes, classes, {0}, smallest)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(metric.scores().table.numpy(), expected, atol=1e-12)


def test_the_benchmark_runs(monkeypatch, tmp_path):
    from gaussiancross.benchmarks import metrics

    monkeypatch.setattr("sys.argv", ["metrics", "--points", "1000", "--repeats", "1", "--out", str(tmp_path)])
    threads = torch.get_num_threads()
    try:
        assert metrics.main() == 0
    finally:
        torch.set_num_threads(threads)
    table = (tmp_path / "metrics.md").read_text()
    assert "AP, AP50, AP25 of 200 points" in table and table.count(" × 200 classes") == 2
