"""Gaussian splatting behind one signature.

api         `rasterize`, `rasterize_scenes` → `Splats`, `pick`, `default_backend`: checks, background, expected depth
reference   dense torch, any dtype: the definition, for tests
cpu         numba: project (geometry, sorting, tile lists), tiles (compositing), gather (gradients), simd (vectors)
cuda        gsplat
"""

from .api import Splats, default_backend, pick, rasterize, rasterize_scenes

__all__ = ["Splats", "default_backend", "pick", "rasterize", "rasterize_scenes"]
