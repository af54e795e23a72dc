"""The rasterisers: golden vectors of gsplat, the fast paths against the dense reference, and degenerate input."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.splat import Splats, api, default_backend, pick, rasterize, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

GOLDEN = Path(__file__).parents[2] / "shared" / "data" / "golden"
NAMES = ("means", "quats", "scales", "opacities", "colors", "features")
FAST_AND_SLOW = ["reference", "numba"]


@pytest.fixture(autouse=True, scope="module")
def few_threads():
    """The images are tiny: more threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def golden(name: str) -> tuple[dict[str, np.ndarray], dict]:
    if not (GOLDEN / f"{name}.npz").exists():
        pytest.skip(f"golden vectors are not here ({name}.npz)")
    with np.load(GOLDEN / f"{name}.npz") as data:
        return dict(data), json.loads((GOLDEN / f"{name}.json").read_text())


def scene(n: int = 120, features: int = 5, seed: int = 0, spread: float = 1.0) -> Gaussians:
    """n Gaussians of very different sizes and opacities around the origin (float64)."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    return Gaussians(
        means=(rand(n, 3) - 0.5) * spread,
        quats=torch.randn(n, 4, generator=g, dtype=torch.float64),
        scales=torch.exp(rand(n, 3) * 3.0 - 4.5),
        opacities=rand(n),
        colors=rand(n, 3),
        features=rand(n, features) - 0.5 if features else None,
    )


def cameras(width: int = 37, height: int = 29, count: int = 2) -> Cameras:
    """Cameras on an arc, looking at the origin from 1.5 m."""
    angles = torch.linspace(0.0, 1.2, count, dtype=torch.float64)
    eyes = torch.stack([1.5 * angles.cos(), 1.5 * angles.sin(), 0.4 + 0.0 * angles], -1)
    views = torch.stack([look_at(e, torch.zeros(3, dtype=torch.float64)) for e in eyes])
    K = intrinsics(0.9, width, height).double()
    K[0, 2] += 2.3  # the principal point need not be central
    return Cameras(views, K.expand(count, 3, 3).clone(), width, height)


def render(g: Gaussians, c: Cameras, backend: str, dtype: torch.dtype = torch.float32, **options) -> Splats:
    g = g.map(lambda t: t.to(dtype))
    return rasterize(g, c.viewmats.to(dtype), c.Ks.to(dtype), c.width, c.height, backend=backend, **options)


def outputs(s: Splats) -> list[Tensor]:
    return [t for t in (s.color, s.depth, s.alpha, s.features) if t is not None]


def with_gradients(
    g: Gaussians, c: Cameras, backend: str, dtype: torch.dtype, which: tuple[int, ...] = (0, 1, 2, 3), **options
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs, and the gradients of a fixed random functional of the outputs named in ``which``."""
    leaves = {k: v.detach().to(dtype).requires_grad_() for k, v in vars(g).items() if v is not None}
    images = outputs(
        rasterize(
            Gaussians(**leaves), c.viewmats.to(dtype), c.Ks.to(dtype), c.width, c.height, backend=backend, **options
        )
    )
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(dtype) for t in images]
    loss = torch.stack([(images[i] * weights[i]).sum() for i in which if i < len(images)]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return [t.detach() for t in images], {k: v for k, v in zip(leaves, gradients, strict=True) if v is not None}


def assert_close(ours: Tensor, theirs: Tensor, relative: float, what: str) -> None:
    ours, theirs = ours.double(), theirs.double()
    assert ours.shape == theirs.shape and bool(ours.isfinite().all()), what
    error, scale = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    assert error <= relative * max(scale, 1e-6), f"{what}: {error:.2e} of {scale:.2e}"


def assert_same_as_reference(g: Gaussians, c: Cameras, relative: float = 1e-4, **options) -> None:
    slow, slow_gradients = with_gradients(g, c, "reference", torch.float64, **options)
    fast, fast_gradients = with_gradients(g, c, "numba", torch.float32, **options)
    for name, a, b in zip(("color", "depth", "alpha", "features"), fast, slow, strict=False):
        assert_close(a, b, relative, name)
    for name, b in slow_gradients.items():
        a = fast_gradients.get(name, torch.zeros_like(b))  # an output without a gradient is no part of the graph
        assert_close(a, b, relative, f"gradient of {name}")


# ---- against gsplat itself


@pytest.mark.parametrize("backend, dtype", [("reference", torch.float64), ("numba", torch.float32)])
def test_golden_rasterize(backend: str, dtype: torch.dtype) -> None:
    data, info = golden("rasterize")
    keys = dict(zip(NAMES, ("means", "quats", "scales", "opacities", "rgb", "feat"), strict=True))
    leaves = {k: torch.tensor(data[v]).to(dtype).requires_grad_() for k, v in keys.items()}
    views, Ks = (torch.tensor(data[k]).to(dtype) for k in ("viewmats", "Ks"))
    w, h = info["config"]["width"], info["config"]["height"]
    s = rasterize(Gaussians(**leaves), views, Ks, w, h, backend=backend)
    assert s.features is not None
    images = {"rgb": s.color, "feat": s.features, "ED": s.depth, "alpha": s.alpha}
    exact = dtype == torch.float64
    for name, image in images.items():
        atol = 1e-11 if exact else 1e-4 if name == "ED" else 2e-5
        rtol = 1e-9 if exact else 0.0
        np.testing.assert_allclose(image.detach().numpy(), data[f"dense_{name}"], rtol, atol, err_msg=name)
        weight = torch.tensor(data[f"w_{name}"]).to(dtype)
        gradients = torch.autograd.grad(
            (image * weight).sum(), list(leaves.values()), retain_graph=True, materialize_grads=True, allow_unused=True
        )
        for key, gradient in zip(keys.values(), gradients, strict=True):
            expected = data.get(f"dense_v_{key}__{name}")
            if expected is not None:
                limit = (1e-9 if exact else 1e-3) * np.abs(expected).max()
                assert np.abs(gradient.numpy() - expected).max() <= limit, (name, key)
    with_background = rasterize(
        Gaussians(**leaves), views, Ks, w, h, background=torch.tensor(data["background"]).to(dtype), backend=backend
    )
    np.testing.assert_allclose(with_background.color.detach().numpy(), data["dense_rgb_bg"], 0, 1e-9 if exact else 2e-5)
    assert torch.equal(with_background.depth, s.depth)


def test_golden_projection_of_the_reference() -> None:
    """Needles, huge and tiny Gaussians, frustum borders: means, conics, depths and their gradients, float64."""
    data, info = golden("gsplat_projection")
    n = len(data["means"])
    leaves = {k: torch.tensor(data[k]).double().requires_grad_() for k in ("means", "quats", "scales")}
    filler = {"opacities": torch.ones(n).double(), "colors": torch.zeros(n, 3).double()}
    loss = torch.zeros((), dtype=torch.float64)
    for c in range(2):
        view, K = (torch.tensor(data[k][c]).double() for k in ("viewmats", "Ks"))
        p = reference.project(
            Gaussians(**leaves, **filler), view, K, info["config"]["width"], info["config"]["height"], 0.01, 1e10, 0.3
        )
        valid = data["valid"][c]
        assert bool(p.visible[torch.tensor(valid)].all())
        for name, value in {"means2d": p.means2d, "conics": p.conics, "depths": p.depths}.items():
            expected = data[f"{name}_f64"][c][valid]
            np.testing.assert_allclose(value.detach().numpy()[valid], expected, 1e-9, 1e-12, err_msg=name)
            w = torch.tensor(data[f"w_{name}"][c])
            mask = torch.tensor(data["stable"][c]).reshape(-1, *[1] * (value.ndim - 1))
            loss = loss + torch.where(mask, value * w, 0.0).sum()
    for name, gradient in zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True):
        np.testing.assert_allclose(gradient.numpy(), data[f"v_{name}"], 1e-7, 1e-9, err_msg=name)


