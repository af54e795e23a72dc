"""A scene as one self-contained HTML file (data, shaders and controls) that makes no network requests.

Each Gaussian has 24 bytes, little endian, in base64:

    u16 x, y, z      in the box ``low`` + ``span``
    u16 label        index into ``classes``; the last colour (grey) without one
    u8 scale ×3, 0   logarithms, ``logs[0]`` + ``logs[1]`` · value / 255
    i8 quaternion    wxyz · 127
    u8 r, g, b, a    colour and opacity
    u8 r, g, b, 0    feature colour
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.geometry.gaussians import Gaussians
from ..render.clouds import dots
from ..render.colors import to_image
from ..render.renderer import Renderer
from ..scenes.geometry import point_size, world_gaussians
from .camera_path import Pose
from .work import Download, Progress, Work

MAX_GAUSSIANS = 300_000
"""Largest number of Gaussians in a page (about 10 MB); of more, the largest and most opaque are taken."""

_RECORD = np.dtype(
    [("at", "<u2", 3), ("label", "<u2"), ("scale", "u1", 4), ("quat", "i1", 4), ("rgba", "u1", 4), ("paint", "u1", 4)]
)
_TEMPLATE = Path(__file__).with_name("offline.html")


@dataclass(frozen=True)
class Labels:
    """Classes of the Gaussians: ``index`` [N] (−1 = none), their names and colours [K, 3] uint8."""

    index: NDArray[np.int64]
    names: tuple[str, ...]
    colors: NDArray[np.uint8]


def page_work(
    renderer: Renderer,
    scene: int,
    start: Pose,
    target: NDArray,
    chosen: NDArray | None,
    name: str,
    limit: int = MAX_GAUSSIANS,
    up: NDArray | None = None,
) -> Work:
    """Make the page of a scene's Gaussians, or of its points if it has no Gaussians.

    Args:
        scene: scene index.
        start: initial pose of the page's camera.
        target: [3] centre of the camera's orbit, metres.
        chosen: [K] indices of the Gaussians to write; None writes all.
        name: file name without its ending.
        limit: largest number of Gaussians.
        up: [3] upward direction in the world; z by default.
    """
    yield Progress(0.05)
    state = renderer.state(scene)
    if state is None:
        raise InputError("a page", "a scene that has been loaded", "none yet")
    painted: NDArray[np.uint8] | None = None
    labels: Labels | None = None
    if state.gaussians is not None:
        gaussians = world_gaussians(state)
        colors, _ = renderer.embedding_colors(scene, state)
        painted = None if colors is None else to_image(colors)
        yield Progress(0.3)
        known = renderer.class_scores(scene, "Labels") or renderer.class_scores(scene, "Classes")
        if known is not None and len(known.scores) == len(gaussians):
            best, index = (v.cpu().numpy() for v in torch.nan_to_num(known.scores).max(1))
            labels = Labels(np.where(best > 0, index, -1), known.names, to_image(known.palette()))
    elif state.points is not None:
        pick = np.arange(len(state.points))
        gaussians = dots(state.points.coord, state.points.color, 1.08 * point_size(state))  # so that walls look closed
        drawn = renderer.points(scene, "Features", len(pick)) if state.point_features is not None else None
        painted = None if drawn is None else drawn[1]
    else:
        raise InputError(state.name, "something to show", "an empty scene")
    yield Progress(0.5)
    total = len(gaussians)
    pick = kept(gaussians, np.arange(total) if chosen is None else chosen, limit)
    yield Progress(0.7)
    note = f"{len(pick):,} {'Gaussians' if state.gaussians is not None else 'points'}"
    note += f" of {total:,}" if len(pick) < total else ""
    note += "" if state.step is None else f", step {state.step:,}"
    content = page(
        gaussians[torch.from_numpy(pick)],
        title=page_title(renderer.source.title, state.name),
        note=note,
        start=start,
        target=np.asarray(target, np.float64),
        up=up,
        painted=None if painted is None else painted[pick],
        labels=None if labels is None else Labels(labels.index[pick], labels.names, labels.colors),
    )
    return Download(f"{name}.html", content)


def page_title(source: str, scene: str) -> str:
    """Title of the page. Paths are cut to their last part, because the page may be published."""
    source = re.sub(r"\S*[/\\](?=[^/\\\s])", "", source)
    return scene if source in ("", scene) else f"{source}: {scene}"


def kept(gaussians: Gaussians, candidates: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Indices of the finite and visible ``candidates``, at most ``limit``: those of the largest opacity × size²."""
    g = gaussians[torch.from_numpy(candidates)]
    rows = torch.cat([g.means, g.scales, g.quats, g.colors, g.opacities[:, None]], 1)
    good = torch.isfinite(rows).all(1) & (g.opacities > 1 / 255) & (g.quats.abs().amax(1) > 0)
    weight = torch.where(good, g.opacities * g.scales.amax(1) ** 2, -1.0).numpy()
    order = np.argsort(-weight, kind="stable")[: min(limit, int(good.sum()))]
    if not len(order):
        raise InputError("a page", "visible Gaussians", "none")
    return candidates[np.sort(order)]


