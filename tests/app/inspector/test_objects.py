"""The Objects tab without a browser: open, name, search."""

from __future__ import annotations

from gaussiancross.app.inspector import Inspector, SplatsSource
from helpers.inspector import as_gaussians, box_room
from helpers.robot import Robot
from helpers.waiting import wait_for

RESULTS = [str(i) for i in range(1, 10)]
"""Buttons of the nine nearest objects."""


class TestPage:
    def test_open_name_search_and_open_a_result(self, desk, folder):
        source = SplatsSource(as_gaussians(box_room(16)), "box", device="cpu")
        with Inspector(source, port=0, recognizer=desk) as inspector, Robot(inspector) as robot:
            results = robot.session.panels["objects"]._pick
            wait_for(lambda: results.visible and len(results.options) == 9, "the gallery before any search")
            robot.submit("Text", "zebra")
            wait_for(lambda: not results.visible, "no results of an unknown word")
            robot.submit("Text", "plate")
            wait_for(lambda: robot.shows("plate: nearest of 12"), "results")
            robot.press("1", among=RESULTS)
            wait_for(lambda: robot.shows("of 3 labels"), "an opened object")
            wait_for(lambda: len(robot.session.browser.renderer.scene_names) == 2, "a scene of its own")
            wait_for(lambda: robot.session.view.scene == 1, "the object in the canvas")
            wait_for(lambda: robot.session.browser.renderer.state(1), "its state")
            assert robot.session.view.up == "+z"
            robot.submit("Labels", "ball, stick")
            wait_for(lambda: robot.shows("of 2 labels"), "two labels")
            robot.submit("Labels", "ball, stick, zebra")
            wait_for(lambda: robot.shows("zebra") and robot.shows("of 2 labels"), "the label that is left out")
            robot.submit("Labels", "zebra, unicorn")
            robot.hears("unicorn")
            robot.submit("Labels", "")
            wait_for(lambda: robot.shows("of 3 labels"), "the model's own labels")
            opened = robot.session.browser.renderer.scene_names[1]
            robot.press("Similar to the open object")
            wait_for(lambda: robot.shows(f"similar to {opened}: nearest"), "its neighbours")
            robot.press("1", among=RESULTS)
            wait_for(lambda: len(robot.session.browser.renderer.scene_names) == 3, "the nearest, itself")
            assert robot.session.browser.renderer.scene_names[2] == f"{opened}-2"

    def test_without_a_desk_there_is_no_tab(self):
        source = SplatsSource(as_gaussians(box_room(8)), "box", device="cpu")
        with Inspector(source, port=0) as inspector, Robot(inspector) as robot:
            assert "objects" not in robot.session.panels
            assert not robot.control("Classify")["visible"]