def test_golden_projection_of_the_numba_records() -> None:
    """The records' Cholesky factor, squared, is gsplat's conic; boxes lose no pixel with alpha ≥ 1/255."""
    data, info = golden("gsplat_projection")
    from gaussiancross.core.splat.cpu import _project

    n, w, h = len(data["means"]), info["config"]["width"], info["config"]["height"]
    f = [torch.tensor(data[k]) for k in ("means", "quats", "scales")]
    views, Ks = torch.tensor(data["viewmats"]), torch.tensor(data["Ks"])
    lists = _project((*f, torch.ones(n), torch.zeros(n, 3), torch.zeros(n, 0)), views, Ks, w, h, 0.01, 1e10, 0.3)
    boxes, r = lists.boxes, lists.records.astype(np.float64)
    drawn = data["stable"] & (boxes[..., 1] > boxes[..., 0])
    assert drawn.sum() > 300
    np.testing.assert_allclose(r[drawn][:, :2], data["means2d_f64"][drawn], 2e-5, 1e-3)
    np.testing.assert_allclose(r[drawn][:, 6], data["depths_f64"][drawn], 2e-6, 2e-6)
    p, q, s = r[drawn][:, 2:5].T
    conics = 2.0 * np.log(2.0) * np.stack([p * p, p * q, q * q + s * s], -1)
    expected = data["conics_f64"][drawn]
    assert np.all(np.abs(conics - expected) <= 2e-4 * np.abs(expected).max(1, keepdims=True))
    # Every pixel that a Gaussian of opacity 1 reaches lies in its tiles.
    v, u = np.mgrid[:h, :w] + 0.5
    for c, g in np.argwhere(data["valid"]):
        (mu, mv), (ca, cb, cc) = data["means2d_f64"][c, g], data["conics_f64"][c, g]
        reached = 0.5 * (ca * (u - mu) ** 2 + cc * (v - mv) ** 2) + cb * (u - mu) * (v - mv) <= np.log(255.0)
        x0, x1, y0, y1 = 8 * boxes[c, g]
        reached[y0:y1, x0:x1] = False
        assert not reached.any()


