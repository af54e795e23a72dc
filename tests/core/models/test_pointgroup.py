"""PointGroup: grouping against its definition, targets and losses by hand, proposals, weights."""

import numpy as np
import pytest
import torch
from gaussiancross.core.data.batch import InputConfig, PointBatch, make_input, make_points
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.metrics import InstanceAP
from gaussiancross.core.models import PointGroup, PointGroupConfig
from gaussiancross.core.models.pointgroup import (
    ClusterConfig,
    PointGroupOutput,
    instance_bias,
    pointgroup_losses,
    propose,
)
from gaussiancross.core.nn import grouping
from gaussiancross.core.nn.grouping import group_points
from helpers.shelves import shelf

SMALL = PointGroupConfig(
    classes=4, base_channels=4, channels=(4,) * 8, layers=(1,) * 8, voxel_size=0.05, cluster=ClusterConfig(1.5, 5, 10)
)
QUICK = ["numba", "torch"]


def clouds():
    """(coord, labels, radius) of several kinds."""
    rng = np.random.default_rng(0)
    for n, classes, radius in ((1, 1, 0.1), (250, 1, 0.05), (400, 3, 0.12), (400, 2, 0.3)):
        coord = rng.uniform(-3, [0, -1, -2.6], (n, 3))
        labels = torch.from_numpy(rng.integers(0, classes, n))
        yield torch.from_numpy(coord.astype(np.float32)), labels, radius
        yield torch.from_numpy((coord * 20).round().astype(np.float32) / 20), labels, radius  # ties, points on points
    blobs = rng.uniform(0, 1, (5, 3))[rng.integers(0, 5, 500)] + rng.normal(0, 0.02, (500, 3))
    yield torch.from_numpy(blobs.astype(np.float32)), torch.zeros(500, dtype=torch.int64), 0.06


@pytest.mark.parametrize("backend", QUICK)
def test_groups_are_those_of_the_reference(backend):
    for coord, labels, radius in clouds():
        wanted = group_points(coord, labels, radius, "reference")
        assert torch.equal(group_points(coord, labels, radius, backend), wanted)


def test_pairs_are_measured_in_parts(monkeypatch):
    for coord, labels, radius in clouds():
        whole = group_points(coord, labels, radius, "torch")
        monkeypatch.setattr(grouping, "PAIRS_PER_CHUNK", 7)
        assert torch.equal(group_points(coord, labels, radius, "torch"), whole)
        monkeypatch.undo()


@pytest.mark.gpu
def test_groups_on_cuda_are_those_of_the_reference():
    for coord, labels, radius in clouds():
        found = group_points(coord.cuda(), labels.cuda(), radius)
        assert torch.equal(found.cpu(), group_points(coord, labels, radius, "reference"))


@pytest.mark.parametrize("backend", ["reference", *QUICK])
def test_a_link_is_shorter_than_the_radius(backend):
    line = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [1.0, 0, 0], [5.0, 0, 0]])
    same = torch.zeros(4, dtype=torch.int64)
    assert group_points(line, same, 0.5, backend).tolist() == [0, 1, 2, 3]
    assert group_points(line, same, 0.5001, backend).tolist() == [0, 0, 0, 1]
    assert group_points(line, torch.tensor([2, 0, 2, 2]), 0.5001, backend).tolist() == [0, 1, 2, 3]
    assert group_points(line, torch.tensor([2, 0, 2, 2]), 1.1, backend).tolist() == [0, 1, 0, 2]
    assert group_points(line[:0], same[:0], 1.0, backend).tolist() == []


def test_invalid_points_and_labels_are_refused():
    coord, labels = torch.zeros(3, 3), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError, match="finite"):
        group_points(torch.full((3, 3), torch.nan), labels, 1.0)
    with pytest.raises(InputError, match="above 0"):
        group_points(coord, labels, 0.0)
    with pytest.raises(InputError, match=r"labels \[N\]"):
        group_points(coord, labels[:2], 1.0)
    with pytest.raises(InputError, match="unlabelled"):
        group_points(coord, labels - 1, 1.0)
    with pytest.raises(InputError, match="spread"):
        group_points(torch.tensor([[0.0, 0, 0], [1e9, 1e9, 1e9], [0, 0, 0]]), labels, 0.001)


