"""Layers, split and opacity in Chromium. Compares pixels."""

from __future__ import annotations

import numpy as np
import pytest
from gaussiancross.app.inspector import Inspector
from helpers.browser import CANVAS, VIEWPORT, differs, open_and_wait, pixels, press, settled
from helpers.inspector import Furnished
from helpers.waiting import wait_for


@pytest.fixture()
def page(browser):
    page = browser.new_page(viewport=VIEWPORT | {"height": 640})
    yield page
    page.close()


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).mean() < 8)


def test_split_opacity_and_layers_by_key(page):
    with Inspector(Furnished(), port=0) as inspector:
        open_and_wait(page, inspector)
        rgb = settled(page)
        page.keyboard.press("2")
        wait_for(lambda: differs(page, rgb), "the depth layer by its key")
        depth = settled(page)
        press(page, "RGB")
        wait_for(lambda: close(pixels(page), rgb), "the RGB layer by its button")

        session = inspector.sessions[0]
        session.change(second="Depth")
        press(page, "Split")
        wait_for(lambda: differs(page, rgb), "the split")
        both = settled(page)
        line = session.client.camera.image_width // 2 - CANVAS["x"]  # where it stands within the clip
        assert 20 < line < CANVAS["width"] - 20
        assert close(both[:, : line - 8], rgb[:, : line - 8]) and not close(both[:, : line - 8], depth[:, : line - 8])
        assert close(both[:, line + 8 :], depth[:, line + 8 :]) and not close(both[:, line + 8 :], rgb[:, line + 8 :])

        slider = page.get_by_role("slider").first  # the split's position
        slider.focus()
        page.keyboard.press("End")
        wait_for(lambda: session.view.at == 1, "the slider to be moved")
        wait_for(lambda: close(pixels(page), rgb), "the line to leave to the right")

        session.change(at=0.5)
        press(page, "Blend")
        wait_for(lambda: differs(page, rgb), "the blend")
        mixed = settled(page)
        assert close(mixed[: CANVAS["height"] // 2], ((rgb + depth) / 2)[: CANVAS["height"] // 2])

        press(page, "Off")
        press(page, "Labels")
        wait_for(lambda: differs(page, rgb), "the labels")
        page.get_by_text("ceiling", exact=True).wait_for(timeout=5000)  # their legend
        before = settled(page)
        press(page, "Target")
        wait_for(lambda: differs(page, before), "the recorded picture")
        target = settled(page)
        assert target.std() < 4 and abs(target.mean() - 51) < 6  # the stub's first frame is a plain grey