# ---- numba against the reference


@pytest.mark.parametrize("features", [0, 1, 16, 33])
def test_every_channel_count(features: int) -> None:
    assert_same_as_reference(scene(features=features, seed=features), cameras())


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (3,)], ids=["color", "depth", "alpha", "features"])
def test_gradient_of_each_output_alone(which: tuple[int, ...]) -> None:
    assert_same_as_reference(scene(seed=3), cameras(), which=which)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 60),
    width=st.integers(1, 33),
    height=st.integers(1, 33),
    count=st.integers(1, 3),
)
def test_any_scene(seed: int, n: int, width: int, height: int, count: int) -> None:
    """Sizes that are no multiple of a tile, down to one pixel."""
    g, c = scene(n, seed=seed), cameras(width, height, count)
    slow, fast = render(g, c, "reference", torch.float64), render(g, c, "numba")
    for a, b in zip(outputs(fast), outputs(slow), strict=True):
        assert_close(a, b, 2e-4, f"seed {seed}")


@pytest.mark.parametrize(
    "transform",
    [
        torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0])),
        torch.diag(torch.tensor([1.7, 1.7, 1.7, 1.0])),
        torch.tensor([[-0.9, 0.1, 0.0, 0.2], [0.0, 1.1, 0.3, -0.1], [0.0, 0.0, 1.2, 0.05], [0.0, 0.0, 0.0, 1.0]]),
    ],
    ids=["reflection", "scale", "any affine map"],
)
@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_augmented_cameras_see_the_same_picture(backend: str, transform: Tensor) -> None:
    """Moving the world and carrying the map in the extrinsics changes nothing, metric depth included."""
    g, c = scene(), cameras()
    linear = transform[:3, :3].double()
    if not torch.allclose(linear @ linear.T, linear[0, 0] ** 2 * torch.eye(3).double()):
        assert_same_as_reference(g, c.transformed(transform.double()))
        return
    scale = linear[0, 0].abs()
    axes = reference.quat_to_rotmat(g.quats)
    moved = linear / scale @ axes
    # A reflected Gaussian is a Gaussian again: turn one axis round to get a rotation.
    moved = moved * torch.det(moved).sign()[:, None, None]
    there = Gaussians(g.means @ linear.T, _quats(moved), g.scales * scale, g.opacities, g.colors, g.features)
    dtype = torch.float64 if backend == "reference" else torch.float32
    before, after = render(g, c, backend, dtype), render(there, c.transformed(transform.double()), backend, dtype)
    for a, b in zip(outputs(after), outputs(before), strict=True):
        assert_close(a, b, 1e-9 if backend == "reference" else 1e-4, backend)
    if backend == "numba":
        assert_same_as_reference(there, c.transformed(transform.double()))


def _quats(rotations: Tensor) -> Tensor:
    from scipy.spatial.transform import Rotation

    return torch.tensor(Rotation.from_matrix(rotations.numpy()).as_quat()[:, [3, 0, 1, 2]])


