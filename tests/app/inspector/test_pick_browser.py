"""Clicks, text queries and boxes in Chromium. Compares pixels."""

from __future__ import annotations

import time

import numpy as np
import pytest
from gaussiancross.app.inspector import Inspector, PointsSource
from helpers.browser import open_and_wait, pixels, settled
from helpers.inspector import NamedRoom, box_room, room_words
from helpers.waiting import wait_for

TALL = {"width": 900, "height": 760}


@pytest.fixture()
def page(browser):
    page = browser.new_page(viewport=TALL)
    yield page
    page.close()


def edges(page) -> int:
    """Pixels of the dark edge that sets a cross off from whatever is behind it.

    A slow browser lowers its resolution: one cross has 190 to 240 such pixels, two have 360 to 430.
    """
    return int((pixels(page).max(-1) < 48).sum())


def changed(page, before: np.ndarray) -> bool:
    return bool(np.abs(pixels(page) - before).mean() > 8)


def ask(page, text: str) -> None:
    box = page.locator("form input").first
    box.fill(text)
    box.press("Enter")


def test_a_click_colours_similar_gaussians(page):
    with Inspector(NamedRoom(), port=0) as inspector:
        before = open_and_wait(page, inspector)
        assert edges(page) == 0
        page.mouse.click(180, 270)
        wait_for(lambda: changed(page, before), "the heat map")
        session = inspector.sessions[0]
        assert (
            session.view.layer == "Heat" and session.model.selection is not None and len(session.model.selection) > 10
        )
        page.get_by_role("tab", name="Search").click()
        page.get_by_text("opacity", exact=True).first.wait_for(timeout=10_000)
        wait_for(lambda: edges(page) > 50, "the cross")
        one = edges(page)
        page.keyboard.down("Shift")
        page.mouse.click(80, 300)
        page.keyboard.up("Shift")
        wait_for(lambda: edges(page) > 1.4 * one, "the excluding cross")
        page.get_by_role("button", name="Undo", exact=True).click()
        wait_for(lambda: edges(page) < 1.4 * one, "one cross less")
        page.get_by_role("button", name="Clear").first.click()
        wait_for(lambda: not changed(page, before), "the picture as it was")
        assert session.model.selection is None and session.view.layer == "RGB"


def test_text_queries_colour_the_scene_or_show_the_reason(page):
    with Inspector(NamedRoom(), port=0, text=room_words()) as inspector:
        before = open_and_wait(page, inspector)
        session = inspector.sessions[0]
        page.get_by_role("tab", name="Search").click()
        ask(page, "zebra")
        page.get_by_text("Unknown phrase 'zebra'").first.wait_for(timeout=10_000)
        assert session.model.heat is None
        ask(page, "giraffe")
        page.get_by_text("no confident match").first.wait_for(timeout=10_000)
        assert session.model.selection is None
        wait_for(lambda: changed(page, before), "the heat map of what is absent")
        absent = settled(page)
        ask(page, "front, back")
        wait_for(lambda: session.model.selection is not None and len(session.model.selection) > 100, "the selection")
        wait_for(lambda: changed(page, absent), "the heat map")
        page.locator("svg rect").first.wait_for(timeout=10_000)
        whole = settled(page)
        page.get_by_role("button", name="All but selected", exact=True).click()
        wait_for(lambda: changed(page, whole), "the wall in front to vanish")
        page.get_by_role("button", name="Only selected", exact=True).click()
        wait_for(lambda: not changed(page, whole), "the wall in front to be back")


def test_enter_right_after_the_last_letter_asks_for_the_whole_text(page):
    with Inspector(NamedRoom(), port=0, text=room_words()) as inspector:
        open_and_wait(page, inspector)
        page.get_by_role("tab", name="Search").click()
        box = page.locator("form input").first
        box.focus()
        box.evaluate(
            """(field) => {
              const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
              for (const text of ["f", "fr", "fro", "fron", "front"]) {
                set.call(field, text);
                field.dispatchEvent(new Event("input", {bubbles: true}));
              }
              const enter = {key: "Enter", bubbles: true, cancelable: true};
              if (field.dispatchEvent(new KeyboardEvent("keydown", enter))) field.form.requestSubmit();
            }"""
        )
        wait_for(lambda: inspector.sessions[0].model.question == "front", "the question")


def test_box_selects_points_without_gaussians(page):
    with Inspector(PointsSource(box_room(40)), port=0) as inspector:
        open_and_wait(page, inspector)
        session = inspector.sessions[0]
        page.get_by_role("tab", name="Search").click()
        page.get_by_role("button", name="Select a box").click()
        page.get_by_text("Drag a box on the canvas").first.wait_for(timeout=20_000)  # sent after the selection is on
        time.sleep(0.5)
        page.mouse.move(60, 290)  # below the notifications
        page.mouse.down()
        page.mouse.move(300, 390, steps=5)
        page.mouse.up()
        wait_for(lambda: session.model.selection is not None and len(session.model.selection) > 20, "the selection")
        assert len(session.model.selection) < 6 * 40 * 40
        page.get_by_text("Objects", exact=True).first.wait_for(timeout=10_000)
