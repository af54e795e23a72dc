"""Feature colours by UMAP: stable, shared, refused without umap-learn."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from gaussiancross.app.inspector import SplatsSource
from gaussiancross.app.render import umap_colors
from gaussiancross.app.render.compare import PartnerRenderer
from gaussiancross.app.render.feature_colors import FeatureColors
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.render.umap_colors import UmapColors, sampled
from gaussiancross.core.errors import InputError
from gaussiancross.core.features.pca import PcaBasis
from helpers.inspector import as_gaussians, box_room


def clusters(count: int = 60, dims: int = 12, seed: int = 0) -> torch.Tensor:
    """[5 · count, dims]: five tight clusters, one after the other."""
    generator = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(5, 1, dims, generator=torch.Generator().manual_seed(7))
    return (centers + 0.3 * torch.randn(5, count, dims, generator=generator)).flatten(0, 1)


@pytest.fixture(scope="module")
def fitted() -> tuple[torch.Tensor, PcaBasis, UmapColors, list[float]]:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    features, shares = clusters(), []
    basis = PcaBasis.fit(features)
    return features, basis, UmapColors.fit(features, basis.rgb, shares.append), shares


@pytest.mark.slow  # umap-learn compiles itself for half a minute
def test_clusters_have_colours_of_their_own(fitted):
    features, _, colors, shares = fitted
    rgb = colors.rgb(features)
    assert rgb.shape == (300, 3) and rgb.min() >= 0 and rgb.max() <= 1
    means = rgb.unflatten(0, (5, 60)).mean(1)
    within = (rgb.unflatten(0, (5, 60)) - means[:, None]).norm(dim=-1).mean()
    apart = torch.cdist(means, means)[~torch.eye(5, dtype=torch.bool)].min()
    assert apart > 2 * within
    assert torch.allclose(rgb, colors.colors, atol=2e-2)  # what is in the sample keeps its colour
    others = colors.rgb(clusters(20, seed=1)).unflatten(0, (5, 20)).mean(1)
    assert (others - means).norm(dim=-1).max() < 0.2  # and what is like it gets it
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 4


@pytest.mark.slow  # umap-learn compiles itself for half a minute
def test_colours_stay_near_those_before_and_come_out_the_same(fitted):
    features, basis, colors, _ = fitted
    again = UmapColors.fit(features, basis.rgb)
    assert torch.allclose(again.colors, colors.colors)
    pca, umap = basis.rgb(features), colors.rgb(features)
    pca, umap = pca - pca.mean(0), umap - umap.mean(0)
    assert float((pca * umap).sum() / (pca.norm() * umap.norm())) > 0.5


@pytest.mark.slow  # umap-learn compiles itself for half a minute
def test_features_that_are_not_finite_affect_only_their_own_colours(fitted):
    features, _, colors, _ = fitted
    spoiled = features.clone()
    spoiled[3] = float("nan")
    assert torch.allclose(colors.rgb(spoiled)[4:], colors.rgb(features)[4:]) and len(sampled(spoiled)) == 299


def test_one_basis_for_scenes_sides_and_steps_pca_until_it_is_ready(monkeypatch):
    may_go, redrawn = threading.Event(), threading.Event()

    def fit(points, like, progress):
        progress(0.3)
        assert may_go.wait(10)
        return UmapColors(points, 1 - like(points), points.mean(0))

    monkeypatch.setattr(umap_colors.UmapColors, "fit", staticmethod(fit))
    monkeypatch.setattr(umap_colors, "find_spec", lambda name: object())
    scene = box_room(8)
    features = torch.cat([torch.from_numpy(scene.coord), torch.from_numpy(scene.normal)], 1)
    source = SplatsSource(as_gaussians(scene, features), "box", device="cpu")
    renderer = Renderer(source)
    renderer.colors.changed = redrawn.set
    state = renderer.load(0)
    pca = renderer.embedding_colors(0, state)[0]
    renderer.colors.method = "UMAP"
    while renderer.colors.progress == 0:
        time.sleep(0.01)
    assert renderer.colors.progress == 0.3 and torch.equal(renderer.embedding_colors(0, state)[0], pca)
    may_go.set()
    assert redrawn.wait(10)
    umap = renderer.embedding_colors(0, state)[0]
    assert (umap - pca).abs().mean() > 0.1 and renderer.colors.progress is None
    assert renderer.colors.basis("embedding", features[:50], 5) is renderer.colors.fitted("embedding")
    partner = PartnerRenderer(source, renderer)  # turned towards what the left side shows
    right = partner.embedding_colors(0, partner.load(0))[0]
    assert (right - umap).abs().mean() < 0.05
    renderer.colors.method = "PCA"
    assert torch.equal(renderer.embedding_colors(0, state)[0], pca)


def test_failure_leaves_pca(monkeypatch):
    monkeypatch.setattr(umap_colors.UmapColors, "fit", staticmethod(lambda *a: 1 / 0))
    monkeypatch.setattr(umap_colors, "find_spec", lambda name: object())
    colors, features = FeatureColors(), clusters()
    before = colors.basis("embedding", features, None)
    colors.method = "UMAP"
    while colors.progress is not None:
        time.sleep(0.01)
    assert "ZeroDivisionError" in colors.failed and colors.basis("embedding", features, None) is before


def test_without_the_package_one_sentence(monkeypatch):
    monkeypatch.setattr(umap_colors, "find_spec", lambda name: None)
    colors = FeatureColors()
    with pytest.raises(InputError, match=r"UMAP colours: expected the package umap-learn, found none; `pip install"):
        colors.method = "UMAP"
    assert colors.method == "PCA"
    with pytest.raises(InputError, match="expected PCA or UMAP, found t-SNE"):
        colors.method = "t-SNE"  # type: ignore[assignment]