def test_reference_gradients_numerically() -> None:
    g, c = scene(2, features=1, spread=0.3), cameras(3, 2, 1)
    opaque = torch.full_like(g.opacities, 0.5)  # away from the cut-offs, where the function is smooth

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        splats = rasterize(
            Gaussians(values[0], values[1], values[2], opaque, values[3], values[4]),
            c.viewmats, c.Ks, 3, 2, eps2d=9.0, background=values[5], backend="reference",
        )  # fmt: skip
        return tuple(outputs(splats))

    assert g.features is not None
    leaves = (g.means, g.quats, g.scales * 20, g.colors, g.features, torch.rand(3).double())
    assert torch.autograd.gradcheck(function, [t.detach().clone().requires_grad_() for t in leaves])


# ---- properties, edges


def test_same_bits_for_any_number_of_threads() -> None:
    import numba

    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    torch.set_num_threads(2)
    g, c = scene(3000, features=8, spread=1.5), cameras(61, 45, 3)
    results = []
    for threads in (1, 2, 2):
        numba.set_num_threads(threads)
        images, gradients = with_gradients(g, c, "numba", torch.float32)
        results.append([*images, *gradients.values()])
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_many_threads_may_call_at_once() -> None:
    g, c = scene(300), cameras()
    expected = render(g, c, "numba").color
    seen: list[Tensor] = []
    threads = [threading.Thread(target=lambda: seen.append(render(g, c, "numba").color)) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert len(seen) == 6 and all(torch.equal(s, expected) for s in seen)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
@pytest.mark.parametrize("case", ["behind", "transparent", "far to the side", "none at all"])
def test_nothing_to_see(backend: str, case: str) -> None:
    """The background, no alpha, and gradients that are zero rather than missing."""
    g, c = scene(), cameras()
    axis = c.viewmats[0, 2, :3]
    if case == "behind":
        g, c = Gaussians(**{**vars(g), "means": g.means - 10.0 * axis}), c[0]
    if case == "far to the side":
        g, c = Gaussians(**{**vars(g), "means": g.means + 50.0 * c.viewmats[0, 0, :3]}), c[0]
    if case == "transparent":
        g = Gaussians(**{**vars(g), "opacities": torch.zeros_like(g.opacities)})
    if case == "none at all":
        g = g[:0]
    background = torch.tensor([0.1, 0.2, 0.3])
    s = render(g, c, backend, background=background)
    assert torch.equal(s.color, background.expand_as(s.color))
    assert not s.alpha.any() and not s.depth.any() and s.features is not None and not s.features.any()
    _, gradients = with_gradients(g, c, backend, torch.float32)
    assert set(gradients) == set(NAMES) and not any(v.any() for v in gradients.values())


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 30.0, 1e5])
def test_extreme_scales(scale: float) -> None:
    g = scene(12, seed=2)
    g = Gaussians(**{**vars(g), "scales": g.scales * scale})
    slow, fast = render(g, cameras(), "reference", torch.float64), render(g, cameras(), "numba")
    for a, b in zip(outputs(fast), outputs(slow), strict=True):
        assert_close(a, b, 1e-3, f"scale {scale}")
    _, gradients = with_gradients(g, cameras(), "numba", torch.float32)
    assert all(bool(v.isfinite().all()) for v in gradients.values())


