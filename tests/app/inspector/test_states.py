"""That a page never shows a state that is over: an old answer, an old scene, an old layer, an old pose."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussiancross.app.inspector import Inspector, PointsSource
from gaussiancross.app.inspector.overlay import marks_html
from gaussiancross.app.inspector.worker import RenderWorker
from gaussiancross.app.query.search import QueryResult
from gaussiancross.app.render.options import RenderOptions
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.core.errors import InputError
from helpers.inspector import Boxes, Clock, Furnished, box_room, free_camera
from helpers.robot import Robot, named_room
from helpers.waiting import wait_for


@pytest.fixture(scope="module")
def named():
    """A page that can be asked in words."""
    with named_room() as robot:
        yield robot


class TestAnswers:
    def test_an_unknown_word_leaves_nothing_of_the_answer_before(self, named):
        model = named.session.model
        named.submit("Phrases", "front")
        wait_for(lambda: named.session.view.layer == "Heat", "the heat map")
        wait_for(lambda: model.selection is not None and named.shows("histogram"), "an answer")
        named.submit("Phrases", "zebra")
        wait_for(lambda: model.heat is None and named.session.view.layer == "RGB", "the heat map to go")
        assert model.selection is None
        assert not named.session.panels["search"].result._folder.visible

    def test_newer_weights_do_not_bring_the_heat_map_back(self, named):
        session = named.session
        named.submit("Phrases", "front")
        wait_for(lambda: session.view.layer == "Heat", "the heat map")
        session.model.choose_layer("RGB")
        session.panels["search"].query.renew(session.browser.renderer.state(0))
        assert session.view.layer == "RGB" and session.model.heat is not None

    def test_without_a_match_there_is_no_threshold_to_move(self, named):
        panel = named.session.panels["search"].result
        named.submit("Phrases", "giraffe")
        wait_for(lambda: not panel._present, "the answer")
        wait_for(lambda: "nothing" in panel._summary.content, "that nothing is selected")
        assert not panel._slider.visible and not panel._histogram.visible
        assert "threshold" not in panel._summary.content

    def test_another_pick_takes_nothing_away(self, named):
        session, search = named.session, named.session.panels["search"]
        state = session.browser.renderer.state(0)
        u, v = 0.5, 0.5
        session.camera.go_to_frame()
        wait_for(lambda: session.camera.pending.goal is None, "the camera", 10)
        search.pick._pick(u, v, "Replace")
        first = set(session.model.selection.tolist())
        session.camera.select_frame(2)
        search.pick._pick(u, v, "Add")
        both = set(session.model.selection.tolist())
        assert first and first < both and len(both) < len(state.gaussians)

    def test_without_a_fitted_cut_nothing_is_called_absent(self, named):
        named.submit("Phrases", "giraffe")
        wait_for(lambda: named.shows("no confident match"), "the answer")
        assert named.shows("no cut was fitted to these features")

    def test_a_double_click_on_nothing_does_not_fly_to_an_older_pick(self, named):
        session, pick = named.session, named.session.panels["search"].pick
        session.camera.go_to_frame()
        wait_for(lambda: session.camera.pending.goal is None, "the camera", 10)
        pick._pick(0.5, 0.5, "Replace")
        session.camera.place(np.array([20.0, 20.0, 1.0]), np.array([40.0, 40.0, 1.0]), 1.0)
        wait_for(lambda: session.camera.pending.goal is None, "the camera", 10)
        here = session.camera.pose().position
        click = SimpleNamespace(screen_pos=(0.5, 0.5))
        pick._clicked(click, None)
        pick._clicked(click, None)
        done = threading.Event()
        session.browser.ask("done", done.set)
        assert done.wait(10)
        assert np.allclose(session.camera.pose().position, here)

    def test_a_box_can_be_inverted(self, named):
        panel = named.session.panels["search"].result
        state = named.session.browser.renderer.state(0)
        scores = torch.zeros(len(state.gaussians))
        scores[:30] = 1
        panel.show(state, QueryResult(scores, 0, None, "", "box", 0.0, 1.0, 0.5, "box"))
        assert panel._invert.visible and not panel._slider.visible

    def test_a_box_has_no_legend(self, named):
        session = named.session
        state = session.browser.renderer.state(0)
        scores = torch.zeros(len(state.gaussians))
        scores[:30] = 1
        box = QueryResult(scores, 0, None, "", "box", 0.0, 1.0, 0.5, "box")
        session.panels["search"].result.show(state, box)
        options = replace(session.model.options(), layer="Heat", text=False)
        assert session.browser.renderer.draw(0, options, free_camera()).marks.legends == ()


class TestScenes:
    def test_a_scene_that_loads_hides_the_one_before(self):
        go_on = threading.Event()

        class Slow(PointsSource):
            def load(self, index):
                assert index == 0 or go_on.wait(60)
                return super().load(index)

        with Inspector(Slow(Boxes()), port=0) as inspector, Robot(inspector) as robot:
            wait_for(lambda: robot.session.loader.placed_scene == 0, "the first scene")
            robot.session.loader.select_scene(1)
            wait_for(lambda: robot.shows("Loading box1"), "the page to say so")
            go_on.set()
            wait_for(lambda: not robot.shows("Loading box1"), "the second scene")

    @pytest.mark.parametrize(
        "error, sentence",
        [
            (InputError("box1", "a point", "none"), "Could not be loaded: box1: expected a point, found none."),
            (OSError("the disk is gone"), "box1 could not be loaded: the disk is gone"),
        ],
    )
    def test_a_scene_that_cannot_be_loaded_is_explained(self, error, sentence):
        class Broken(PointsSource):
            def load(self, index):
                if index:
                    raise error
                return super().load(index)

        with Inspector(Broken(Boxes()), port=0) as inspector, Robot(inspector) as robot:
            wait_for(lambda: robot.session.loader.placed_scene == 0, "the first scene")
            robot.session.loader.select_scene(1)
            wait_for(lambda: robot.shows(sentence), "the reason")
            assert not robot.shows("Loading box1")
            wait_for(lambda: robot.shows("not loaded") and not robot.shows("loading …"), "the card")
            robot.session.loader.select_scene(0)
            wait_for(lambda: not robot.shows("not loaded"), "the card of the first scene")

    def test_the_card_names_an_added_scene(self):
        with Inspector(PointsSource(box_room(12)), port=0) as inspector, Robot(inspector) as robot:
            state = replace(inspector.renderer.state(0), name="guitar")
            robot.session.loader.select_scene(inspector.renderer.add_scene(state))
            wait_for(lambda: robot.shows("guitar, opened here"), "the title")

    def test_a_pose_that_the_browser_turned_with_the_scene_is_sent_again(self):
        from viser import _messages as m

        with Inspector(PointsSource(box_room(12)), port=0) as inspector, Robot(inspector) as robot:
            wait_for(lambda: robot.session.loader.placed_scene == 0, "the scene")
            camera = robot.session.camera
            camera.set_up("-x")
            wanted = camera.pose().position
            turned = tuple(float(v) for v in wanted[[1, 0, 2]] + 3)
            robot.send(m.ViewerCameraMessage((1, 0, 0, 0), turned, 1.0, 0.01, 100.0, 240, 320, (2, 1, 2), (0, 0, 1)))
            wait_for(lambda: camera._heard > camera._sent, "the report")
            wait_for(lambda: np.allclose(robot.session.client.camera.position, wanted), "the pose again")

    def test_walls_before_the_camera_are_hidden_in_points_that_the_browser_draws(self):
        with Inspector(PointsSource(box_room(24)), port=0) as inspector, Robot(inspector) as robot:
            session = robot.session
            clouds = session.requests._clouds
            wait_for(lambda: len(clouds) == 6, "inside, ceiling and four walls")
            wait_for(lambda: sum(cloud.visible for cloud in clouds.values()) == 3, "two walls and the ceiling to go")
            session.camera.walk()
            wait_for(lambda: all(cloud.visible for cloud in clouds.values()), "all of them from inside")
            session.change(cut=False)
            wait_for(lambda: len(clouds) == 1, "one cloud without the cut")


class TestControls:
    def test_only_layers_of_the_scene_are_offered(self):
        with Inspector(Furnished(), port=0) as inspector, Robot(inspector) as robot:
            wait_for(lambda: robot.control("Layer", "ButtonGroup")["visible"], "the buttons")
            assert [o.removeprefix("● ") for o in robot.control("Layer", "ButtonGroup")["options"]] == ["Labels", "RGB"]
            assert robot.control("Indices (.npy + .json)")["disabled"]
            robot.session.model.selection = np.arange(3)
            wait_for(lambda: not robot.control("Indices (.npy + .json)")["disabled"], "a selection to export")

    def test_the_offline_page_has_what_the_canvas_shows(self, named, monkeypatch):
        session, sent = named.session, []
        state = session.browser.renderer.state(0)
        monkeypatch.setattr(session.client, "send_file_download", lambda name, content, **_: sent.append(content))
        session.change(cut=False)
        session.model.set_keep(torch.arange(len(state.gaussians)) < 30)  # "Only selected"
        named.press("Offline page (.html)")
        wait_for(lambda: sent, "the page")
        assert f"30 Gaussians of {len(state.gaussians):,}" in sent[0].decode()
        session.model.set_keep(None)
        session.change(cut=True)

    def test_escape_closes_the_dialog(self, named):
        panel = named.session.panels["help"]
        panel.show_keys()
        assert panel._open is not None
        next(c for c in panel.commands() if c.key == "escape").action()
        assert panel._open is None

    def test_focus_without_anything_is_explained(self, named):
        named.session.camera.target = None
        named.press("⊕ Focus")
        named.hears("a pick or a match to fly to")

    def test_a_mistake_of_the_user_prints_no_traceback(self, caplog):
        def refuse() -> None:
            raise InputError("notes.txt", "points", "text")

        worker, told = RenderWorker(on_error=lambda _, error: told.append(error)), []
        with caplog.at_level(logging.WARNING):
            worker.submit("upload", refuse)
            worker.run_one()
        assert len(told) == 1 and caplog.records == []

    def test_a_moving_camera_has_the_whole_budget(self):
        clock, done = Clock(), []

        def job(name: str) -> None:
            clock.now += 0.05
            done.append(name)

        worker = RenderWorker(share=0.3, clock=clock)
        while clock.now < 5:
            worker.hurry()
            for lane in ("interactive", "background"):
                worker.submit(lane, lambda lane=lane: job(lane), lane)  # type: ignore[arg-type]
            clock.now += min(worker.run_one(), 0.02)
        assert done.count("background") <= 2 and done.count("interactive") * 0.05 > 0.28 * 5


class TestOverlay:
    def test_legends_are_words_of_the_page_at_any_size(self):
        renderer = Renderer(Furnished())
        renderer.load(0)
        options = RenderOptions(layer="Depth", second="Opacity", mix="Split", text=False, colors="Inferno")
        small, large = (renderer.draw(0, options, free_camera(w, 3 * w // 4)).marks for w in (40, 320))
        assert small == large and small.names == ("Depth", "Opacity")
        content = marks_html(small)
        assert content.count('data-role="legend"') == 2 and "Depth: depth" in content and "#fcffa4" in content
        with_text = renderer.draw(0, replace(options, text=True), free_camera(400, 300))
        assert with_text.marks == small
        assert (with_text.image != renderer.draw(0, options, free_camera(400, 300)).image).any()

    def test_names_of_the_sides_are_escaped(self):
        from gaussiancross.app.render.options import Marks

        assert "&lt;b&gt;" in marks_html(Marks(names=("<b>", "x")))
