"""Convert one object file to a folder of renders, Gaussians and metadata:

    point_cloud.ply      Gaussians, INRIA's schema, Y up; a Gaussian PLY is copied unchanged
    transforms.json      cameras of the renders, in the frame of the Gaussians
    images/000.png …     renders
    preview.png          a held-out render beside the Gaussians from the same view
    object.json          source and quality

A mesh is centred and scaled into the unit ball, Y up ("center" and "unit" in ``object.json`` undo that). It is lit by
one soft lamp and the sky, with matt materials: Gaussians without view dependence can reproduce that, and shading shows
the shape of evenly coloured surfaces. Its Gaussians start from patches of the surface (`object_gaussians`) and are
fitted to the renders.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...core.data.objects import Up, read_object
from ...core.datasets.objects.files import ObjectFile
from ...core.datasets.objects.meshes import light_mesh, mesh_object, read_mesh
from ...core.datasets.objects.meshes.shade import STUDIO
from ...core.datasets.objects.meshes.solid import TO_Y_UP
from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from ...core.geometry.gaussians import Gaussians, transform_gaussians
from ...core.io.digests import sha256_of
from ...core.io.images import image_size
from ...core.io.json_files import read_json
from ...core.io.ply import write_gaussians
from ...core.io.ply_table import count_vertices
from ...core.io.renders import IMAGES, render_names, write_renders
from ...core.splat import rasterize
from ...core.synthetic.objects.gaussians import object_gaussians
from ...core.synthetic.objects.render import VIEWS, cameras_around, object_cameras, render_object
from ..gaussian_fitting.object import FAST, FitConfig, fit_gaussians

VERSION = 1
"""To be raised whenever the same file and options give another result."""
SPLATS, ABOUT, PREVIEW = "point_cloud.ply", "object.json", "preview.png"


@dataclass(frozen=True)
class ObjectConfig:
    """Options of object preparation."""

    views: int = VIEWS
    """Renders per object (36 in the paper)."""
    size: int = 224
    """Width and height of the renders, pixels."""
    plain: bool = False
    """Render meshes in their plain colours, without lighting."""
    up: Up = "y"
    """The axis that points up in the files (y in glTF)."""
    fit: FitConfig = FAST
    """Fitting of the Gaussians."""

    def __post_init__(self) -> None:
        if self.views < 2 or self.size < 16 or self.fit.gaussians < 64:
            found = f"{self.views}, {self.size}, {self.fit.gaussians}"
            raise InputError("views, size and Gaussians", "at least 2, 16 and 64", found)

    def digest(self) -> str:
        """Hash of `VERSION` and all options; changes whenever results do."""
        return hashlib.sha256(json.dumps([VERSION, asdict(self)], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Renders:
    """Cameras, colours over black [V, H, W, 3] and coverage [V, H, W] of an object's renders."""

    cameras: Cameras
    color: NDArray[np.uint8]
    alpha: NDArray[np.float32]


