"""The opening view, the tool bar, dialogs and words over the canvas in Chromium, in one page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gaussiancross.app.inspector import Inspector
from gaussiancross.app.scenes.house import house_of
from helpers.browser import pixels
from helpers.inspector import Furnished
from helpers.waiting import wait_for


def test_a_room_opens_as_a_whole_and_the_page_explains_it(page):
    with Inspector(Furnished(), port=0) as inspector:
        page.goto(inspector.url)
        wait_for(lambda: pixels(page).std() > 8, "the first picture")
        session = inspector.sessions[0]
        state = session.browser.renderer.state(0)
        house = house_of(state, "+z")
        assert house.hidden(np.asarray(session.client.camera.position)).sum() == 3  # outside of a corner, above

        bar, home = page.locator("div:has(>#gc-tools)+div"), page.get_by_role("button", name="⌂ Home")
        assert home.bounding_box()["x"] - bar.bounding_box()["x"] < 10
        page.keyboard.press("h")
        dialog = page.get_by_role("dialog")
        dialog.wait_for(timeout=20_000)
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden", timeout=20_000)

        page.keyboard.press("2")
        legend = page.locator('[data-role="legend"]')
        legend.wait_for(timeout=20_000)
        still = legend.bounding_box()
        assert still["width"] < 270 and still["height"] < 80 and still["y"] > 250  # at the lower left of the canvas
        session.requests.draw_canvas(moving=True)
        assert legend.bounding_box() == still

        page.get_by_role("button", name="◉ Walk").click()
        centers = state.frames.cameras.centers.numpy()
        wait_for(
            lambda: np.abs(centers - session.client.camera.position).sum(1).min() < 0.05, "the camera to go inside"
        )
        page.keyboard.press("t")
        wait_for(lambda: house.hidden(np.asarray(session.client.camera.position)).any(), "the view from outside")

        # Another scene, whose up is another axis: the browser turns its camera with the scene.
        bare = replace(state, name="bare", frames=None, transform=None, points=None)
        session.loader.select_scene(inspector.renderer.add_scene(bare))
        wait_for(lambda: session.loader.placed_scene == 1, "the second scene")
        session.camera.set_up("-x")
        wanted = session.camera.pose().position
        wait_for(lambda: session.camera._wanted is None, "the move to be confirmed")
        assert np.allclose(session.client.camera.position, wanted, atol=0.05)
