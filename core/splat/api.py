"""`rasterize` and `pick`: checks, background and expected depth, shared by all backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from ..cuda import GSPLAT, cuda_ready
from ..errors import InputError
from ..geometry.cameras import Cameras
from ..geometry.gaussians import Gaussians

Backend = Literal["auto", "reference", "numba", "gsplat"]
_MODULES = {"reference": "reference", "numba": "cpu", "gsplat": "cuda"}
BACKEND_DEVICES = {"numba": "cpu", "gsplat": "cuda"}


@dataclass(frozen=True)
class Splats:
    """C images of H × W pixels.

    Attributes:
        color: [C, H, W, 3] Σ w colour, plus (1 - alpha) · background with a background.
        depth: [C, H, W, 1] expected camera depth z in metres, Σ w z / max(alpha, 1e-10); 0 where nothing was drawn.
        alpha: [C, H, W, 1] Σ w, at most 0.9999.
        features: [C, H, W, F] Σ w feature, not divided by alpha; None if the Gaussians carry none.
    """

    color: Tensor
    depth: Tensor
    alpha: Tensor
    features: Tensor | None


def default_backend(device: torch.device | str) -> str:
    """``"gsplat"`` for CUDA devices, ``"numba"`` for the CPU.

    Raises:
        InputError: the package is not installed or does not work (with what to do), or there is none for the device.
    """
    kind = torch.device(device).type
    for backend, name in BACKEND_DEVICES.items():
        if name == kind:
            _require(backend)
            return backend
    raise InputError("device", "cpu or cuda", kind, 'move the Gaussians, or ask for the slow backend="reference"')


def _require(backend: str) -> None:
    where = f'rasterize(backend="{backend}")'
    if backend != "reference" and find_spec(backend) is None:
        what = GSPLAT if backend == "gsplat" else "numba>=0.60,<0.70"
        raise InputError(where, f"the package {backend}", "none", f'install it: pip install "{what}"')
    problem = cuda_ready().gsplat if backend == "gsplat" else None
    if problem is not None:
        raise InputError(where, "a GPU that gsplat can use", f"none, because {problem.reason}", problem.remedy)


def rasterize(
    gaussians: Gaussians,
    viewmats: Tensor,  # [C, 4, 4]
    Ks: Tensor,  # [C, 3, 3]
    width: int,
    height: int,
    *,
    near: float = 0.01,
    far: float = 1e10,
    eps2d: float = 0.3,
    background: Tensor | None = None,  # [C, 3] or [3]
    backend: Backend = "auto",
) -> Splats:
    """Splat Gaussians into C pinhole cameras, with the conventions of gsplat 1.5.

    Per pixel, front to back by camera depth (ties by index): σ = ½ dᵀ Σ₂⁻¹ d with d from the pixel centre and Σ₂ the
    EWA covariance plus ``eps2d`` px², alpha = min(0.999, opacity · exp(-σ)), skipped under 1/255; the pixel stops
    before the Gaussian that would bring its transmittance T to 1e-4; otherwise w = alpha · T.

    Differentiable in every tensor of ``gaussians`` (through all four outputs) and in ``background``, not in the
    cameras. Visibility, order and stopping count as constants, and alphas above 0.999 pass no gradient. A Gaussian
    with a value that is not finite is not drawn and gets zero gradient.

    Args:
        gaussians: world frame, metres. The fast backends compute in float32.
        viewmats: [C, 4, 4] world → camera (OpenCV axes). The upper 3×3 block may carry a scale or a reflection (a
            geometric augmentation of the world); depth is measured in the frame that they map to.
        Ks: [C, 3, 3] intrinsics in pixels; skew is ignored, as gsplat does.
        width, height: image size in pixels.
        near, far: Gaussians whose centre has z outside [near, far] (metres) are not drawn.
        eps2d: blur added to the 2D covariances, px².
        background: [C, 3] or [3] colour behind everything; it enters neither depth nor features.
        backend: "reference" (torch, any device and dtype, memory H · W · N), "numba" (CPU), "gsplat" (CUDA) or
            "auto" (`default_backend`).

    Returns:
        Splats on the device of ``gaussians``.

    Raises:
        InputError: shapes, devices, camera values or a package are not as above.
    """
    _check(gaussians, viewmats, Ks, width, height, near, far, eps2d)
    Cameras(viewmats, Ks, width, height).require_finite()
    name = _resolve(backend, gaussians)
    color, depth, alpha, features = _run(name, "composite", gaussians, viewmats, Ks, width, height, near, far, eps2d)
    if background is not None:
        if background.shape not in ((3,), (len(viewmats), 3)):
            raise InputError("background", f"shape [3] or [{len(viewmats)}, 3]", str(list(background.shape)))
        color = color + (1.0 - alpha) * background.to(color).reshape(-1, 1, 1, 3)
    depth = depth / alpha.clamp_min(1e-10)
    return Splats(color, depth, alpha, None if gaussians.features is None else features)


def rasterize_scenes(
    scenes: Sequence[Gaussians], cameras: Sequence[Cameras], *, backend: Backend = "auto"
) -> list[Splats]:
    """`rasterize` several scenes, each into its own cameras; gsplat draws all of them in one call.

    Args:
        scenes: B scenes on one device.
        cameras: the cameras of each scene, checked before they were copied to the device (`Cameras.require_finite`):
            only those on the CPU are checked here.

    Raises:
        InputError: as `rasterize`.
    """
    limits = 0.01, 1e10, 0.3
    for gaussians, each in zip(scenes, cameras, strict=True):
        _check(gaussians, each.viewmats, each.Ks, each.width, each.height, *limits)
        if each.viewmats.device.type == "cpu":
            each.require_finite()
    alike = len({(len(c), c.width, c.height) for c in cameras}) == 1
    if not alike or _resolve(backend, scenes[0]) != "gsplat" or min(map(len, scenes)) == 0:
        drawn = [_images(backend, g, c, *limits) for g, c in zip(scenes, cameras, strict=True)]
    else:
        drawn = _images_of_scenes(scenes, cameras, *limits)
    return [Splats(c, d / a.clamp_min(1e-10), a, f) for c, d, a, f in drawn]


def pick(
    gaussians: Gaussians,
    viewmats: Tensor,  # [C, 4, 4]
    Ks: Tensor,  # [C, 3, 3]
    width: int,
    height: int,
    *,
    near: float = 0.01,
    far: float = 1e10,
    eps2d: float = 0.3,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Find the Gaussian with the largest blending weight at each pixel, such as one that the user clicks.

    Arguments and errors as for `rasterize`; always computed on the CPU unless ``backend="reference"``.

    Returns:
        index [C, H, W] int64 into ``gaussians`` (-1 where nothing was drawn; the front one among equals) and its camera
        depth z [C, H, W] in metres (0 where nothing was drawn), on the device of ``gaussians``.
    """
    _check(gaussians, viewmats, Ks, width, height, near, far, eps2d)
    Cameras(viewmats, Ks, width, height).require_finite()
    device = gaussians.means.device
    gaussians = Gaussians(**{**vars(gaussians.detach()), "features": None})
    if backend != "reference":
        gaussians, viewmats, Ks, backend = gaussians.to("cpu"), viewmats.cpu(), Ks.cpu(), "numba"
    with torch.no_grad():
        if len(gaussians) == 0:
            shape = (len(viewmats), height, width)
            return torch.full(shape, -1, device=device), torch.zeros(shape, device=device)
        name = _resolve(backend, gaussians)
        index, depth = _run(name, "pick", gaussians, viewmats, Ks, width, height, near, far, eps2d)
    return index.to(device), depth.to(device)


