"""What is asked of gsplat, against the signatures of its versions as they were recorded; none is installed for it."""

from __future__ import annotations

import inspect
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch
from gaussiancross.core.splat import cuda
from helpers.splats import cameras, scene

FIRST = "means quats scales opacities colors viewmats Ks width height"
COMMON = """near_plane far_plane radius_clip eps2d sh_degree packed tile_size backgrounds render_mode sparse_grad
    absgrad rasterize_mode channel_chunk distributed camera_model"""
CAMERAS = "radial_coeffs tangential_coeffs thin_prism_coeffs ftheta_coeffs"
OPTIONS = {
    "1.4.0": f"{COMMON} covars",
    "1.5.3": f"{COMMON} segmented covars with_ut with_eval3d {CAMERAS} rolling_shutter viewmats_rs",
    # The sources after 1.5.3 (commit 11909fc, 2026), which became no release yet.
    "next": f"""{COMMON} segmented covars with_ut with_eval3d return_normals global_z_order rays {CAMERAS} lidar_coeffs
        external_distortion_coeffs rolling_shutter viewmats_rs ut_params extra_signals extra_signals_sh_degree""",
}
"""Version → names of the optional parameters of ``rasterization``, in order; `FIRST` come before them."""


def signature(version: str) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    required = [inspect.Parameter(name, kind) for name in FIRST.split()]
    return inspect.Signature([*required, *(inspect.Parameter(n, kind, default=0) for n in OPTIONS[version].split())])


@pytest.mark.parametrize("version", OPTIONS)
def test_every_version_takes_what_it_is_given(version, monkeypatch):
    calls: list[dict[str, Any]] = []

    def rasterization(*args: Any, **kwargs: Any) -> tuple[Any, Any, dict[str, Any]]:
        given = signature(version).bind(*args, **kwargs).arguments  # TypeError for unknown or missing names
        calls.append(given)
        shape = (*given["viewmats"].shape[:-2], given["height"], given["width"])
        channels = given["colors"].shape[-1] + 1  # RGB+D
        return torch.zeros(*shape, channels), torch.zeros(*shape, 1), {}

    module = ModuleType("gsplat")
    module.rasterization, module.__version__ = rasterization, "1.6.0" if version == "next" else version  # type: ignore[attr-defined]
    module.__spec__ = ModuleSpec("gsplat", None)
    monkeypatch.setitem(sys.modules, "gsplat", module)
    g, c = scene(20, 5), cameras()
    limits = (c.width, c.height, 0.01, 1e10, 0.3)
    color, depth, alpha, features = cuda.composite(g, c.viewmats, c.Ks, *limits)
    shape = (len(c.viewmats), c.height, c.width)
    assert [tuple(t.shape) for t in (color, depth, alpha, features)] == [(*shape, k) for k in (3, 1, 1, 5)]
    both = torch.stack([c.viewmats] * 2), torch.stack([c.Ks] * 2)
    color = cuda.composite_scenes([g, scene(31, 5)], *both, *limits)[0]
    assert color.shape == (2, *shape, 3)
    assert all(given["render_mode"] == "RGB+D" and given["eps2d"] == 0.3 for given in calls)
    # A leading axis of scenes came with 1.5.
    assert [given["means"].ndim for given in calls] == ([2, 2, 2] if version == "1.4.0" else [2, 3])
