"""The page's Refine button, without a screen."""

from __future__ import annotations

import torch
from gaussiancross.app.inspector import Inspector
from gaussiancross.core.io import read_gaussians
from helpers.inspector import Furnished
from helpers.robot import Robot
from helpers.waiting import wait_for


def test_a_scene_is_refined_in_the_page_and_downloaded(monkeypatch, tmp_path):
    with Inspector(Furnished(), port=0) as inspector, Robot(inspector) as robot:
        session, sent = robot.session, []
        wait_for(lambda: session.loader.placed_scene == 0, "the scene")
        session.change(layer="Points")
        monkeypatch.setattr(session.client, "send_file_download", lambda name, content, **_: sent.append(content))
        wait_for(lambda: not robot.control("Refine", "Button")["disabled"], "frames to compare with")
        session.panels["refine"]._seconds.value = 3
        robot.press("Refine")
        wait_for(lambda: session.view.scene == 1, "the refined scene while it is refined")
        assert session.view.layer == "RGB"
        first = session.browser.renderer.state(1) or wait_for(lambda: session.browser.renderer.state(1), "its state")
        wait_for(lambda: sent, "the file", 120)
        refined, before = session.browser.renderer.state(1), inspector.renderer.state(0)
        assert inspector.renderer.scene_names[1] == "box, refined" and robot.shows("dB before")
        assert not torch.equal(refined.gaussians.colors, first.gaussians.colors)
        assert refined.embeddings.shape == before.embeddings.shape  # as many points as Gaussians
        (tmp_path / "refined.ply").write_bytes(sent[0])
        written = read_gaussians(tmp_path / "refined.ply")
        assert len(written) == len(refined.gaussians) and written.features.shape[1] == refined.embeddings.shape[1]