def _check(
    gaussians: Gaussians, viewmats: Tensor, Ks: Tensor, width: int, height: int, near: float, far: float, eps2d: float
) -> None:
    C = viewmats.shape[0] if viewmats.ndim else 0
    if C < 1 or viewmats.shape != (C, 4, 4) or Ks.shape != (C, 3, 3):
        raise InputError(
            "cameras",
            "viewmats [C, 4, 4] and Ks [C, 3, 3] with C ≥ 1",
            f"{list(viewmats.shape)} and {list(Ks.shape)}",
        )
    if width < 1 or height < 1:
        raise InputError("image size", "at least one pixel", f"{width} × {height}")
    if not 0.0 < near < far:
        raise InputError("near, far", "0 < near < far, in metres", f"{near}, {far}")
    if not eps2d >= 0.0:
        raise InputError("eps2d", "a blur of at least 0 px²", str(eps2d))
    devices = {str(t.device) for t in (*vars(gaussians).values(), viewmats, Ks) if t is not None}
    if len(devices) > 1:
        raise InputError("rasterize", "Gaussians and cameras on one device", ", ".join(sorted(devices)))


def _resolve(backend: str, gaussians: Gaussians) -> str:
    kind = gaussians.means.device.type
    if backend == "auto":
        return default_backend(kind)
    if backend not in _MODULES:
        raise InputError("backend", "one of auto, " + ", ".join(_MODULES), repr(backend))
    if BACKEND_DEVICES.get(backend, kind) != kind:
        raise InputError(f'backend="{backend}"', f"Gaussians on {BACKEND_DEVICES[backend]}", f"Gaussians on {kind}")
    _require(backend)
    return backend


