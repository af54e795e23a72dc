"""The Objects tab without a browser: open, name, search."""

from __future__ import annotations

from gaussiancross.app.inspector import Inspector, SplatsSource
from helpers.inspector import as_gaussians, box_room
from helpers.robot import Robot, wait_for


class TestPage:
    def test_open_name_search_and_open_a_result(self, desk, folder):
        source = SplatsSource(as_gaussians(box_room(16)), "box", device="cpu")
        with Inspector(source, port=0, recognizer=desk) as inspector, Robot(inspector) as robot:
            panel = robot.session.panels["objects"]
            panel._text.value = "plate"
            panel._search_text()
            wait_for(lambda: panel._sheet.visible, "results")
            assert len(panel._results) == 9 and panel._pick.options[-1] == "9" and "plate" in panel._status.content
            panel._open_result(0)
            wait_for(lambda: panel._picture.visible, "an opened object")
            wait_for(lambda: len(robot.session.browser.renderer.scene_names) == 2, "a scene of its own")
            wait_for(lambda: robot.session.view.scene == 1, "the object in the canvas")
            wait_for(lambda: robot.session.browser.renderer.state(1), "its state")
            assert robot.session.view.up == "+z"
            panel._candidates.value = "ball, stick"
            panel._relabel()
            wait_for(lambda: "of 2 labels" in panel._scores.content, "two labels")
            panel._candidates.value = "ball, zebra"
            panel._relabel()
            robot.hears("zebra")
            panel._search_similar()
            wait_for(lambda: "similar to" in panel._status.content, "its neighbours")
            assert desk.gallery.names[panel._results[0]] == panel._object.name

    def test_without_a_desk_there_is_no_tab(self):
        source = SplatsSource(as_gaussians(box_room(8)), "box", device="cpu")
        with Inspector(source, port=0) as inspector, Robot(inspector) as robot:
            assert "objects" not in robot.session.panels
            assert not robot.session.panels["search"].result._classify.visible