def test_needles() -> None:
    """Aspect ratios of 1,000: the 2D covariance in float32 would lose its determinant."""
    g = scene(40, seed=7)
    g = Gaussians(**{**vars(g), "scales": torch.tensor([2.0, 2e-3, 2e-3]).double().expand(40, 3)})
    assert_same_as_reference(g, cameras(), 1e-3)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_not_finite(backend: str, name: str) -> None:
    """Such a Gaussian is left out and gets zero gradient; the others do not notice."""
    g, c = scene(30), cameras()
    bad = [3, 11, 20]
    value = vars(g)[name].clone()
    for i, x in zip(bad, (torch.nan, torch.inf, -torch.inf), strict=True):
        value[i].reshape(-1)[-1] = x
    broken = Gaussians(**{**vars(g), name: value})
    keep = torch.ones(30, dtype=torch.bool)
    keep[bad] = False
    images, gradients = with_gradients(broken, c, backend, torch.float32)
    expected_images, expected = with_gradients(g[keep], c, backend, torch.float32)
    for a, b in zip(images, expected_images, strict=True):
        assert_close(a, b, 1e-5, name)
    for key, gradient in gradients.items():
        assert not gradient[bad].any(), key
        assert_close(gradient[keep], expected[key], 1e-5, key)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_thousands_on_one_pixel(backend: str) -> None:
    """Pixels stop early: what lies behind gets no gradient, and alpha never passes 0.9999."""
    n = 3000
    means = torch.zeros(n, 3)
    means[:, 2] = torch.linspace(1.0, 2.0, n)
    g = Gaussians(
        means, torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1), torch.full((n, 3), 0.05), torch.full((n,), 0.5),
        torch.rand(n, 3, generator=torch.Generator().manual_seed(0)),
    )  # fmt: skip
    c = Cameras(torch.eye(4)[None], intrinsics(0.6, 9, 9)[None], 9, 9)
    images, gradients = with_gradients(g, c, backend, torch.float32)
    assert 0.999 < images[2].max() <= 0.9999 + 1e-7
    assert gradients["colors"][:8].abs().min() > 0 and not gradients["colors"][1000:].any()


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_ties_in_depth_keep_the_order_of_the_list(backend: str) -> None:
    g = Gaussians(
        torch.tensor([[0.0, 0.0, 1.0]] * 3), torch.tensor([[1.0, 0, 0, 0]] * 3), torch.full((3, 3), 0.3),
        torch.full((3,), 0.9), torch.eye(3),
    )  # fmt: skip
    c = Cameras(torch.eye(4)[None], intrinsics(0.6, 3, 3)[None], 3, 3)
    assert torch.allclose(render(g, c, backend).color[0, 1, 1], torch.tensor([0.9, 0.09, 0.009]), atol=1e-5)
    assert pick(g, c.viewmats, c.Ks, 3, 3, backend=backend)[0].unique().tolist() == [0]


