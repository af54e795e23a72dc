"""Readers and writers of Gaussian splats other than INRIA's PLY and .splat; `core.io.formats` is the table of all.

data            Gaussians of a file with their spherical harmonics and labels; encodings that formats share
compressed_ply  SuperSplat's compressed PLY
spz             Niantic's SPZ: versions 1–3 (gzip) and 4 (zstd)
sog             PlayCanvas' SOG version 2: WebP images in a folder or a zip
glb             binary glTF with KHR_gaussian_splatting
"""

from .data import SplatData

__all__ = ["SplatData"]