def batch_of(*scenes: PointScene) -> PointBatch:
    return PointBatch.cat([make_input(s, InputConfig(voxel_size=0.05)).points for s in scenes])


def test_voxels_aim_at_the_centroid_of_their_instance():
    points = batch_of(shelf(), shelf(1))
    bias, valid = instance_bias(points, ignored=(0, 1))
    for span in points.spans():
        for i in range(span.start, span.stop, 37):
            segment, instance = points.segment[span], points.instance[span]
            mine = (instance == points.instance[i]) & (segment > 1)
            expected = points.segment[i] > 1 and points.instance[i] >= 0
            assert bool(valid[i]) == bool(expected)
            way = points.coord[span][mine].mean(0) - points.coord[i] if expected else torch.zeros(3)
            assert torch.allclose(bias[i], way, atol=1e-5)


def test_losses_are_the_published_formulas():
    torch.manual_seed(0)
    logits, bias, target = torch.randn(5, 4), torch.randn(5, 3), torch.randn(5, 3)
    segment, valid = torch.tensor([0, 2, -1, 3, 2]), torch.tensor([False, True, False, True, True])
    terms = pointgroup_losses(PointGroupOutput(logits, bias), segment, target, valid)
    rows = [i for i in range(5) if valid[i]]
    probability = [-logits[i].log_softmax(0)[segment[i]] for i in range(5) if segment[i] >= 0]
    cosine = [-(bias[i] @ target[i]) / (bias[i].norm() * target[i].norm()) for i in rows]
    assert torch.allclose(terms["semantic"], torch.stack(probability).mean())
    assert torch.allclose(terms["bias_l1"], torch.stack([(bias[i] - target[i]).abs().sum() for i in rows]).mean())
    assert torch.allclose(terms["bias_cosine"], torch.stack(cosine).mean())
    right = pointgroup_losses(PointGroupOutput(100.0 * torch.eye(4)[segment], target), segment, target, valid)
    assert [round(float(v), 5) for v in right.values()] == [0.0, 0.0, -1.0]


def test_without_labels_the_losses_are_zero_and_so_are_their_gradients():
    logits, bias = torch.randn(3, 4, requires_grad=True), torch.zeros(3, 3, requires_grad=True)
    none = torch.full((3,), -1)
    terms = pointgroup_losses(PointGroupOutput(logits, bias), none, torch.zeros(3, 3), none > 0)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert float(total.detach()) == 0
    assert not logits.grad.any() and not bias.grad.any()  # type: ignore[union-attr]