def page(
    gaussians: Gaussians,
    title: str,
    note: str,
    start: Pose,
    target: NDArray,
    up: NDArray | None = None,
    painted: NDArray[np.uint8] | None = None,
    labels: Labels | None = None,
) -> bytes:
    """Write the HTML of a page.

    Args:
        gaussians: Gaussians in the world, on the CPU.
        painted: [N, 3] their feature colours, or None.
    """
    record, meta = packed(gaussians, painted, labels)
    modes = ["RGB", *(["Features"] if painted is not None else []), *(["Labels"] if labels is not None else [])]
    here = set() if labels is None else set(np.unique(labels.index).tolist())
    classes = []
    if labels is not None:
        for i, (label, color) in enumerate(zip(labels.names, labels.colors, strict=True)):
            classes.append({"name": label, "color": color.tolist(), "here": i in here})
    meta |= {
        "title": title,
        "note": note,
        "modes": modes,
        "classes": classes,
        "eye": start.position.tolist(),
        "target": target.tolist(),
        "up": [0.0, 0.0, 1.0] if up is None else np.asarray(up, np.float64).tolist(),
        "fov": start.fov,
        "dot": float(gaussians.scales.amax(1).median()) * 1.2,
    }
    # "<" inside a string can end a script element; JSON can escape it
    text = json.dumps(meta).replace("<", "\\u003c")
    data = base64.b64encode(record.tobytes()).decode("ascii")
    before, _, rest = _TEMPLATE.read_text(encoding="utf-8").partition("__META__")
    middle, _, after = rest.partition("__DATA__")
    return "".join([before, text, middle, data, after]).encode("utf-8")


def packed(
    gaussians: Gaussians, painted: NDArray[np.uint8] | None, labels: Labels | None
) -> tuple[NDArray, dict[str, object]]:
    """The records [N] described in the module's docstring, and the values needed to decode them."""
    g = gaussians
    low = g.means.amin(0).double()
    span = (g.means.amax(0).double() - low).clamp_min(1e-6)
    logs = g.scales.double().clamp(1e-5, 1e3).log()
    floor = float(logs.min())
    spread = max(float(logs.max()) - floor, 1e-6)
    record = np.zeros(len(g), _RECORD)
    record["at"] = ((g.means.double() - low) / span * 65535).round().numpy()
    record["scale"][:, :3] = ((logs - floor) / spread * 255).round().numpy()
    record["quat"] = (torch.nn.functional.normalize(g.quats.double(), dim=-1) * 127).round().numpy()
    record["rgba"] = (torch.cat([g.colors, g.opacities[:, None]], 1).clamp(0, 1) * 255).round().numpy()
    if painted is not None:
        record["paint"][:, :3] = painted
    if labels is not None:
        record["label"] = np.where(labels.index < 0, len(labels.names), labels.index)
    return record, {"count": len(g), "low": low.tolist(), "span": span.tolist(), "logs": [floor, spread]}
