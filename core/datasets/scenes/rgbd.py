"""Read posed RGB-D frames in ScanNet's export layout.

    <scene>/color/<i>.jpg|png           8-bit RGB
    <scene>/depth/<i>.png               16-bit, millimetres, 0 = no measurement
    <scene>/pose/<i>.txt                4×4 camera-to-world, OpenCV axes, metres
    <scene>/intrinsic/intrinsic_{color,depth}.txt

**The camera is the depth camera.** Colour images of another size and field of view (ScanNet: 1296×968 with 640×480) are
resampled to the view of the depth camera. Both cameras share one pose, as in ScanNet.

**Pixel centres.** In these files the centre of the first pixel is (0, 0), so that the middle of a 640-pixel row is
319.5. In `core.geometry.cameras` it is (0.5, 0.5): reading adds 0.5 to cx and cy.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.scene import PosedFrames
from ...errors import InputError
from ...geometry.cameras import Cameras
from ...io.frames import LARGEST, FrameFile, FrameReader, SkippedFrames, evenly_spaced, no_usable_frame, pose_problem
from ...io.images import image_size
from ...io.lru import ArrayCache
from ...io.plain_files import read_text
from ...report import SILENT, Report, skipped_frames

COLOR_SUFFIXES = (".jpg", ".jpeg", ".png")


def is_rgbd_export(folder: Path | str) -> bool:
    """Whether ``folder`` has the layout of one exported scene."""
    folder = Path(folder)
    return (folder / "color").is_dir() and (folder / "pose").is_dir()


def check_layout(folder: Path) -> None:
    """Raise `InputError` unless ``folder`` has the subfolders of one exported scene."""
    layout = "color/<i>.jpg, depth/<i>.png, pose/<i>.txt and intrinsic/intrinsic_depth.txt"
    missing = [part for part in ("color", "depth", "pose") if not (folder / part).is_dir()]
    if missing:
        found = "no " + ", no ".join(f"{part}/" for part in missing) if folder.is_dir() else "no such folder"
        raise InputError(folder, f"an RGB-D scene with {layout}", found)


def read_rgbd_export(
    folder: Path | str,
    max_frames: int | None = None,
    cache: ArrayCache | None = None,
    report: Report = SILENT,
) -> PosedFrames:
    """Read the usable frames of one scene: image headers now, pixels on demand.

    Args:
        folder: folder in the layout above.
        max_frames: largest number of frames, evenly spaced; all by default.
        cache: cache of decoded, resized frames; one of 256 MB by default.
        report: receives progress and a notice of skipped frames.

    Returns:
        frames; ``skipped`` counts unusable ones: without a depth image or pose, with a pose that is not finite or
        rigid, with images of another size.

    Raises:
        InputError: another layout, unreadable intrinsics, or no usable frame.
    """
    folder = Path(folder)
    check_layout(folder)
    colors = {p.stem: p for p in sorted((folder / "color").iterdir()) if p.suffix.lower() in COLOR_SUFFIXES}
    if not colors:
        raise InputError(folder / "color", "images <i>.jpg or <i>.png", "none")

    skipped = SkippedFrames()
    depths = (p.stem for p in (folder / "depth").iterdir() if p.suffix == ".png")
    for name in sorted((stem for stem in depths if stem not in colors), key=frame_order):
        skipped.add("no colour image", name)
    posed: list[tuple[str, NDArray[np.float64]]] = []
    for name in sorted(colors, key=frame_order):
        pose, reason = None, "no depth image"
        if (folder / "depth" / f"{name}.png").is_file():
            pose, reason = _read_pose(folder / "pose" / f"{name}.txt")
        if pose is None:
            skipped.add(reason, name)
        else:
            posed.append((name, pose))
    posed = evenly_spaced(posed, max_frames)

    read = report.steps(f"{folder.name}: reading image headers", posed)
    sizes = [_sizes(colors[name], folder / "depth" / f"{name}.png") for name, _ in read]
    usual = Counter(s for s in sizes if s is not None).most_common(1)
    usual_size = usual[0][0] if usual else None
    usable: list[tuple[str, NDArray[np.float64]]] = []
    for frame, size in zip(posed, sizes, strict=True):
        if size is not None and size == usual_size:
            usable.append(frame)
        else:
            skipped.add("unreadable image" if size is None else "images of another size", frame[0])
    if not usable or usual_size is None:
        raise no_usable_frame(folder, skipped.counts)
    if skipped.counts:
        report.notice(skipped_frames(folder, skipped.counts, skipped.first))

    (color_w, color_h), (w, h) = usual_size
    K, box = _intrinsics(folder / "intrinsic", (w, h), (color_w, color_h))
    files = tuple(FrameFile(colors[name], folder / "depth" / f"{name}.png", box=box) for name, _ in usable)
    viewmats = torch.from_numpy(np.linalg.inv(np.stack([pose for _, pose in usable])).astype(np.float32))
    Ks = torch.from_numpy(K.astype(np.float32)).expand(len(usable), 3, 3).clone()
    reader = FrameReader(files, cache or ArrayCache())
    return PosedFrames(
        tuple(name for name, _ in usable), Cameras(viewmats, Ks, w, h), reader, dict(skipped.counts), skipped.first
    )


def frame_order(name: str) -> tuple[int, int, str]:
    """Sort key of frame names: numbers by value, other names after them."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _read_pose(path: Path) -> tuple[NDArray[np.float64] | None, str]:
    try:
        values = np.array(read_text(path).split(), np.float64)
    except FileNotFoundError:
        return None, "no pose"
    except (ValueError, OSError):
        return None, "unreadable pose"
    if values.size != 16:
        return None, "unreadable pose"
    pose = values.reshape(4, 4)
    problem = pose_problem(pose)
    return (None, problem) if problem else (pose, "")