def test_no_gradient_through_a_saturated_alpha() -> None:
    g = Gaussians(
        torch.tensor([[0.0, 0.0, 1.0]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.ones(1, 3),
        torch.ones(1),
        torch.ones(1, 3),
    )
    c = Cameras(torch.eye(4)[None], intrinsics(0.6, 1, 1)[None], 1, 1)
    for backend in FAST_AND_SLOW:
        images, gradients = with_gradients(g, c, backend, torch.float32)
        assert images[2].item() == pytest.approx(0.999)
        assert not gradients["opacities"].any() and gradients["colors"].any()


def test_zero_quaternion_is_harmless() -> None:
    g = scene(5)
    g.quats[2] = 0.0
    assert_same_as_reference(g, cameras())


def test_background_per_camera_and_its_gradient() -> None:
    g, c = scene(20), cameras()
    for backend in FAST_AND_SLOW:
        background = torch.rand(2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        s = render(g, c, backend, background=background)
        plain = render(g, c, backend)
        assert torch.allclose(s.color, plain.color + (1 - plain.alpha) * background[:, None, None], atol=1e-6)
        (gradient,) = torch.autograd.grad(s.color.sum(), background)
        assert torch.allclose(gradient, (1 - plain.alpha).sum((1, 2)).expand(2, 3), rtol=1e-4)


def test_half_precision_and_strided_inputs() -> None:
    g, c = scene(50, features=6), cameras()
    expected = render(g.map(lambda t: t.to(torch.bfloat16)), c, "numba").color
    strided = g.map(lambda t: torch.stack([t, t], -1).float()[..., 0])
    assert torch.equal(render(strided, c, "numba").color, render(g, c, "numba").color)
    with torch.autocast("cpu", torch.bfloat16):
        half = rasterize(
            g.map(lambda t: t.to(torch.bfloat16)), c.viewmats.float(), c.Ks.float(), c.width, c.height, backend="numba"
        )
    assert half.color.dtype == torch.float32 and torch.equal(half.color, expected)


def test_backward_twice_and_inputs_changed_in_place() -> None:
    g, c = scene(40).map(lambda t: t.float()), cameras()
    means = g.means.clone().requires_grad_()
    copy = means * 1.0
    s = render(Gaussians(**{**vars(g), "means": copy}), c, "numba")
    (first,) = torch.autograd.grad(s.color.sum(), means, retain_graph=True)
    (second,) = torch.autograd.grad(s.color.sum(), means, retain_graph=True)
    assert torch.equal(first, second)
    with torch.no_grad():
        copy.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.color.sum().backward()


# ---- picking


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_pick_names_the_gaussian_that_one_hot_features_name(backend: str) -> None:
    g, c = scene(40, seed=9), cameras(21, 19)
    one_hot = Gaussians(**{**vars(g), "features": torch.eye(40)})
    weights = render(one_hot, c, "reference", torch.float64).features
    assert weights is not None
    best, expected = weights.max(-1)
    g = g.map(lambda t: t.float())
    index, depth = pick(g, c.viewmats.float(), c.Ks.float(), 21, 19, backend=backend)
    assert index.dtype == torch.int64 and index.shape == (2, 19, 21)
    clear = (weights.topk(2, -1).values.diff(dim=-1)[..., 0].abs() > 1e-5) & (best > 0)
    assert clear.sum() > 200 and torch.equal(index[clear], expected[clear])
    assert torch.equal(index < 0, best == 0) and not depth[index < 0].any()
    z = c.project(g.means.double())[1]
    expected_depth = z.gather(1, index.clamp_min(0).flatten(1)).reshape(index.shape)
    assert torch.allclose(depth.double()[clear], expected_depth[clear], atol=1e-5)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_pick_in_an_empty_scene(backend: str) -> None:
    c = cameras()
    for g in (scene(5)[:0], Gaussians(**{**vars(scene(5)), "opacities": torch.zeros(5).double()})):
        index, depth = pick(g.map(lambda t: t.float()), c.viewmats.float(), c.Ks.float(), 7, 5, backend=backend)
        assert bool((index == -1).all()) and not depth.any() and index.shape == (2, 5, 7)


# ---- errors


def test_errors_are_sentences() -> None:
    g, c = scene(3).map(lambda t: t.float()), cameras()
    V, K = c.viewmats.float(), c.Ks.float()
    with pytest.raises(InputError, match="C ≥ 1"):
        rasterize(g, V[:0], K[:0], 8, 8)
    with pytest.raises(InputError, match="viewmats"):
        rasterize(g, V[0], K[0], 8, 8)
    with pytest.raises(InputError, match="at least one pixel"):
        rasterize(g, V, K, 0, 8)
    with pytest.raises(InputError, match="0 < near < far"):
        rasterize(g, V, K, 8, 8, near=0.0)
    with pytest.raises(InputError, match="background"):
        rasterize(g, V, K, 8, 8, background=torch.zeros(5, 3))
    with pytest.raises(InputError, match="one of auto"):
        rasterize(g, V, K, 8, 8, backend="vulkan")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Gaussians on cuda"):
        rasterize(g, V, K, 8, 8, backend="gsplat")
    with pytest.raises(InputError, match=r"NaN or infinity in \[1\]"):
        rasterize(g, torch.stack([V[0], V[1] * torch.inf]), K, 8, 8)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_backend("cpu") == "numba"
    monkeypatch.setattr(api, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="the package numba"):
        default_backend("cpu")
    with pytest.raises(InputError, match="the package gsplat"):
        default_backend("cuda")
    with pytest.raises(InputError, match="cpu or cuda"):
        default_backend("mps")


def test_importing_loads_neither_numba_nor_gsplat() -> None:
    code = "import sys, gaussiancross.core.splat; print(sorted({'numba', 'gsplat'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_exp2_of_the_kernels() -> None:
    from gaussiancross.core.splat import simd
    from numba import njit

    @njit
    def apply(x, y):
        for i in range(0, len(x), 16):
            simd.store(y, i, simd.exp2(simd.load(x, i)))

    x = np.linspace(-9.0, 1.0, 160_000, dtype=np.float32)
    y = np.empty_like(x)
    apply(x, y)
    assert np.abs(y / np.exp2(x.astype(np.float64)) - 1.0).max() < 2e-7
    edge = np.array([-np.inf, np.nan, -1e30, 0.0] * 4, np.float32)
    apply(edge, y)
    assert np.all(y[:16] == np.tile(np.float32([2.0**-20] * 3 + [1.0]), 4))


def test_threads_of_torch_stay_as_they_were(monkeypatch):
    """numba starts its threads when it is first asked for their number, and sets OpenMP's, which are torch's, too."""
    from gaussiancross.core.splat import cpu

    before = torch.get_num_threads()

    def starts() -> int:
        torch.set_num_threads(before + 1)
        return 1

    monkeypatch.setattr(cpu, "get_num_threads", starts)
    try:
        with cpu._kernels():
            pass
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)
