"""GaussianCross on one small scene: input, output, precision."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.data.augment import AugmentConfig
from gaussiancross.core.data.batch import Batch, PointBatch, Views, make_input
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.losses.gaussiancross import feature_cosine
from gaussiancross.core.models import GaussianCross
from gaussiancross.trainers.pretraining.presets import TINY

CONFIG = replace(TINY.model, lattice_cells=2048, lattice_shape=(16, 16, 8), teacher_dim=5)


def some_scene(n=1500, seed=0) -> PointScene:
    rng = np.random.default_rng(seed)
    coord = rng.uniform([0, 0, 0], [2, 1.5, 1], (n, 3)).astype(np.float32)
    coord[np.arange(n), rng.integers(0, 3, n)] = 0  # three walls that meet
    color = rng.integers(0, 255, (n, 3)).astype(np.uint8)
    return PointScene("corner", coord, color, np.tile(np.float32([0, 0, 1]), (n, 1)))


def some_batch(config, scenes=1) -> Batch:
    rng = np.random.default_rng(0)
    viewmat = look_at(torch.tensor([3.0, 3.0, 2.0]), torch.tensor([0.5, 0.5, 0.3]))
    cameras = Cameras(viewmat.expand(2, 4, 4), intrinsics(1.0, 32, 24).expand(2, 3, 3), 32, 24)
    parts, views = [], []
    for seed in range(scenes):
        given = make_input(some_scene(seed=seed), config.input, rng, AugmentConfig())
        parts.append(given.points)
        views.append(
            Views(cameras.transformed(given.transform), torch.rand(2, 24, 32, 3), torch.full((2, 24, 32), 3.0),
                  torch.randn(2, 3, 4, 5))
        )  # fmt: skip
    return Batch(PointBatch.cat(parts), views)


@pytest.mark.parametrize("anchors", ["lattice", "two_level"])
@pytest.mark.parametrize("lattice", ["ponder", "cuboid"])
def test_everything_learns_from_the_losses(anchors, lattice):
    torch.manual_seed(0)
    model = GaussianCross(replace(CONFIG, anchors=anchors, lattice=lattice, adaptive_weights=True))
    batch = some_batch(model.config, scenes=2)
    loss, terms = model.losses(model(batch), batch)
    loss.backward()
    assert set(terms) == {"rgb", "depth", "feature", "points"}
    untouched = [k for k, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert untouched == []


@pytest.mark.parametrize("anchors", ["lattice", "two_level"])
def test_half_precision_autocast_stays_close(anchors):
    torch.manual_seed(0)
    model = GaussianCross(replace(CONFIG, anchors=anchors))
    batch = some_batch(model.config)
    exact, _ = model.losses(model(batch), batch)
    with torch.autocast("cpu", torch.bfloat16):
        predictions = model(batch)
        loss, _ = model.losses(predictions, batch)
    loss.backward()
    assert predictions[0].gaussians.means.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.1)


@pytest.mark.parametrize("anchors", ["lattice", "two_level"])
def test_nothing_of_a_masked_block_reaches_the_gaussians(anchors):
    torch.manual_seed(0)
    config = replace(CONFIG, anchors=anchors, input=replace(CONFIG.input, mask_mode="blocks", mask_block=0.4))
    model = GaussianCross(config).eval()
    points = some_batch(config).points
    assert 0.2 < points.masked.float().mean() < 0.8
    other = replace(points, feat=torch.where(points.masked[:, None], torch.rand_like(points.feat), points.feat))
    with torch.no_grad():
        a, b = model.gaussians(points)[0], model.gaussians(other)[0]
    assert torch.equal(a.colors, b.colors)
    assert torch.equal(a.means, b.means)


def test_embeddings_are_rendered_at_the_size_that_is_asked_for():
    torch.manual_seed(0)
    full = GaussianCross(CONFIG)
    small = GaussianCross(replace(CONFIG, feature_stride=4))
    small.load_state_dict(full.state_dict())
    batch = some_batch(CONFIG, scenes=2)
    whole, quarter = full(batch), small(batch)
    for a, b in zip(whole, quarter, strict=True):
        assert a.splats.features.shape == (2, 24, 32, 32) and b.splats.features.shape == (2, 6, 8, 32)
        assert torch.equal(a.splats.color, b.splats.color) and torch.equal(a.splats.depth, b.splats.depth)
        cosine = torch.cosine_similarity(a.tokens, b.tokens, dim=-1)
        assert float(cosine.mean()) > 0.95
    small.losses(quarter, batch)[1]["feature"].backward()
    assert float(small.head.rest.weight.grad.abs().sum()) > 0
    with pytest.raises(InputError, match="feature_stride"):
        replace(CONFIG, feature_stride=0)


def test_scenes_with_feature_maps_of_other_shapes_count_equally():
    torch.manual_seed(0)
    model = GaussianCross(CONFIG)
    batch = some_batch(CONFIG, scenes=2)
    batch.views[1] = replace(batch.views[1], teacher=torch.randn(2, 6, 8, 5))
    predictions = model(batch)
    assert [p.tokens.shape for p in predictions] == [(2, 3, 4, 5), (2, 6, 8, 5)]
    loss, terms = model.losses(predictions, batch)
    scenes = zip(predictions, batch.views, strict=True)
    each = [feature_cosine(p.tokens, v.teacher).detach() for p, v in scenes]
    assert float(terms["feature"].detach()) == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)
    loss.backward()
    assert float(model.projection.weight.grad.abs().sum()) > 0


def test_encode_gives_every_point_the_feature_of_its_voxel():
    model = GaussianCross(CONFIG).eval()
    scene = some_scene()
    features = model.encode(scene.coord, scene.color, scene.normal)
    assert features.shape == (len(scene), CONFIG.channels[-1])
    shuffled = np.random.default_rng(1).permutation(len(scene))
    assert torch.allclose(model.encode(*(a[shuffled] for a in (scene.coord, scene.color, scene.normal))).mean(0),
                          features.mean(0), atol=0.1)  # fmt: skip


def test_weights_that_cannot_be_learned_from_are_refused():
    with pytest.raises(InputError, match="positive weights"):
        replace(CONFIG, adaptive_weights=True, loss_weights={"rgb": 10.0, "depth": 0.0, "feature": 1.0})


def with_lifted(batch: Batch, dim: int = 5) -> Batch:
    lifted = torch.randn(len(batch.points.coord), dim, generator=torch.Generator().manual_seed(3))
    return replace(batch, points=replace(batch.points, lifted=lifted))


LIFTED = replace(
    CONFIG, input=replace(CONFIG.input, lifted_frames=4), head=replace(CONFIG.head, feature_dim=8, prune_threshold=0)
)


def test_lifted_features_are_where_the_field_starts_and_the_backbone_never_sees_them():
    torch.manual_seed(0)
    model = GaussianCross(LIFTED)
    batch = with_lifted(some_batch(model.config, scenes=2))
    gaussians = model.gaussians(batch.points)
    for k, span in enumerate(batch.points.spans()):
        cell = (batch.points.coord[span] / LIFTED.fine_voxel).floor()
        keys, inverse = torch.unique(cell - cell.amin(0), dim=0, return_inverse=True)
        mean = torch.stack([batch.points.lifted[span][inverse == i].mean(0) for i in range(len(keys))])
        fine = gaussians[k].features[-len(keys) :]
        torch.testing.assert_close(model.projection(fine), mean, rtol=1e-4, atol=1e-5)
    plain = replace(batch.points, lifted=None)
    assert torch.equal(model.backbone_features(plain), model.backbone_features(batch.points))
    assert torch.isfinite(model.gaussians(plain)[0].features).all()


def test_a_network_with_lifted_input_learns_everywhere():
    torch.manual_seed(0)
    model = GaussianCross(LIFTED)
    batch = with_lifted(some_batch(model.config, scenes=2))
    loss, _ = model.losses(model(batch), batch)
    loss.backward()
    untouched = [k for k, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert untouched == []


def test_scenes_without_lifted_features_count_as_unseen_in_a_batch():
    parts = [make_input(some_scene(seed=s), LIFTED.input).points for s in (0, 1)]
    joined = PointBatch.cat([replace(parts[0], lifted=torch.ones(len(parts[0].coord), 5)), parts[1]])
    assert joined.lifted is not None
    assert float(joined.lifted[: len(parts[0].coord)].min()) == 1 and not joined.lifted[len(parts[0].coord) :].any()
