"""One object from whatever file it is in: Gaussians, points, or a mesh whose surface becomes Gaussians."""

from __future__ import annotations

from pathlib import Path

from ...core.data.objects import READERS, Up, check_object, read_object, rotate_to_y_up
from ...core.datasets.objects.meshes.usd import USD
from ...core.errors import InputError
from ...core.geometry.gaussians import Gaussians
from ...core.io.splat_files.glb import has_splats

MESHES = (".glb", ".gltf", *USD, ".obj", ".off", ".stl")
"""File endings that are meshes in any case; a ``.ply`` is one where it has faces."""
OBJECT_FILES = (*READERS, *MESHES)


def read_any_object(path: Path | str, up: Up = "y", count: int = 10_000) -> Gaussians:
    """One object as Gaussians, Y up, otherwise as the file has it.

    Args:
        path: what `core.data.objects.read_object` reads, or a mesh.
        up: the axis that points up in the file.
        count: Gaussians that a mesh becomes.

    Raises:
        InputError: missing, damaged, another kind of file, too few Gaussians or faces.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in OBJECT_FILES:
        raise InputError(path, f"an object as {', '.join(OBJECT_FILES)}", f"the ending {path.suffix!r}")
    if (suffix in READERS and not (suffix == ".ply" and _has_faces(path))) or (suffix == ".glb" and has_splats(path)):
        return read_object(path, up)
    from ...core.datasets.objects.meshes import light_mesh, mesh_object, read_mesh
    from ...core.synthetic.objects import object_gaussians

    lit = light_mesh(mesh_object(read_mesh(path), path.stem, up))
    return check_object(rotate_to_y_up(object_gaussians(lit, count), "z"), path)


def _has_faces(path: Path) -> bool:
    """Whether the header of a PLY announces faces and no Gaussians. A missing file is left to the reader."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.read(1 << 14).partition(b"end_header")[0]
    words = [line.split() for line in header.splitlines() if line.startswith(b"element face")]
    return b" f_dc_0" not in header and any(len(w) == 3 and w[2].isdigit() and int(w[2]) > 0 for w in words)
