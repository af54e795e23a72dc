"""The Objects tab in Chromium."""

from __future__ import annotations

from gaussiancross.app.inspector import Inspector
from helpers.browser import open_and_wait, press, room_source
from helpers.waiting import wait_for


def test_a_file_is_opened_named_and_its_neighbours_found(page, desk, folder):
    with Inspector(room_source(), port=0, recognizer=desk) as inspector:
        open_and_wait(page, inspector)
        page.get_by_role("tab", name="Objects").click()
        page.locator("input[type=file]").nth(0).wait_for(state="attached", timeout=10_000)
        session = inspector.sessions[0]
        chooser = page.get_by_role("button", name="Open an object", exact=True)
        with page.expect_file_chooser(timeout=20_000) as chosen:
            chooser.click()
        chosen.value.set_files(str(folder / "stick4.npz"))
        wait_for(lambda: session.view.scene == 1, "the object in the canvas")
        page.get_by_text("of 3 labels").wait_for(timeout=20_000)
        press(page, "Similar to the open object")
        page.get_by_text("nearest of 12").wait_for(timeout=20_000)
        press(page, "2")
        vector = desk.read("stick4.npz", (folder / "stick4.npz").read_bytes()).vector
        second = desk.gallery.names[desk.gallery.nearest(vector, 2)[1][0]]
        wait_for(lambda: session.browser.renderer.scene_names[-1] == second, "the second result to be opened")