def _sizes(color: Path, depth: Path) -> tuple[tuple[int, int], tuple[int, int]] | None:
    try:
        return image_size(color), image_size(depth)
    except InputError:
        return None


def _intrinsics(
    folder: Path, size: tuple[int, int], color_size: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[float, float, float, float] | None]:
    """Intrinsics [3, 3] of the depth camera, and its view in the colour image (None for the whole image).

    Some exports have colour images resized to the depth's size and an ``intrinsic_color.txt`` of the original size:
    intrinsics that cannot belong to an image of this size are ignored, and the images are taken as registered.
    """
    K = _read_intrinsics(folder / "intrinsic_depth.txt")
    if not _plausible(K, size):
        raise InputError(
            folder / "intrinsic_depth.txt",
            f"intrinsics of a {size[0]}×{size[1]} image",
            f"a principal point at ({K[0, 2]:.1f}, {K[1, 2]:.1f})",
            "scale the intrinsics to the depth images' size",
        )
    if not (folder / "intrinsic_color.txt").is_file():
        return K, None
    C = _read_intrinsics(folder / "intrinsic_color.txt")
    if not _plausible(C, color_size):
        return K, None
    # Depth pixel u has the ray (u − cx) / fx, which the colour camera sees at u' = C.cx + C.fx (u − cx) / fx.
    sx, sy = C[0, 0] / K[0, 0], C[1, 1] / K[1, 1]
    left, top = C[0, 2] - sx * K[0, 2], C[1, 2] - sy * K[1, 2]
    box = (float(left), float(top), float(left + sx * size[0]), float(top + sy * size[1]))
    whole = (0.0, 0.0, float(color_size[0]), float(color_size[1]))
    return K, None if np.allclose(box, whole, atol=0.01) else box


def _read_intrinsics(path: Path) -> NDArray[np.float64]:
    """Read a 3×3 or 4×4 text matrix as K [3, 3] with pixel centres at half integers."""
    expected = "a 3×3 or 4×4 matrix of intrinsics in text"
    try:
        values = np.array(read_text(path).split(), np.float64)
    except FileNotFoundError:
        raise InputError(path, expected, "no such file") from None
    except (ValueError, OSError) as error:
        raise InputError(path, expected, f"something else ({error})") from error
    if values.size not in (9, 16):
        raise InputError(path, expected, f"{values.size} numbers")
    K = values.reshape(3, 3) if values.size == 9 else values.reshape(4, 4)[:3, :3]
    if not np.abs(K).max() <= LARGEST or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise InputError(path, "positive, finite focal lengths", f"{K[0, 0]} and {K[1, 1]}")
    K = K.copy()
    K[:2, 2] += 0.5
    return K


def _plausible(K: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether the principal point is in the middle half of an image of this size."""
    return all(0.25 < K[axis, 2] / size[axis] < 0.75 for axis in (0, 1))
