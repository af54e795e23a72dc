"""Posed frames from lists of image files, poses and lenses, as the readers of capture layouts make them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.scene import PosedFrames
from ...errors import InputError
from ...geometry.cameras import Cameras
from ...io.frames import (
    FrameFile,
    FrameReader,
    Lens,
    SkippedFrames,
    evenly_spaced,
    has_file,
    no_usable_frame,
    pose_problem,
)
from ...io.images import image_size
from ...io.lru import ArrayCache
from ...report import SILENT, Report, skipped_frames


@dataclass(frozen=True)
class ListedFrame:
    """One frame of a capture.

    Attributes:
        name: name of the frame, unique within the capture.
        color: image file.
        depth: depth file, or None.
        camera_to_world: [4, 4], OpenCV axes, metres.
        lens: intrinsics of the image.
        size: (width, height) that the intrinsics belong to; None for that of the image. Images of another size, such
            as reduced copies, get scaled intrinsics.
    """

    name: str
    color: Path
    depth: Path | None
    camera_to_world: NDArray[np.float64]
    lens: Lens
    size: tuple[int, int] | None = None


def read_listed(
    folder: Path,
    listed: list[ListedFrame],
    depth_unit: float,
    skipped: SkippedFrames,
    max_frames: int | None = None,
    cache: ArrayCache | None = None,
    report: Report = SILENT,
) -> PosedFrames:
    """Check the listed frames and return the usable ones: image headers now, pixels on demand.

    Args:
        folder: the capture, to name in errors.
        listed: frames in the order of capture.
        depth_unit: metres per unit of the depth files.
        skipped: frames that the caller left out; unusable ones are added.
        max_frames: largest number of frames, evenly spaced; all by default.

    Raises:
        InputError: no usable frame.
    """
    usable: list[tuple[ListedFrame, Lens, tuple[int, int]]] = []
    for frame in report.steps(f"{folder.name}: reading image headers", listed):
        problem = pose_problem(frame.camera_to_world)
        if problem is None and not (frame.lens.is_usable and min(frame.size or (1, 1)) >= 1):
            problem = "intrinsics not finite and positive"
        if problem is None and not has_file(frame.color):
            problem = "image missing"
        if problem is None and frame.depth is not None and not has_file(frame.depth):
            problem = "depth file missing"
        if problem is None:
            try:
                size = image_size(frame.color)
                usable.append((frame, frame.lens.scaled(frame.size or size, size), size))
                continue
            except InputError:
                problem = "unreadable image"
        skipped.add(problem or "unreadable image", frame.name)
    if usable:  # one image size per PosedFrames
        usual = Counter(size for _, _, size in usable).most_common(1)[0][0]
        for frame, _, size in usable:
            if size != usual:
                skipped.add("images of another size", frame.name)
        usable = [item for item in usable if item[2] == usual]
    if not usable:
        raise no_usable_frame(folder, skipped.counts)
    if skipped.counts:
        report.notice(skipped_frames(folder, skipped.counts, skipped.first))
    usable = evenly_spaced(usable, max_frames)
    width, height = usable[0][2]
    Ks = np.array([[[n.fx, 0, n.cx], [0, n.fy, n.cy], [0, 0, 1]] for _, n, _ in usable], np.float32)
    viewmats = np.linalg.inv(np.stack([f.camera_to_world for f, _, _ in usable])).astype(np.float32)
    files = tuple(FrameFile(f.color, f.depth, depth_unit, lens=None if n.is_pinhole else n) for f, n, _ in usable)
    return PosedFrames(
        tuple(f.name for f, _, _ in usable),
        Cameras(torch.from_numpy(viewmats), torch.from_numpy(Ks), width, height),
        FrameReader(files, cache or ArrayCache()),
        dict(skipped.counts),
        skipped.first,
    )


def pose_from_quaternion(position: NDArray[np.float64], xyzw: NDArray[np.float64]) -> NDArray[np.float64]:
    """[4, 4] from a position [3] and a quaternion of any length; not finite for one of zero length."""
    from scipy.spatial.transform import Rotation

    out = np.eye(4)
    out[:3, 3] = position
    length = np.linalg.norm(xyzw)
    usable = bool(np.isfinite(length)) and length > 0
    out[:3, :3] = Rotation.from_quat(xyzw).as_matrix() if usable else np.nan
    return out