def prepare_object(
    file: ObjectFile,
    config: ObjectConfig,
    device: str,
    threads: int,
    folder: Path,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write renders, Gaussians, preview and metadata of one object into ``folder``.

    Args:
        device: where Gaussians are fitted.
        threads: PyTorch threads of this process; 0 keeps the current number.
        progress: called with the number of fitting steps done.

    Raises:
        InputError: a file that cannot be read as an object.
    """
    if threads:
        torch.set_num_threads(threads)
    clock, processor = time.perf_counter(), time.process_time()
    about: dict[str, Any]
    if file.is_splat:
        gaussians, pictures, about = _splat(file, config, folder)
    else:
        gaussians, pictures, about = _mesh(file, config, device, folder, progress)
    write_renders(folder, pictures.cameras, pictures.color, pictures.alpha)
    _preview(folder / PREVIEW, gaussians, pictures, about.pop("shown"))
    metadata = {
        "id": file.id,
        "source": file.path.name,
        "sha256": sha256_of(file.path),
        "config": config.digest(),
        **about,
        "gaussians": count_vertices(folder / SPLATS),
        "views": config.views,
        "seconds": round(time.perf_counter() - clock, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
    }
    (folder / ABOUT).write_text(json.dumps(metadata, indent=1, ensure_ascii=False), encoding="utf-8")


def _mesh(
    file: ObjectFile, config: ObjectConfig, device: str, folder: Path, progress: Callable[[int], object] | None
) -> tuple[Gaussians, _Renders, dict[str, Any]]:
    raw = read_mesh(file.path)
    obj = mesh_object(raw, file.id, config.up, config.size)
    lit = light_mesh(obj, None if config.plain else STUDIO)
    cameras = object_cameras(obj, config.views, config.size, config.size)
    color, alpha = render_object(lit, cameras, backgrounds=[(0.0, 0.0, 0.0)] * config.views)
    start = object_gaussians(lit, config.fit.gaussians)
    fit = fit_gaussians(start, cameras, color, alpha, config.fit, device, progress)
    gaussians = _y_up(fit.gaussians)
    write_gaussians(folder / SPLATS, gaussians)
    turn = torch.eye(4)
    turn[:3, :3] = torch.from_numpy(TO_Y_UP).float()
    about = {
        "kind": "mesh",
        "faces": len(raw.faces),
        "center": obj.center.tolist(),
        "unit": obj.unit,
        "psnr": [round(float(p), 3) for p in fit.psnr],
        "held_out": list(fit.measured) if config.fit.held_out else [],
        "shown": fit.measured[len(fit.measured) // 2],
    }
    return gaussians, _Renders(cameras.transformed(turn), color, alpha), about


def _splat(file: ObjectFile, config: ObjectConfig, folder: Path) -> tuple[Gaussians, _Renders, dict[str, Any]]:
    """Store a file of Gaussians and render it."""
    gaussians = read_object(file.path, config.up)
    if config.up == "y" and file.path.suffix.lower() == ".ply":
        shutil.copyfile(file.path, folder / SPLATS)
    else:
        write_gaussians(folder / SPLATS, gaussians)
    upright = _y_up(gaussians)  # its own inverse
    # Quantiles, so that outliers do not set the distance of the cameras.
    low, high = torch.quantile(upright.means[:: max(1, len(upright) // 100_000)], torch.tensor([0.005, 0.995]), dim=0)
    middle, radius = ((low + high) / 2).numpy(), float((high - low).norm()) / 2
    around = cameras_around(middle, radius, config.views, config.size, config.size)
    turn = torch.eye(4)
    turn[:3, :3] = torch.from_numpy(TO_Y_UP).float()
    cameras = around.transformed(turn)
    distance = float((cameras.centers[0] - gaussians.means.median(0).values).norm())
    size, near = config.size, 1e-3 * distance
    each = [cameras[i] for i in range(config.views)]
    parts = [rasterize(gaussians, c.viewmats, c.Ks, size, size, near=near) for c in each]
    color = torch.cat([p.color for p in parts]).clamp(0, 1).mul(255).round().byte().numpy()
    alpha = torch.cat([p.alpha for p in parts])[..., 0].numpy()
    about = {"kind": "gaussians", "faces": 0, "psnr": [], "held_out": [], "shown": config.views // 2}
    return gaussians, _Renders(cameras, color, alpha), about


def _y_up(gaussians: Gaussians) -> Gaussians:
    """Rotate from the objects' frame (z up, front +y) to glTF's (y up, front +z); its own inverse."""
    half = 0.5**0.5
    return transform_gaussians(gaussians, torch.tensor([0.0, 0.0, half, half]), 1.0, torch.zeros(3))


def _preview(path: Path, gaussians: Gaussians, pictures: _Renders, view: int) -> None:
    """Write a render and the Gaussians from the same view, side by side over white."""
    c = pictures.cameras
    render = pictures.color[view] + 255 * (1 - pictures.alpha[view][..., None])
    splats = rasterize(gaussians, c.viewmats[[view]], c.Ks[[view]], c.width, c.height, background=torch.ones(3)).color[
        0
    ]
    both = np.concatenate([render, splats.clamp(0, 1).numpy() * 255], 1)
    Image.fromarray(np.rint(both).astype(np.uint8)).save(path)


def check_prepared(file: ObjectFile, config: ObjectConfig, folder: Path) -> str | None:
    """Return why a finished folder is not up to date with the file and options, or None if it is."""
    try:
        about = read_about(folder)
        if about.get("config") != config.digest():
            return "made with other options"
        if about.get("sha256") != sha256_of(file.path):
            return "made of another file"
        if count_vertices(folder / SPLATS) != about.get("gaussians"):
            return f"{SPLATS} was changed"
        names = render_names(folder)
        if len(names) != config.views or {image_size(folder / n) for n in names} != {(config.size, config.size)}:
            return f"{IMAGES} was changed"
    except (InputError, OSError) as error:
        return str(error)
    return None


def read_about(folder: Path) -> dict[str, Any]:
    """Read the ``object.json`` that `prepare_object` wrote.

    Raises:
        InputError: missing or damaged.
    """
    try:
        about = read_json(folder / ABOUT)
    except (OSError, ValueError) as error:
        raise InputError(folder / ABOUT, "metadata of an object", f"no readable file ({error})") from error
    if not isinstance(about, dict):
        raise InputError(folder / ABOUT, "metadata of an object", "JSON of another kind")
    return about
