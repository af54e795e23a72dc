"""Classes, uploads, keys and curves in Chromium. Compares pixels."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import numpy as np
from gaussiancross.app.inspector import Inspector, ModelSource, PointsSource
from gaussiancross.core.io import write_points
from gaussiancross.trainers.engine.live import LiveFeed
from helpers.browser import differs, open_and_wait, pixels, press
from helpers.inspector import Boxes, StubModel, box_room, stub_probe
from helpers.waiting import wait_for
from PIL import Image


def tab(view, name: str) -> None:
    view.get_by_role("tab", name=name).click()


def test_probe_legend_hides_and_recolours(page):
    with Inspector(ModelSource(StubModel(), Boxes(), step=7, probe=stub_probe()), port=0) as inspector:
        before = open_and_wait(page, inspector)
        tab(page, "Classes")
        page.get_by_text("Probe against labels").wait_for(timeout=20_000)
        page.get_by_role("button", name="Classes", exact=True).locator("visible=true").first.click()
        wait_for(lambda: differs(page, before), "the probe's classes")
        time.sleep(0.6)
        shown = pixels(page)
        page.get_by_text("Hide and show classes").click()
        press(page, "None")
        wait_for(lambda: differs(page, shown), "hidden classes")
        time.sleep(0.6)
        hidden = pixels(page)
        assert np.ptp(hidden, axis=2).mean() < 0.5 * np.ptp(shown, axis=2).mean()  # all grey
        press(page, "All")
        wait_for(lambda: not differs(page, shown), "all classes again")
        session = inspector.sessions[0]
        for name in Boxes.class_names:
            session.change(style=session.view.style.recoloured(name, (255, 0, 255)))
        wait_for(lambda: differs(page, shown), "other colours")


def test_an_upload_is_shown_and_a_damaged_one_reported(page, tmp_path):
    bare = np.full((8, 3), [2, 1, 1], np.float32) + np.eye(8, 3, dtype=np.float32) * 0.01
    write_points(tmp_path / "mine.ply", box_room(30))
    (tmp_path / "broken.ply").write_bytes(b"ply\nnot really")
    tiny = Boxes().scene(0)[:8]
    with Inspector(PointsSource(replace(tiny, coord=bare)), port=0) as inspector:
        page.goto(inspector.url)
        tab(page, "Files")
        time.sleep(1)
        before = pixels(page)
        chooser = page.locator('input[type="file"]').first
        chooser.set_input_files(str(tmp_path / "broken.ply"))
        page.get_by_text("broken.ply: expected").first.wait_for(timeout=20_000)
        chooser.set_input_files(str(tmp_path / "mine.ply"))
        wait_for(lambda: differs(page, before), "the uploaded points")
        assert inspector.renderer.scene_names[1] == "mine" and inspector.sessions[0].view.scene == 1
        page.get_by_role("button", name="1", exact=True).click()
        wait_for(lambda: inspector.sessions[0].view.scene == 0, "the first scene again")


def test_keys_curves_and_a_phone(page, tmp_path, monkeypatch):
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path))
    feed = LiveFeed()
    for step in range(1, 30):
        feed.log(step, {"loss/total": 2.0 ** (-step / 4), "lr": 1e-3 / step, "its_per_s": 2.0, "probe/miou": step / 60})
    page.set_viewport_size({"width": 390, "height": 844})
    with Inspector(PointsSource(box_room(16)), port=0, feed=feed, tour=True) as inspector:
        page.goto(inspector.url)
        page.get_by_text("Welcome").wait_for(timeout=20_000)
        press(page, "Start")
        page.get_by_text("Welcome").wait_for(state="hidden", timeout=10_000)
        top = {"x": 20, "y": 160, "width": 340, "height": 160}  # above the panel
        wait_for(lambda: np.asarray(Image.open(io.BytesIO(page.screenshot(clip=top)))).std() > 15, "a picture")
        tab(page, "Run")
        wait_for(lambda: page.locator(".uplot canvas").count() >= 3, "three charts")
        page.keyboard.press("h")
        page.get_by_text("to the dataset camera").wait_for(timeout=10_000)
        page.reload()
        tab(page, "Run")
        assert page.get_by_text("Welcome").count() == 0  # once per machine
