"""The inspector in Chromium: images, live training, two pages, foreign pages. Compares pixels."""

from __future__ import annotations

import gc
import time
import weakref

import pytest
import torch
from gaussiancross.app.inspector import Inspector, LiveSource, PointsSource
from gaussiancross.trainers.engine.live import LiveFeed, Snapshot
from helpers.browser import VIEWPORT, differs, open_and_wait, pixels, press, room_source
from helpers.inspector import Boxes, StubModel, box_room
from helpers.waiting import wait_for


def test_first_image_and_every_layer(page):
    with Inspector(room_source(), port=0) as inspector:
        before = open_and_wait(page, inspector)
        for layer in ("Depth", "Features", "Points", "Alpha", "Views", "RGB"):
            press(page, layer)
            wait_for(lambda b=before: differs(page, b), f"the {layer} layer")
            time.sleep(0.5)
            before = pixels(page)
            assert page.get_by_role("button", name=f"● {layer}").count() == 1


def test_memory_of_pages_that_left_is_freed(browser):
    with Inspector(room_source(), port=0) as inspector:
        pages = [browser.new_page(viewport=VIEWPORT) for _ in range(2)]
        for page in pages:
            open_and_wait(page, inspector)
        left = [weakref.ref(session) for session in inspector.sessions]
        gc.disable()  # as rare as in a training
        try:
            for page in pages:
                page.close()
            wait_for(lambda: not any(session() for session in left), "the sessions to be freed")
        finally:
            gc.enable()
    assert len(left) == 2


def test_exception_is_shown_and_rendering_continues(page):
    with Inspector(room_source(), port=0) as inspector:
        before = open_and_wait(page, inspector)
        render, inspector.renderer.draw = inspector.renderer.draw, lambda *a, **k: 1 / 0
        press(page, "Depth")
        page.get_by_text("ZeroDivisionError").first.wait_for(timeout=10_000)
        inspector.renderer.draw = render
        press(page, "Features")
        wait_for(lambda: differs(page, before), "a picture after the error")


def test_live_training_is_followed_and_steered(page):
    feed = LiveFeed()
    feed.publish(Snapshot(1, {"grey": torch.tensor(0.1)}))
    with Inspector(LiveSource(feed, Boxes(), device="cpu", make_model=StubModel), port=0, feed=feed) as inspector:
        page.goto(inspector.url)
        wait_for(feed.wants_snapshot.is_set, "the viewer to ask for weights")
        time.sleep(0.5)
        before = pixels(page)
        for step in range(1, 6):
            feed.log(step, {"loss/total": 1 / step, "its_per_s": 2.0})
        feed.publish(Snapshot(5, {"grey": torch.tensor(0.9)}))
        wait_for(lambda: pixels(page).mean() > before.mean() + 50, "the new weights")
        page.get_by_text("step 5", exact=True).wait_for(timeout=5000)
        press(page, "Pause training")
        wait_for(lambda: feed.paused, "the pause")
        page.get_by_role("button", name="Resume training").wait_for(timeout=5000)
        press(page, "Save checkpoint")
        wait_for(feed.take_save_request, "the request to save")
        press(page, "Resume training")
        wait_for(lambda: not feed.paused, "training to go on")
        page.get_by_role("tab", name="Run").click()
        page.locator(".uplot canvas").first.wait_for(timeout=10_000)
        page.get_by_role("tab", name="View").click()
        press(page, "next ›")
        wait_for(lambda: inspector.sessions[0].view.scene == 1, "the next scene")


def test_two_browsers_and_one_that_reloads(browser, page):
    with Inspector(PointsSource(box_room(16)), port=0) as inspector:
        first = open_and_wait(page, inspector)
        other = browser.new_page(viewport=VIEWPORT)
        open_and_wait(other, inspector)
        assert len(inspector.sessions) == 2
        inspector.sessions[1].change(point_color="Normals")
        wait_for(lambda: differs(other, first), "the other browser's colours")
        assert not differs(page, first)  # each browser has its own
        other.close()
        wait_for(lambda: len(inspector.sessions) == 1, "the other browser to be forgotten")
        page.reload()
        wait_for(lambda: not differs(page, first) and pixels(page).std() > 8, "the page after a reload")


def test_foreign_pages_are_refused():
    client = pytest.importorskip("websockets.sync.client")
    exceptions = pytest.importorskip("websockets.exceptions")
    import viser

    def first_message(inspector: Inspector, origin: str | None) -> bytes:
        address = inspector.url.replace("http", "ws")
        protocol = [f"viser-v{viser.__version__}"]
        with client.connect(address, origin=origin, subprotocols=protocol, open_timeout=5) as connection:
            return connection.recv(timeout=5)

    with Inspector(room_source(), port=0) as inspector:
        assert len(first_message(inspector, inspector.url)) > 100
        assert len(first_message(inspector, None)) > 100
        with pytest.raises(exceptions.ConnectionClosed) as refused:
            first_message(inspector, "http://evil.example")
        assert refused.value.rcvd.code == 1008


def test_the_next_free_port_is_used_and_printed(capsys):
    with Inspector(room_source(), port=0) as first:
        wanted = int(first.url.rsplit(":", 1)[1])
        with Inspector(room_source(), port=wanted) as second:
            assert second.url != first.url
    assert f"Port {wanted} is in use" in capsys.readouterr().out
