"""Time line, comparison and exports in Chromium. Compares pixels."""

from __future__ import annotations

import json

import numpy as np
import torch
from gaussiancross.app.inspector import Inspector
from gaussiancross.core.io import read_gaussians
from helpers.browser import VIEWPORT, differs, open_and_wait, pixels, room_source
from helpers.inspector import grey_run
from helpers.waiting import wait_for


def test_scrub_and_compare(browser, page, tmp_path):
    with Inspector(grey_run(tmp_path), port=0) as inspector:
        open_and_wait(page, inspector)
        wait_for(lambda: pixels(page).mean() > 150, "the newest step")
        page.get_by_role("tab", name="Run").click()
        page.get_by_role("button", name="‹ older").click()
        wait_for(lambda: 90 < pixels(page).mean() < 150, "the step before")
        page.get_by_role("button", name="‹ older").click()
        wait_for(lambda: pixels(page).mean() < 60, "the first step")
        other = browser.new_page(viewport=VIEWPORT)
        open_and_wait(other, inspector)
        wait_for(lambda: pixels(other).mean() > 150, "the newest step in another browser")
        assert pixels(page).mean() < 60  # each browser is where it was put
        other.close()
        page.get_by_text("Side by side").wait_for(timeout=10_000)
        inspector.sessions[0].panels["compare"].toggle()
        inspector.sessions[0].change(at=0.4)

        def halves() -> float:
            picture = pixels(page)
            return picture[:, -60:].mean() - picture[:, :60].mean()

        wait_for(lambda: halves() > 100, "the first step on the left and the last one on the right")


def test_downloads_and_the_offline_page(browser, tmp_path):
    context = browser.new_context(viewport={"width": 900, "height": 700}, accept_downloads=True)
    try:
        page = context.new_page()
        with Inspector(room_source(), port=0) as inspector:
            page.goto(inspector.url)
            wait_for(lambda: inspector.sessions and inspector.renderer.state(0), "the scene")
            page.get_by_role("tab", name="Files").click()
            for button, suffix in (("Gaussians (.ply)", ".ply"), ("Offline page (.html)", ".html")):
                with page.expect_download(timeout=60_000) as download:
                    page.get_by_role("button", name=button).click()
                assert download.value.suggested_filename.endswith(suffix)
                download.value.save_as(tmp_path / f"box{suffix}")
            state = inspector.renderer.state(0)
            assert state is not None and state.gaussians is not None
            assert torch.allclose(read_gaussians(tmp_path / "box.ply").means, state.gaussians.means, atol=1e-5)
        requests: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "box.html").as_uri())
        wait_for(lambda: pixels(page).std() > 8, "the offline page to draw")
        before = pixels(page)
        page.keyboard.press("2")
        wait_for(lambda: differs(page, before), "feature colours")
        before = pixels(page)
        page.mouse.move(200, 300)
        page.mouse.down()
        page.mouse.move(400, 320, steps=4)
        page.mouse.up()
        wait_for(lambda: differs(page, before), "the page to orbit")
        assert not errors and requests == [(tmp_path / "box.html").as_uri()]
        assert json.loads(page.evaluate("JSON.stringify(meta.modes)")) == ["RGB", "Features"]
        assert np.isfinite(page.evaluate("distance"))
    finally:
        context.close()
