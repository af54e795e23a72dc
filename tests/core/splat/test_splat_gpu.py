"""gsplat against the other backends; without a GPU, the adapter against a gsplat made of the reference."""

from __future__ import annotations

import ast
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.splat import api, cuda, pick, rasterize, rasterize_scenes, reference
from helpers.paths import SHARED_DATA
from torch import Tensor

GOLDEN = SHARED_DATA / "golden" / "rasterize.npz"
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("gsplat") is None, reason="needs a CUDA device and gsplat"
)


def scene(n: int = 300, features: int = 32, seed: int = 0) -> Gaussians:
    g = torch.Generator().manual_seed(seed)
    return Gaussians(
        means=torch.rand(n, 3, generator=g) - 0.5,
        quats=torch.randn(n, 4, generator=g),
        scales=torch.exp(torch.rand(n, 3, generator=g) * 2.5 - 4.0),
        opacities=torch.rand(n, generator=g),
        colors=torch.rand(n, 3, generator=g),
        features=torch.rand(n, features, generator=g) - 0.5 if features else None,
    )


def cameras(width: int = 53, height: int = 37) -> Cameras:
    eyes = torch.tensor([[1.5, 0.0, 0.4], [0.8, 1.2, -0.3]])
    views = torch.stack([look_at(e, torch.zeros(3)) for e in eyes])
    return Cameras(views, intrinsics(0.9, width, height).expand(2, 3, 3).clone(), width, height)