def test_every_weight_learns():
    torch.manual_seed(0)
    model, points = PointGroup(SMALL), batch_of(shelf(), shelf(1))
    loss, terms = model.losses(model(points), points)
    loss.backward()
    assert set(terms) == {"semantic", "bias_l1", "bias_cosine"}
    assert [k for k, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []
    with pytest.raises(InputError, match="no instances"):
        model.losses(model(points), PointBatch(**{**vars(points), "instance": None}))


def test_heads_are_exact_under_autocast():
    model, points = PointGroup(SMALL).eval(), batch_of(shelf())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = model(points)
        features = model.backbone(points.grid_coord, points.feat, points.offset).float()
    assert output.bias.dtype == output.logits.dtype == torch.float32
    with torch.no_grad():
        assert torch.allclose(output.bias, model.bias_head(features), atol=1e-6)


@pytest.mark.parametrize("backend", QUICK)
def test_right_heads_give_the_true_instances(backend):
    scene = shelf()
    assert scene.segment is not None and scene.instance is not None
    given = make_input(scene, InputConfig(voxel_size=0.05))
    points = PointBatch.cat([given.points, make_input(shelf(1), InputConfig(voxel_size=0.05)).points])
    target, _ = instance_bias(points, SMALL.ignored)
    output = PointGroupOutput(9.0 * torch.eye(4)[points.segment], target)
    first, second = PointGroup(SMALL).proposals(output, points, backend)
    assert sorted(first.classes.tolist()) == [2, 2, 3] and len(second) == 3
    assert float(first.scores.min()) > 0.99
    found = first.at(given.inverse)
    assert found.label.shape == (len(scene),)
    assert set(found.label[torch.from_numpy(scene.segment == 0)].tolist()) == {-1}
    assert [torch.equal(m, (found.label == k).nonzero()[:, 0]) for k, m in enumerate(found.masks())] == [True] * 3
    metric = InstanceAP(4, ignored=SMALL.ignored)
    args = torch.from_numpy(scene.segment), torch.from_numpy(scene.instance)
    metric.add(*args, found.masks(), found.classes, found.scores)
    assert metric.scores().mean_ap == pytest.approx(1.0)


def test_which_groups_become_proposals():
    """Lines of 5, 10, 11 and 30 voxels; the last two of one class, far apart; and 20 of an ignored class."""
    size, kind = [5, 10, 11, 30, 20], [2, 2, 3, 3, 0]
    moved = torch.cat([torch.tensor([[0.01 * i, float(g), 0.0] for i in range(n)]) for g, n in enumerate(size)])
    label = torch.tensor([k for k, n in zip(kind, size, strict=True) for _ in range(n)])
    probability = torch.full((len(label), 4), 0.1)
    probability[torch.arange(len(label)), label] = torch.linspace(0.4, 0.9, len(label))
    found = propose(probability, moved, (0, 1), 0.02, ClusterConfig(min_points=10, propose_points=9))
    assert [len(m) for m in found.masks()] == [10, 11, 30] and found.classes.tolist() == [2, 3, 3]
    for mask, k, score in zip(found.masks(), found.classes, found.scores, strict=True):
        assert float(score) == pytest.approx(float(probability[mask, k].mean()), abs=1e-6)
    assert len(propose(probability, moved, (0, 1), 0.02, ClusterConfig(min_points=1, propose_points=10))) == 2
    assert len(propose(probability, moved, (0, 1), 0.02, ClusterConfig(min_points=12, propose_points=1))) == 1
    nothing = propose(probability, moved, (0, 1, 2, 3), 0.02)
    assert len(nothing) == 0 and nothing.masks() == [] and set(nothing.label.tolist()) == {-1}


def test_arrays_are_enough_to_predict():
    torch.manual_seed(0)
    model, scene = PointGroup(SMALL).eval(), shelf()
    found, segment = model.predict(scene.coord, scene.color, scene.normal)
    points, inverse = make_points(scene, 0.05)
    with torch.no_grad():
        output = model(points)
    expected = model.proposals(output, points)[0].at(inverse)
    assert torch.equal(segment, output.logits.argmax(1)[inverse])
    assert torch.equal(found.label, expected.label) and torch.equal(found.scores, expected.scores)
    with pytest.raises(InputError, match="uint8"):
        model.predict(scene.coord, scene.color / 255)


def test_a_diverged_bias_head_ends_no_evaluation():
    model, points = PointGroup(SMALL), batch_of(shelf())
    wild = torch.full_like(points.coord, torch.inf)
    wild[::2] = torch.nan
    assert len(model.proposals(PointGroupOutput(torch.randn(len(wild), 4), wild), points)) == 1


def test_weights_have_the_published_names_and_come_back(tmp_path):
    model = PointGroup(PointGroupConfig())
    heads = {k: tuple(v.shape) for k, v in model.state_dict().items() if not k.startswith("backbone.")}
    assert {k: s for k, s in heads.items() if "bias_head.1" not in k} == {
        "bias_head.0.weight": (96, 96),
        "bias_head.0.bias": (96,),
        "bias_head.3.weight": (3, 96),
        "bias_head.3.bias": (3,),
        "seg_head.weight": (20, 96),
        "seg_head.bias": (20,),
    }
    assert sum(p.numel() for p in model.backbone.parameters()) == 39_155_904
    small = PointGroup(SMALL)
    small.save_pretrained(tmp_path / "pg")
    again = PointGroup.from_pretrained(tmp_path / "pg")
    assert again.config == SMALL
    points = batch_of(shelf())
    assert torch.equal(again(points).bias, small.eval()(points).bias)


def test_a_config_without_classes_to_find_is_refused():
    with pytest.raises(InputError, match="not all"):
        PointGroupConfig(classes=2, ignored=(0, 1))
    with pytest.raises(InputError, match="ignored"):
        PointGroupConfig(classes=20, ignored=(0, 20))


def test_the_benchmark_runs(monkeypatch, capsys):
    from gaussiancross.benchmarks import grouping as benchmark

    monkeypatch.setattr("sys.argv", ["grouping", "--small"])
    benchmark.main()
    printed = capsys.readouterr().out
    assert printed.count("numba") == 3 and "proposals" in printed
