"""Objects made of Gaussians as network input: reading, checking, rotation to Y up, normalisation, resampling.

A normalised object has Y up, its centroid at the origin and its farthest Gaussian on the unit sphere; means and
standard deviations are divided by the same radius.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import InputError
from ..geometry.gaussians import Gaussians, transform_gaussians
from ..io.arrays import read_npz
from ..io.formats import read_splats
from ..io.ply import is_compressed_ply, read_points
from ..io.ply_table import read_vertices
from .augment import NO_COLOR

MIN_GAUSSIANS = 64
"""Smallest number of usable Gaussians in an object."""

Up = Literal["y", "z", "-y", "-z"]
"""The axis that points up in a file."""

_TURNS: dict[str, tuple[float, float]] = {
    "y": (1, 0),
    "z": (0.5**0.5, -(0.5**0.5)),
    "-y": (0, 1),
    "-z": (0.5**0.5, 0.5**0.5),
}
"""Axis → (w, x) of the quaternion that rotates it to y about x."""

_OPACITY = 1e-6
_FIELDS = ("means", "quats", "scales", "opacities", "colors")
READERS = (".ply", ".splat", ".spz", ".sog", ".npz")
"""File endings that `read_object` accepts."""


def read_object(path: Path | str, up: Up = "y") -> Gaussians:
    """Read one object as Gaussians and rotate it to Y up.

    Args:
        path: splats in a format of `core.io.formats`, a PLY of points, or an ``.npz`` with the arrays ``means, quats,
            scales, opacities, colors`` of `Gaussians`. A ``.glb`` must hold splats.
        up: the axis that points up in the file.

    Raises:
        InputError: the file is missing, damaged or of another kind, or `check_object` refuses its Gaussians.
    """
    path = Path(path)
    if up not in _TURNS:
        raise InputError("up", "one of " + ", ".join(_TURNS), repr(up))
    reader = {".ply": _read_ply, ".npz": _read_npz}.get(path.suffix.lower(), _read_splats)
    if path.suffix.lower() not in (*READERS, ".glb"):
        raise InputError(path, f"an object as {', '.join(READERS)}", f"the ending {path.suffix!r}")
    return rotate_to_y_up(check_object(reader(path), path), up)


def rotate_to_y_up(gaussians: Gaussians, up: Up) -> Gaussians:
    """Rotate an object about x so that its axis ``up`` becomes y."""
    if up == "y":
        return gaussians
    return transform_gaussians(gaussians, torch.tensor([*_TURNS[up], 0.0, 0.0]), 1.0, torch.zeros(3))


def check_object(gaussians: Gaussians, where: Path | str) -> Gaussians:
    """Select the usable Gaussians of an object: finite, of positive size, with a rotation; warn about the others.

    Raises:
        InputError: fewer than `MIN_GAUSSIANS` are usable, or all lie at one point.
    """
    g = gaussians
    values = torch.cat([g.means, g.quats, g.scales, g.opacities[:, None], g.colors], 1)
    good = values.isfinite().all(1) & (g.scales > 0).all(1) & (g.quats.abs().amax(1) > 0)
    bad = len(g) - int(good.sum())
    why = "values that are not finite, no size or a rotation of zero length"
    if bad and len(g) - bad < MIN_GAUSSIANS:
        raise InputError(where, f"at least {MIN_GAUSSIANS} usable Gaussians", f"{bad} of {len(g)} with {why}")
    if len(g) < MIN_GAUSSIANS:
        raise InputError(where, f"an object of at least {MIN_GAUSSIANS} Gaussians", str(len(g)))
    if bad:
        warnings.warn(f"{where}: left out {bad} of {len(g)} Gaussians with {why}.", stacklevel=2)
        g = g[good]
    if float((g.means - g.means[0]).abs().max()) == 0:
        raise InputError(where, "Gaussians at different places", f"all {len(g)} at one place")
    return g


def normalize_object(gaussians: Gaussians) -> Gaussians:
    """Move an object's centroid to the origin and scale it into the unit ball."""
    centroid = gaussians.means.double().mean(0).float()
    radius = float((gaussians.means - centroid).norm(dim=1).max().clamp_min(1e-12))
    return transform_gaussians(gaussians, torch.tensor([1.0, 0.0, 0.0, 0.0]), 1 / radius, -centroid / radius)