def _images(backend: str, gaussians: Gaussians, cameras: Cameras, *limits: float) -> tuple[Tensor, ...]:
    """Colour, depth, alpha and features (or None) of one scene."""
    name = _resolve(backend, gaussians)
    size = cameras.width, cameras.height
    images = _run(name, "composite", gaussians, cameras.viewmats, cameras.Ks, *size, *limits)
    return images if gaussians.features is not None else (*images[:3], None)  # type: ignore[return-value]


def _images_of_scenes(
    scenes: Sequence[Gaussians], cameras: Sequence[Cameras], *limits: float
) -> list[tuple[Tensor, ...]]:
    """`_images` of scenes with as many cameras of one size each, by one call of gsplat."""
    from .cuda import composite_scenes

    joined = _finite(Gaussians.cat(list(scenes)).map(torch.Tensor.float))
    viewmats, Ks = (torch.stack([getattr(c, name) for c in cameras]).detach() for name in ("viewmats", "Ks"))
    with torch.autocast(joined.means.device.type, enabled=False):
        images = composite_scenes(
            joined.split([len(g) for g in scenes]), viewmats, Ks, cameras[0].width, cameras[0].height, *limits
        )
    parts = [t.unbind() for t in images]
    if joined.features is None:
        parts[3] = [None] * len(scenes)  # type: ignore[call-overload]
    return list(zip(*parts, strict=True))


def _run(
    backend: str,
    action: str,
    gaussians: Gaussians,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    *limits: float,
) -> tuple[Tensor, ...]:
    """Call a backend with at least one Gaussian, finite values and, unless it is "reference", float32."""
    if backend != "reference":
        gaussians = gaussians.map(torch.Tensor.float)
    if len(gaussians) == 0:
        return _nothing(gaussians, (len(viewmats), height, width))
    viewmats, Ks = viewmats.detach(), Ks.detach()
    if backend == "reference":
        viewmats, Ks = viewmats.to(gaussians.means), Ks.to(gaussians.means)
    if backend != "numba":  # its kernels leave out such Gaussians themselves
        gaussians = _finite(gaussians)
    module = import_module(f".{_MODULES[backend]}", __package__)
    with torch.autocast(gaussians.means.device.type, enabled=False):
        return getattr(module, action)(gaussians, viewmats, Ks, int(width), int(height), *map(float, limits))


def _nothing(gaussians: Gaussians, shape: tuple[int, int, int]) -> tuple[Tensor, ...]:
    """Empty images, connected to their (empty) inputs for autograd."""
    features = gaussians.features
    parts = [t.sum() for t in vars(gaussians).values() if t is not None]
    zero = torch.stack(parts).sum()
    return tuple(zero.expand(*shape, k) for k in (3, 1, 1, 0 if features is None else features.shape[1]))


def _finite(gaussians: Gaussians) -> Gaussians:
    """Replace Gaussians with a value that is not finite by transparent ones; no gradient reaches them."""
    parts = [t for t in vars(gaussians).values() if t is not None]
    good = torch.stack([t.detach().reshape(len(t), -1).isfinite().all(1) for t in parts]).all(0)
    # 1 for everything but the opacity: a unit Gaussian at (1, 1, 1)
    clean = gaussians.map(lambda t: torch.where(good.reshape(-1, *[1] * (t.ndim - 1)), t, torch.ones_like(t)))
    return Gaussians(**{**vars(clean), "opacities": torch.where(good, gaussians.opacities, 0.0)})
