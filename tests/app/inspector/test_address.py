"""The view in the page's address, and undo: without a screen, then in Chromium."""

from __future__ import annotations

import time

import numpy as np
import pytest
from gaussiancross.app.inspector import Inspector
from gaussiancross.app.inspector.address import Address
from gaussiancross.app.inspector.history import History
from gaussiancross.core.errors import InputError
from helpers.browser import pixels
from helpers.inspector import Clock, Furnished, grey_run
from helpers.robot import Robot, named_room
from helpers.waiting import wait_for


class TestText:
    @pytest.mark.parametrize(
        "address",
        [
            Address(),
            Address(3, "Depth", question="arm chair, café & 50 % ~26"),
            Address(0, "RGB", "Points", "Split", 0.25, camera=(1.0, -2.5, 0.25, 0.0, 0.125, 3.0, 1.25), step=317),
        ],
    )
    def test_it_is_read_as_it_was_written(self, address):
        assert Address.parse("?" + address.text()) == address

    @pytest.mark.parametrize(
        "text",
        [
            *("scene=0", "scene=x", "layer=Secret", "mix=Both", "at=nan", "cam=1,2,3", "cam=0,0,0,0,0,0,1", "step=-1"),
            *("cam=1,2,3,inf,5,6,1", "scene=" + "9" * 3000),
        ],
    )
    def test_what_cannot_be_read_is_a_sentence(self, text):
        with pytest.raises(InputError, match="the page's address"):
            Address.parse(text)


class TestHistory:
    def test_changes_go_in_reverse_order_and_a_drag_is_one(self):
        clock, undone = Clock(), []
        history = History(clock)
        for i in range(3):
            history.record("threshold", lambda i=i: undone.append(i), merge=True)
            clock.now += 0.5
        history.record("pick", lambda: undone.append("pick"))
        history.undo()
        history.undo()
        assert undone == ["pick", 0]
        with pytest.raises(InputError, match="no change"):
            history.undo()


@pytest.fixture()
def named():
    with named_room() as robot:
        yield robot


class TestView:
    def test_an_address_opens_scene_layer_question_and_camera(self, named):
        session = named.session
        named.enter("Address", "layer=Depth&q=front&cam=2,1,1,2,2,1,1.1")
        wait_for(lambda: session.model.question == "front", "the question to be asked")
        wait_for(lambda: session.view.layer == "Depth" and session.model.selection is not None, "the layer")
        assert np.allclose(session.camera.pose().position, (2, 1, 1)) and session.camera.pose().fov == 1.1

    def test_a_step_of_the_time_line_is_opened(self, tmp_path):
        with Inspector(grey_run(tmp_path), port=0) as inspector, Robot(inspector) as robot:
            wait_for(lambda: robot.session.loader.placed_scene == 0, "the scene")
            robot.enter("Address", "scene=2&step=10")
            wait_for(lambda: robot.session.view.scene == 1, "the scene")
            wait_for(lambda: robot.session.loader.shown_step == 10, "the step")
            assert robot.session.panels["address"]._address().text().startswith("scene=2&layer=RGB&step=10")

    def test_a_wrong_address_is_explained(self, named):
        named.enter("Address", "layer=Secret")
        named.hears("the page's address")


class TestUndo:
    def test_picks_queries_and_thresholds(self, named):
        session, result = named.session, named.session.panels["search"].result
        named.submit("Phrases", "back")
        wait_for(lambda: session.model.selection is not None, "an answer")
        first, cut = session.model.selection, result._cut
        named.enter("Threshold", cut + 0.1)
        wait_for(lambda: abs(result._cut - cut - 0.1) < 1e-6, "the threshold")
        named.press("Only selected")
        wait_for(lambda: session.model.keep is not None, "the rest to be hidden")
        pick = session.panels["search"].pick

        def picked() -> bool:
            session.camera.go_to_frame()  # the opening view may still be on its way
            pick._pick(0.5, 0.5, "Replace")
            return pick._hit

        wait_for(picked, "a pick on the back wall, which the first frame looks at", 20)
        assert session.model.question == "" and result.result.what == "1 pick"

        named.press("↶ Undo")  # the pick
        wait_for(lambda: session.model.question == "back" and session.model.keep is not None, "the query again")
        assert not session.panels["search"].pick._picks
        named.press("↶ Undo")  # hiding
        wait_for(lambda: session.model.keep is None, "everything to be drawn")
        named.press("↶ Undo")  # the threshold
        wait_for(lambda: result._cut == cut, "the threshold")
        assert np.array_equal(session.model.selection, first)
        named.press("↶ Undo")  # the query
        wait_for(lambda: session.model.heat is None and session.view.layer == "RGB", "the view before")
        named.press("↶ Undo")
        named.hears("no change yet")

    def test_colours_and_hidden_classes(self):
        with Inspector(Furnished(), port=0) as inspector, Robot(inspector) as robot:
            session = robot.session
            wait_for(lambda: session.panels["probe"]._ticks, "the legend")
            session.panels["probe"]._toggle("floor", False)
            session.panels["probe"]._paint("west", (9, 9, 9))
            robot.press("↶ Undo")
            wait_for(lambda: session.view.style.hidden == {"floor"} and not session.view.style.colors, "the colour")
            robot.press("↶ Undo")
            wait_for(lambda: not session.view.style.hidden, "the class")


def test_reload_and_restart_keep_the_view(page):
    with Inspector(Furnished(), port=0) as inspector:
        page.goto(inspector.url)
        wait_for(lambda: pixels(page).std() > 8, "the first picture")
        session = inspector.sessions[0]
        page.get_by_role("button", name="◉ Walk").click()
        page.keyboard.press("2")
        wait_for(lambda: session.view.layer == "Depth", "depth")
        wait_for(lambda: "layer=Depth" in page.evaluate("location.search"), "the address")
        time.sleep(1)
        place, url = session.camera.pose().position, page.evaluate("location.search")
        page.reload()

        def restored(of: Inspector) -> bool:
            new = next((s for s in of.sessions if s is not session), None)
            at = new is not None and np.allclose(new.camera.pose().position, place, atol=0.01)
            return at and new.view.layer == "Depth"

        wait_for(lambda: restored(inspector), "the view after a reload")
        assert not page.locator("text=Address").first.is_visible()
        port = int(inspector.url.rsplit(":", 1)[1])
    with Inspector(Furnished(), port=port) as again:
        wait_for(lambda: restored(again), "the view after a restart")
        assert page.evaluate("location.search") == url
        page.keyboard.press("h")
        page.get_by_role("dialog").wait_for(timeout=20_000)
        page.mouse.click(60, 300)  # beside it
        page.get_by_role("dialog").wait_for(state="hidden", timeout=20_000)
