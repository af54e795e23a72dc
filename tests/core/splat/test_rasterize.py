"""The rasterisers: golden vectors of gsplat, and the fast paths against the dense reference."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.splat import rasterize, reference
from helpers.splats import (
    FAST_AND_SLOW,
    NAMES,
    assert_close,
    assert_same_as_reference,
    cameras,
    golden,
    outputs,
    render,
    scene,
    with_gradients,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor


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
    from gaussiancross.core.splat.cpu import project_records

    n, w, h = len(data["means"]), info["config"]["width"], info["config"]["height"]
    f = [torch.tensor(data[k]) for k in ("means", "quats", "scales")]
    views, Ks = torch.tensor(data["viewmats"]), torch.tensor(data["Ks"])
    lists = project_records((*f, torch.ones(n), torch.zeros(n, 3), torch.zeros(n, 0)), views, Ks, w, h, 0.01, 1e10, 0.3)
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