def to_attributes(gaussians: Gaussians) -> Tensor:
    """[N, 14] input of `core.models.ClipGS`: position, colour, logit of the opacity, log-scales, quaternion."""
    g = gaussians
    opacity = g.opacities.clamp(_OPACITY, 1 - _OPACITY).logit()[:, None]
    return torch.cat([g.means, g.colors, opacity, g.scales.clamp_min(1e-12).log(), g.quats], 1).float()


def resample(size: int, count: int, rng: np.random.Generator | None = None) -> Tensor:
    """[count] indices that resample ``size`` Gaussians: a random subset, or whole copies plus a random subset.

    ``rng`` None always gives the same indices.
    """
    if size == count:
        return torch.arange(size)
    rng = np.random.default_rng(0) if rng is None else rng
    rest = rng.permutation(size)[: count % size]
    return torch.from_numpy(np.concatenate([np.tile(np.arange(size), count // size), rest]))


def object_attributes(gaussians: Gaussians, count: int, rng: np.random.Generator | None = None) -> Tensor:
    """[count, 14] attributes of an object (Y up, any unit), normalised and resampled."""
    return to_attributes(normalize_object(gaussians))[resample(len(gaussians), count, rng)]


def points_as_gaussians(coord: ArrayLike, color: ArrayLike | None = None) -> Gaussians:
    """Turn a point cloud into opaque, isotropic Gaussians as 3DGS initialises them.

    The standard deviation is the root mean square distance to the three nearest points.

    Args:
        coord: [N, 3].
        color: [N, 3] in [0, 1]; None stands for `NO_COLOR`.
    """
    from scipy.spatial import KDTree

    points = np.asarray(coord, np.float32)
    n = len(points)
    neighbours = min(4, n)
    distance = np.asarray(KDTree(points).query(points, neighbours)[0]).reshape(n, neighbours)[:, 1:]  # [N, 3]
    size = np.sqrt((distance**2).mean(1)) if neighbours > 1 else np.ones(n)  # [N]
    size = np.maximum(size, max(float(np.median(size)), 1e-7) * 1e-2).astype(np.float32)  # coincident points
    rgb = np.full_like(points, NO_COLOR) if color is None else np.asarray(color, np.float32)
    return Gaussians(
        means=torch.from_numpy(points.copy()),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1),
        scales=torch.from_numpy(size)[:, None].repeat(1, 3),
        opacities=torch.ones(n),
        colors=torch.from_numpy(rgb.copy()),
    )


def write_object_npz(path: Path | str, gaussians: Gaussians) -> None:
    """Write an object as ``.npz`` for `read_object`: half the size of a PLY; means and scales stay float32."""
    g = gaussians.detach().to("cpu")
    arrays = {k: getattr(g, k).numpy() for k in _FIELDS}
    np.savez(path, **{k: v if k in ("means", "scales") else v.astype(np.float16) for k, v in arrays.items()})


def _read_ply(path: Path) -> Gaussians:
    names = set(read_vertices(path).dtype.names or ())
    if names & {"scale_0", "rot_0", "f_dc_0"} or is_compressed_ply(path):
        return _read_splats(path)
    scene = read_points(path)
    return points_as_gaussians(scene.coord, scene.color / np.float32(255) if "red" in names else None)


def _read_npz(path: Path) -> Gaussians:
    found = read_npz(path, "an object as .npz")
    missing = [name for name in _FIELDS if name not in found]
    if missing:
        raise InputError(path, f"the arrays {', '.join(_FIELDS)}", f"no {', '.join(missing)}")
    arrays = {name: found[name] for name in _FIELDS}
    odd = [name for name, a in arrays.items() if a.dtype.kind != "f"]
    if odd:
        raise InputError(path, "arrays of floating-point numbers", f"{odd[0]} of type {arrays[odd[0]].dtype}")
    return Gaussians(**{k: torch.from_numpy(_single(a)) for k, a in arrays.items()})


def _single(array: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, np.float32)


def _read_splats(path: Path) -> Gaussians:
    return read_splats(path).gaussians
