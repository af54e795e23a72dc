"""Divider, camera clicks, stopped exports and reconnection in Chromium."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app.inspector import Inspector
from gaussiancross.core.geometry.cameras import Cameras
from helpers.browser import CANVAS, VIEWPORT, differs, open_and_wait, pixels, press, settled
from helpers.inspector import Furnished, control
from helpers.waiting import wait_for


@pytest.fixture()
def page(browser):
    page = browser.new_page(viewport=VIEWPORT | {"height": 640}, accept_downloads=True)
    yield page
    page.close()


def canvas(page) -> dict[str, float]:
    return page.locator("canvas").first.bounding_box()


def test_page_comes_back_after_a_restart(page):
    with Inspector(Furnished(), port=0) as inspector:
        open_and_wait(page, inspector)
        picture = settled(page)
        port = int(inspector.url.rsplit(":", 1)[1])
    time.sleep(1)
    with Inspector(Furnished(), port=port) as again:
        assert again.url == inspector.url
        wait_for(lambda: again.sessions, "the page to connect by itself")
        wait_for(lambda: again.sessions[0].loader.placed_scene == 0, "the scene")
        again.sessions[0].camera.go_to_frame()
        press(page, "Depth")
        wait_for(lambda: again.sessions[0].view.layer == "Depth", "the new server to hear the page")
        wait_for(lambda: differs(page, picture), "depth from the new server")
        press(page, "RGB")
        wait_for(lambda: np.abs(pixels(page) - picture).mean() < 8, "the same picture as before")


def test_divider_follows_the_pointer_and_nothing_else_moves(page):
    with Inspector(Furnished(), port=0) as inspector:
        open_and_wait(page, inspector)
        session = inspector.sessions[0]
        session.change(second="Depth")
        press(page, "Split")
        wait_for(lambda: session.divider.draggable, "something to drag")
        before = settled(page)
        box, camera = canvas(page), session.client.camera
        assert abs(box["width"] - camera.image_width) < 2
        pose = np.asarray(camera.position).copy(), np.asarray(camera.wxyz).copy()
        y = box["y"] + 0.6 * box["height"]
        for begin, end in ((0.5, 0.2), (0.2, 0.7)):
            page.mouse.move(box["x"] + begin * box["width"] + 5, y)
            page.mouse.down()
            page.mouse.move(box["x"] + end * box["width"], y, steps=8)
            page.mouse.up()
            wait_for(lambda end=end: abs(session.view.at - end) < 0.01, f"the line at {end:.0%}")
            wait_for(lambda old=before: differs(page, old), "the line to move in the picture")
            before = settled(page)
        left = round(box["x"] + 0.7 * box["width"]) - CANVAS["x"]
        line = before[CANVAS["height"] // 4, max(0, left - 12) : left + 12].min(-1)
        assert line.max() > 200  # white, where the pointer let go
        assert np.allclose(camera.position, pose[0]) and np.allclose(camera.wxyz, pose[1])
        assert session.model.selection is None and session.view.layer == "RGB"  # and nothing was picked
        page.mouse.move(box["x"] + 0.3 * box["width"], y)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], y, steps=5)
        page.mouse.up()
        wait_for(lambda: not np.allclose(camera.wxyz, pose[1]), "the camera to turn beside the line")
        assert abs(session.view.at - 0.7) < 0.01
        page.mouse.click(box["x"] + 0.4 * box["width"], y)
        wait_for(lambda: session.model.heat is not None, "a click beside the line to pick")
        press(page, "Off")
        wait_for(lambda: not session.divider.draggable, "the strip to go with the line")


class Watched(Furnished):
    """Its first dataset camera looks at the second one from a metre away."""

    def __init__(self) -> None:
        super().__init__()
        from dataclasses import replace

        from gaussiancross.core.geometry.cameras import look_at

        eyes = torch.tensor([[1.0, 1.5, 1.2], [2.0, 1.5, 1.2]])
        views = [look_at(eyes[0], eyes[1]), look_at(eyes[1], torch.tensor([4.0, 1.5, 1.2]))]
        frames = self.state.frames
        cameras = Cameras(torch.stack(views), frames.cameras.Ks[:2], frames.cameras.width, frames.cameras.height)
        self.state = replace(self.state, frames=replace(frames, names=frames.names[:2], cameras=cameras))


def test_click_on_a_camera_goes_there_and_picks_nothing(page):
    with Inspector(Watched(), port=0) as inspector:
        open_and_wait(page, inspector)
        session = inspector.sessions[0]
        session.change(frusta=True)
        session.camera.select_frame(0)
        before = settled(page)
        box = canvas(page)
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)  # its frustum's lines meet there
        time.sleep(0.3)
        page.mouse.click(*middle)
        wait_for(lambda: session.view.frame == 1, "the camera to be chosen")
        time.sleep(1)
        assert session.model.heat is None and session.model.selection is None and session.view.layer == "RGB"
        session.camera.select_frame(0)
        wait_for(lambda: np.abs(pixels(page) - before).mean() < 8, "the first camera again")
        page.mouse.click(middle[0] - 0.3 * box["width"], middle[1] + 0.3 * box["height"])
        wait_for(lambda: session.model.heat is not None, "a click beside it to pick")


def test_key_frames_and_stop(page, tmp_path: Path):
    with Inspector(Furnished(), port=0) as inspector:
        open_and_wait(page, inspector)
        session = inspector.sessions[0]
        page.get_by_role("tab", name="Files").click()
        page.get_by_text("Video along a camera path").click()
        press(page, "Add")
        page.get_by_text("1 key frame", exact=True).wait_for(timeout=10_000)
        first = session.camera.pose().rotation
        session.camera.select_frame(1)
        wait_for(lambda: np.abs(first - session.camera.pose().rotation).max() > 0.5, "a turn")
        press(page, "Add")
        page.get_by_text("2 key frames", exact=True).wait_for(timeout=10_000)
        press(page, "Remove last")
        page.get_by_text("1 key frame", exact=True).wait_for(timeout=10_000)
        press(page, "Add")
        page.get_by_text("2 key frames", exact=True).wait_for(timeout=10_000)
        start = pixels(page)
        press(page, "Preview")
        wait_for(lambda: differs(page, start), "the preview to move the camera")
        page.get_by_role("button", name="Stop preview").click()
        wait_for(lambda: page.get_by_role("button", name="Preview", exact=True).count() == 1, "the preview to stop")

        control(session, "Length (s)").value, control(session, "Frames/s").value = 40, 30  # a long one
        press(page, "Save video")
        page.get_by_text("Making the video").first.wait_for(timeout=20_000)
        press(page, "Stop")
        wait_for(lambda: session.exports.job.done, "the export to stop")
        assert session.exports.job.share < 1 and session.exports.job.error is None
        wait_for(lambda: not page.get_by_text("Making the video").first.is_visible(), "the bar to go")

        control(session, "Length (s)").value, control(session, "Frames/s").value = 1, 5
        control(session, "Format").value = "GIF"
        with page.expect_download(timeout=60_000) as download:
            press(page, "Save video")
        download.value.save_as(tmp_path / "path.gif")
        from PIL import Image

        movie = Image.open(tmp_path / "path.gif")
        assert movie.n_frames == 5
        first = np.asarray(movie.convert("RGB")).astype(int)
        movie.seek(4)
        assert np.abs(np.asarray(movie.convert("RGB")) - first).mean() > 8  # it went somewhere


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)], ids=["laptop", "phone"])
def test_tabs_are_one_row_and_hold_everything(browser, size):
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    try:
        with Inspector(Furnished(), port=0) as inspector:
            page.goto(inspector.url)
            wait_for(lambda: page.get_by_role("tab", name="Files").count(), "the tabs")
            names = ("View", "Search", "Classes", "Run", "Files")

            def boxes() -> list[dict[str, float]]:
                return [page.get_by_role("tab", name=name, exact=True).first.bounding_box() for name in names]

            # The page grows into place: what counts is where the tabs come to rest.
            wait_for(lambda: len({round(box["y"]) for box in boxes()}) == 1, "the tabs to stand in one row")
            last = boxes()[-1]
            assert last["x"] + last["width"] <= size[0]
            if size[0] < 600:  # at the foot of the page, and folded by its title
                panel = page.locator(".mantine-Paper-root:has([role=tablist])").first
                box = panel.bounding_box()
                assert box["width"] == size[0] and box["height"] < 0.5 * size[1]
                page.get_by_text("GaussianCross viewer").first.click()
                wait_for(lambda: panel.bounding_box()["height"] < 100, "the panel to fold")
                page.get_by_text("GaussianCross viewer").first.click()
            settings = page.get_by_text("Settings", exact=True).first
            settings.scroll_into_view_if_needed()
            settings.click()
            page.get_by_text("Refit feature colours").wait_for(timeout=10_000)
    finally:
        page.close()
