"""State of one browser session: time line, curves, rate limit, unavailable layers, colours."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from gaussiancross.app.inspector import Inspector
from gaussiancross.app.render.catalog import available, missing
from helpers.inspector import Furnished, box_room, grey_run
from helpers.robot import Robot
from helpers.waiting import wait_for


@pytest.fixture(scope="module")
def furnished():
    with Inspector(Furnished(), port=0) as inspector:
        yield inspector


def grey(robot: Robot) -> float:
    state = robot.session.browser.renderer.state(0)
    return -1.0 if state is None or state.gaussians is None else float(state.gaussians.colors.mean())


def test_two_browsers_scrub_and_compare_on_their_own(tmp_path):
    with Inspector(grey_run(tmp_path), port=0) as inspector, Robot(inspector) as one, Robot(inspector) as two:
        wait_for(lambda: grey(one) > 0.85 and grey(two) > 0.85, "the newest step in both")
        newest = one.session.browser.renderer.state(0)
        assert two.session.browser.renderer.state(0) is newest  # shared, with all that is memorised in it
        one.press("‹ older")
        wait_for(lambda: abs(grey(one) - 0.5) < 0.02, "the step before in one")
        two.press("‹ older")
        two.press("‹ older")
        wait_for(lambda: grey(two) < 0.15, "the first step in the other")
        assert abs(grey(one) - 0.5) < 0.02 and grey(two) < 0.15
        one.session.panels["compare"].toggle()
        wait_for(
            lambda: one.session.browser.comparison.names() == ("step 10", "step 20"),
            "a comparison with the newest step",
        )
        assert two.session.browser.comparison.names() == ("step 0", "step 20") and not two.session.view.compare
        with Robot(inspector) as late:
            wait_for(lambda: grey(late) > 0.85, "the newest step in a third one")


def test_curves_of_a_run_that_is_over(tmp_path):
    rows = [{"step": i, "loss/total": 1 / (i + 1), "probe/miou": i / 20} for i in range(10)]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 10, "loss/to')  # cut off
    with Inspector(grey_run(tmp_path), port=0, metrics=metrics) as inspector, Robot(inspector) as robot:
        wait_for(lambda: len(robot.charts()) == 2, "two charts")
        data = robot.charts()["Losses (unweighted, except the total)"]["data"]
        assert np.allclose(data[1], [1 / (i + 1) for i in range(10)])
        wait_for(lambda: not robot.shows("no curves"), "the note to go")
        metrics.write_text("".join(json.dumps(row | {"lr": 0.1}) + "\n" for row in rows))
        wait_for(lambda: len(robot.charts()) == 3, "the chart of a file that has grown")


def test_pictures_per_second_have_a_cap(furnished):
    with Robot(furnished) as robot:
        session, drawn = robot.session, []
        draw = session.requests.draw_canvas
        session.requests.draw_canvas = lambda moving: (drawn.append(moving), draw(moving))[1]  # type: ignore[method-assign]
        robot.enter("Max. images per second", 5)
        wait_for(lambda: session.requests.rate == 5, "the new cap")
        wait_for(lambda: session.loader.placed_scene == 0, "the camera to be put where it sees the scene")
        wait_for(lambda: session.camera.pending.goal is None, "the camera's move to be over")
        time.sleep(0.5)
        drawn.clear()
        begun = time.monotonic()
        while (took := time.monotonic() - begun) < 1 or (True not in drawn and took < 60):
            robot.look(320, 240 + len(drawn) % 2)
            time.sleep(0.02)
        assert 1 <= drawn.count(True) <= 5 * took + 2
        wait_for(lambda: not drawn[-1], "the full picture once it is still")
        robot.enter("Max. images per second", 10**9)
        wait_for(lambda: session.requests.rate == 60, "a cap on the cap")


def test_unavailable_layers_are_listed_with_the_reason():
    bare, taught = Furnished().state, Furnished(teacher=True).state
    why = missing(bare, available(bare))
    assert set(why) == {"Heat", "Teacher", "Cosine", "Classes"} and "--teacher" in why["Cosine"]
    assert set(missing(taught, available(taught, heat=True, classes=True))) == set()
    assert missing(None, available(None)) == {}
    with Inspector(Furnished(), port=0) as inspector, Robot(inspector) as robot:
        wait_for(lambda: robot.control("Not available")["visible"], "the greyed layers")
        wait_for(lambda: robot.control("Not available")["hint"], "the reasons")
        absent = robot.control("Not available")
        assert "Cosine" in absent["options"] and "Teacher, Cosine: no features of a 2D" in absent["hint"]
        robot.session.model.choose_layer("Cosine")  # by a command, all the same
        assert "Cosine" not in available(robot.session.browser.renderer.state(0))


def test_a_class_is_recoloured_in_the_legend(furnished):
    with Robot(furnished) as robot:
        session = robot.session
        wait_for(lambda: len(robot.labels("Rgb")) == len(Furnished.class_names), "the legend")
        assert robot.labels("Rgb") == sorted(Furnished.class_names)
        name = robot.labels("Rgb")[1]
        robot.enter(name, (255, 0, 255), "Rgb")
        wait_for(lambda: (name, (255, 0, 255)) in session.view.style.colors, "the colour")
        points = box_room(24)
        colors = session.view.style.paint(Furnished.class_names, points.segment)
        assert (colors[points.segment == Furnished.class_names.index(name)] * 255).round().tolist()[0] == [255, 0, 255]
        robot.enter("Original colours", True)
        wait_for(lambda: not session.view.style.colors, "the original colours")
        wait_for(lambda: tuple(robot.control(name, "Rgb")["value"]) != (255, 0, 255), "the swatch, too")
