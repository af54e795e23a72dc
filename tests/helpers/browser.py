"""Chromium through Playwright: launch, open the inspector, compare pixels, press buttons."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import torch
from gaussiancross.app.inspector import Inspector, SplatsSource
from PIL import Image

from helpers.inspector import as_gaussians, box_frames, box_room
from helpers.waiting import wait_for

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

VIEWPORT = {"width": 760, "height": 400}

CANVAS = {"x": 40, "y": 170, "width": 280, "height": 200}
"""A part of the canvas that neither panel nor notifications cover."""


def room_source() -> SplatsSource:
    scene = box_room(20)
    features = torch.cat([torch.from_numpy(scene.coord), torch.from_numpy(scene.normal)], 1)
    return SplatsSource(as_gaussians(scene, features), "box", frames=box_frames(), device="cpu")


def pixels(page) -> np.ndarray:
    """[H, W, 3] of the canvas."""
    page.bring_to_front()  # a page in the background may not draw
    picture = Image.open(io.BytesIO(page.screenshot(clip=CANVAS, timeout=60_000))).convert("RGB")
    return np.asarray(picture).astype(int)


def differs(page, before: np.ndarray) -> bool:
    return bool(np.abs(pixels(page) - before).mean() > 8)


def open_and_wait(page, inspector: Inspector) -> np.ndarray:
    page.goto(inspector.url)
    wait_for(lambda: pixels(page).std() > 8, "the first picture")
    inspector.sessions[-1].camera.go_to_frame()  # inside, where pictures have no empty margin
    return settled(page)


def press(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def settled(page) -> np.ndarray:
    """The canvas once two looks at it are the same."""
    before = pixels(page)
    for _ in range(40):
        time.sleep(0.4)
        now = pixels(page)
        if np.abs(now - before).mean() < 0.3:
            return now
        before = now
    raise AssertionError("the picture never came to rest")