def run(g: Gaussians, c: Cameras, backend: str, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs and the gradients of a fixed random functional of all of them, by name, on the CPU."""
    leaves = {k: v.detach().to(device, dtype).requires_grad_() for k, v in vars(g).items() if v is not None}
    cam = c.to(device)
    s = rasterize(
        Gaussians(**leaves), cam.viewmats.to(dtype), cam.Ks.to(dtype), c.width, c.height,
        background=torch.tensor([0.3, 0.5, 0.7], device=device), backend=backend,  # type: ignore[arg-type]
    )  # fmt: skip
    images = {k: v for k, v in vars(s).items() if v is not None}
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(v.shape, generator=generator).to(device, dtype) for v in images.values()]
    loss = torch.stack([(v * w).sum() for v, w in zip(images.values(), weights, strict=True)]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    found = {**images, **{f"gradient of {k}": v for k, v in zip(leaves, gradients, strict=True)}}
    return {k: v.detach().cpu().double() for k, v in found.items()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], relative: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, b in theirs.items():
        error = (ours[name] - b).abs().max().item()
        assert error <= relative * b.abs().max().clamp_min(1e-6).item(), f"{name}: {error:.2e}"


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("features", [0, 5, 28, 32])
def test_gsplat_numba_and_reference_agree(features: int) -> None:
    g, c = scene(features=features), cameras()
    slow = run(g, c, "reference", "cpu", torch.float64)
    assert_same(run(g, c, "numba", "cpu", torch.float32), slow, 1e-4)
    assert_same(run(g, c, "gsplat", "cuda", torch.float32), slow, 1e-3)


@pytest.mark.gpu
@needs_gpu
def test_golden_on_the_gpu() -> None:
    if not GOLDEN.exists():
        pytest.skip("golden vectors are not here")
    data = dict(np.load(GOLDEN))
    keys = ("means", "quats", "scales", "opacities", "rgb", "feat")
    g = Gaussians(*(torch.tensor(data[k]).cuda() for k in keys))
    s = rasterize(g, torch.tensor(data["viewmats"]).cuda(), torch.tensor(data["Ks"]).cuda(), 48, 36)
    assert s.features is not None
    for image, name, atol in ((s.color, "rgb", 5e-5), (s.features, "feat", 5e-5), (s.alpha, "alpha", 5e-5)):
        np.testing.assert_allclose(image.cpu().numpy(), data[f"dense_{name}"], 0, atol, err_msg=name)
    np.testing.assert_allclose(s.depth.cpu().numpy(), data["dense_ED"], 0, 5e-4)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("scale", [(1.0, -1.0, 1.0), (1.6, 1.6, 1.6)], ids=["reflection", "scale"])
def test_augmented_extrinsics_on_the_gpu(scale: tuple[float, float, float]) -> None:
    g = scene(features=4)
    c = cameras().transformed(torch.diag(torch.tensor([*scale, 1.0])))
    assert_same(run(g, c, "gsplat", "cuda", torch.float32), run(g, c, "reference", "cpu", torch.float64), 1e-3)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("case", ["empty", "behind", "transparent", "not finite", "one pixel", "huge", "tiny"])
def test_degenerate_scenes_on_the_gpu(case: str) -> None:
    g, c = scene(40, features=4), cameras(1, 1) if case == "one pixel" else cameras()
    broken = g.scales.clone()
    broken[3] = torch.nan
    change = {
        "empty": lambda: g[:0],
        "behind": lambda: Gaussians(**{**vars(g), "means": g.means + 100.0 * c.centers[0]}),
        "transparent": lambda: Gaussians(**{**vars(g), "opacities": torch.zeros(40)}),
        "not finite": lambda: Gaussians(**{**vars(g), "scales": broken}),
        "huge": lambda: Gaussians(**{**vars(g), "scales": g.scales * 30}),
        "tiny": lambda: Gaussians(**{**vars(g), "scales": g.scales * 1e-6}),
    }  # fmt: skip
    g = change.get(case, lambda: g)()
    assert_same(run(g, c, "gsplat", "cuda", torch.float32), run(g, c, "reference", "cpu", torch.float64), 2e-3)


@pytest.mark.gpu
@needs_gpu
def test_pick_on_the_gpu_answers_there() -> None:
    g, c = scene(features=0), cameras()
    here = pick(g, c.viewmats, c.Ks, c.width, c.height)
    there = pick(g.to("cuda"), c.viewmats.cuda(), c.Ks.cuda(), c.width, c.height)
    assert there[0].is_cuda and torch.equal(here[0], there[0].cpu()) and torch.equal(here[1], there[1].cpu())


# ---- without a GPU


def gsplat_of_the_reference(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options):
    """gsplat.rasterization as its documentation has it: colours of any width, then the depth."""
    assert options["packed"] is False and options["render_mode"] == "RGB+D"
    assert all(t.is_contiguous() and t.dtype == torch.float32 for t in (means, quats, scales, opacities, colors))
    g = Gaussians(means, quats, scales, opacities, colors[:, :3], colors[:, 3:])
    limits = options["near_plane"], options["far_plane"], options["eps2d"]
    color, depth, alpha, features = reference.composite(g, viewmats, Ks, width, height, *limits)
    return torch.cat([color, features, depth], -1), alpha, {}


@pytest.mark.parametrize("features", [0, 1, 32])
def test_adapter_takes_gsplats_channels_apart(features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gsplat")
    module.rasterization = gsplat_of_the_reference  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", module)
    g, c = scene(20, features), cameras(9, 7)
    limits = (9, 7, 0.01, 1e10, 0.3)
    ours, expected = cuda.composite(g, c.viewmats, c.Ks, *limits), reference.composite(g, c.viewmats, c.Ks, *limits)
    assert all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def gsplat_of_scenes(version: str, calls: list[tuple[bool, tuple[int, ...]]]) -> ModuleType:
    """A gsplat that takes leading axes from 1.5.3 on; ``calls`` gets packed and the shape of the means."""

    def rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options):
        calls.append((options["packed"], tuple(means.shape)))
        values, rest = (means, quats, scales, opacities, colors, viewmats, Ks), {**options, "packed": False}
        if means.ndim == 2:
            return gsplat_of_the_reference(*values, width, height, **rest)
        assert version >= "1.5.3" and not options["packed"]
        each = [gsplat_of_the_reference(*parts, width, height, **rest)[:2] for parts in zip(*values, strict=True)]
        return (*(torch.stack(images) for images in zip(*each, strict=True)), {})

    module = ModuleType("gsplat")
    module.rasterization, module.__version__ = rasterization, version  # type: ignore[attr-defined]
    module.__spec__ = ModuleSpec("gsplat", None)
    return module


@pytest.mark.parametrize("version", ["1.4.0", "1.5.3"])
@pytest.mark.parametrize("features", [0, 5])
@pytest.mark.parametrize("limit", [0, cuda.DENSE_BYTES])
def test_scenes_are_drawn_by_one_call_or_packed(version, features, limit, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bool, tuple[int, ...]]] = []
    monkeypatch.setitem(sys.modules, "gsplat", gsplat_of_scenes(version, calls))
    monkeypatch.setattr(api, "BACKEND_DEVICES", {"gsplat": "cpu"})
    monkeypatch.setattr(api, "_require", lambda backend: None)
    monkeypatch.setattr(cuda, "DENSE_BYTES", limit)
    scenes, each = [scene(20, features), scene(45, features, 1)], [cameras(9, 7), cameras(9, 7)]
    leaves = [{k: v.clone().requires_grad_() for k, v in vars(g).items() if v is not None} for g in scenes]
    gradients = []
    for draw in (
        lambda: rasterize_scenes([Gaussians(**g) for g in leaves], each),
        lambda: [rasterize(Gaussians(**g), c.viewmats, c.Ks, 9, 7, backend="reference")
                 for g, c in zip(leaves, each, strict=True)],
    ):  # fmt: skip
        images = [image for splats in draw() for image in vars(splats).values() if image is not None]
        total = torch.stack([(image * torch.arange(9)[:, None]).sum() for image in images]).sum()
        gradients.append((images, torch.autograd.grad(total, [t for g in leaves for t in g.values()])))
    for ours, expected in zip(*gradients, strict=True):
        for a, b in zip(ours, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    together = version == "1.5.3" and limit > 0
    assert calls == ([(False, (2, 45, 3))] if together else [(True, (20, 3)), (True, (45, 3))])


def test_adapter_calls_gsplat_with_names_that_it_has() -> None:
    spec = find_spec("gsplat")
    if spec is None or spec.origin is None:
        pytest.skip("gsplat is not installed")
    tree = ast.parse((Path(spec.origin).parent / "rendering.py").read_text())
    theirs = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "rasterization")
    calls = [n for n in ast.walk(ast.parse(Path(cuda.__file__).read_text())) if isinstance(n, ast.Call)]
    ours = next(n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "rasterization")
    assert {k.arg for k in ours.keywords} <= {a.arg for a in theirs.args.args}
