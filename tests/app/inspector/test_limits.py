"""Limits on browser input: texts, files, sizes, paths, tunnels, foreign pages."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from gaussiancross.app.export.pictures import MAX_SIDE
from gaussiancross.app.inspector import Inspector, SplatsSource
from gaussiancross.app.inspector import access as access_module
from gaussiancross.app.inspector import session as session_module
from gaussiancross.app.scenes import uploads
from helpers.inspector import as_gaussians, box_room
from helpers.robot import Robot
from helpers.waiting import wait_for

SECRET = "a-file-that-nobody-may-open"


@pytest.fixture(scope="module")
def inspector():
    import torch

    scene = box_room(6)
    features = torch.from_numpy(np.concatenate([scene.coord, scene.normal], 1))
    with Inspector(SplatsSource(as_gaussians(scene, features), "box", device="cpu"), port=0) as inspector:
        yield inspector


@pytest.fixture()
def robot(inspector):
    with Robot(inspector) as robot:
        yield robot
    wait_for(lambda: not inspector.sessions, "the robot to be forgotten")


def test_long_texts_are_refused(robot):
    robot.enter("Phrases", "sofa " * 10_000)
    robot.enter("Search", True)
    robot.hears("at most 16 phrases of 80 letters")
    robot.enter("Phrases", ", ".join(f"word {i}" for i in range(500)))
    robot.enter("Search", True)
    wait_for(lambda: sum("16 phrases" in text for text in robot.said) == 2, "the second refusal")


@pytest.mark.parametrize("honest", [True, False])
def test_large_files_are_dropped_while_they_arrive(robot, monkeypatch, honest):
    from viser import _messages as m

    monkeypatch.setattr(uploads, "MAX_UPLOAD", 2_000_000)
    monkeypatch.setattr(session_module, "MAX_UPLOAD", 2_000_000)
    with Robot(robot.inspector) as sender:
        button = sender.uuid("Open a file of splats or points")
        size, chunk = 5_000_000, bytes(1_000_000)
        sender.send(m.FileTransferStartUpload(button, "t", "../big.ply", "", 5, size if honest else 10))
        for i in range(5):
            sender.send(m.FileTransferPart(button, "t", i, chunk))
        sender.hears(f"big.ply: expected at most 2 MB, found {5 if honest else 3} MB")
        assert not sender.session.client.gui._current_file_upload_states
        assert len(sender.inspector.renderer.scene_names) == 1


def test_unfinished_uploads_are_limited_together(robot, monkeypatch):
    from viser import _messages as m

    monkeypatch.setattr(uploads, "MAX_UPLOAD", 2_000_000)
    monkeypatch.setattr(session_module, "MAX_UPLOAD", 2_000_000)
    with Robot(robot.inspector) as sender:
        button = sender.uuid("Open a file of splats or points")
        for i in range(6):
            sender.send(m.FileTransferStartUpload(button, f"t{i}", f"part{i}.ply", "", 2, 900_000))
            sender.send(m.FileTransferPart(button, f"t{i}", 0, bytes(450_000)))
        sender.hears("part5.ply: expected at most 2 MB, found 3 MB")
        assert set(sender.session.client.gui._current_file_upload_states) == {"t0", "t1"}


def test_resolution_is_capped(robot):
    session, cap = robot.session, robot.inspector.shared.max_width
    robot.look(200_000, 100_000)
    wait_for(lambda: session.client.camera.image_width == 200_000, "the camera")
    cameras = session.requests.cameras()
    assert (cameras.width, cameras.height) == (cap, cap // 2)
    assert session.camera.image_size(10**9, MAX_SIDE) == (MAX_SIDE, MAX_SIDE // 2)
    robot.enter("Max. image width (px)", "100000")
    robot.hears("the largest image: expected one of 480")
    assert robot.inspector.shared.max_width == cap
    robot.look(320, 240)
    robot.enter("Path", "Orbit")
    robot.enter("Length (s)", 10**9)
    robot.enter("Save video", True)
    robot.hears("a video: expected 1 to 1200 frames")


def test_no_path_from_a_browser_is_opened(robot, tmp_path):
    from viser import _messages as m

    secret = tmp_path / f"{SECRET}.ply"
    secret.write_bytes(b"ply")
    opened: list[str] = []
    watching = [True]

    def audit(event: str, args: tuple) -> None:
        if watching[0] and event in ("open", "os.listdir", "os.scandir") and SECRET in str(args[0]):
            opened.append(str(args[0]))

    sys.addaudithook(audit)  # cannot be removed, only told to look away
    try:
        open(secret).close()
        assert opened.pop()  # it sees
        labels = ("Scene", "Second layer", "Classes from", "Point colours", "Phrases", "Negatives", "Template")
        for label in (*labels, "Open", "Render", "Up", "Path", "Format", "Content", "Score"):
            robot.enter(label, str(secret))
        robot.enter("Search", True)
        upload = robot.uuid("Open a file of splats or points")
        robot.send(m.FileTransferStartUpload(upload, "s", str(secret), "", 1, 3))
        robot.send(m.FileTransferPart(upload, "s", 0, b"ply"))
        robot.hears(f"{SECRET}.ply: expected")  # what was sent is no PLY; the file of that name was left alone
        robot.enter("Offline page (.html)", True)
        time.sleep(0.5)
        assert not opened
    finally:
        watching[0] = False
    assert robot.inspector.renderer.scene_names == ("box",)


class FakeTunnel:
    """Stands for viser's: connects at once, or never."""

    made = 0
    answers = True

    def __init__(self, domain: str, port: int) -> None:
        type(self).made += 1
        self.status = "connecting"

    def on_disconnect(self, callback) -> None:
        pass

    def on_connect(self, callback) -> None:
        if self.answers:
            self.status = "connected"
            threading.Thread(target=callback, args=(5,)).start()

    def get_status(self) -> str:
        return self.status

    def get_url(self) -> str | None:
        return "https://abc.share.example" if self.answers else None

    def close(self) -> None:
        self.status = "closed"


@pytest.fixture()
def tunnels(monkeypatch):
    import viser._viser as viser_module

    fake = type("Fake", (FakeTunnel,), {"made": 0})
    monkeypatch.setattr(viser_module, "ViserTunnel", fake)
    return fake


def test_a_browser_cannot_open_a_tunnel(robot, tunnels):
    from viser import _messages as m

    robot.send(m.ShareUrlRequest())
    robot.send(m.ShareUrlDisconnect())
    robot.enter("Max. image width (px)", "nonsense")
    robot.hears("the largest image")  # so what came before has been read
    time.sleep(0.2)
    assert tunnels.made == 0 and robot.inspector.public_url is None


def test_share_opens_one_with_a_warning(tunnels, capsys):
    source = SplatsSource(as_gaussians(box_room(4)), "box", device="cpu")
    with Inspector(source, port=0, public=True) as inspector:
        assert inspector.public_url == "https://abc.share.example" and tunnels.made == 1
        said = capsys.readouterr().out
        assert "Public: https://abc.share.example" in said and "Warning: anybody who has this address" in said
        with Robot(inspector, origin="https://abc.share.example") as robot:
            assert robot.session in inspector.sessions
        exceptions = pytest.importorskip("websockets.exceptions")
        with pytest.raises((exceptions.ConnectionClosed, AssertionError)):
            Robot(inspector, origin="https://other.share.example")


def test_a_relay_that_does_not_answer_is_a_sentence(tunnels, monkeypatch, capsys):
    tunnels.answers = False
    monkeypatch.setattr(access_module, "TUNNEL_SECONDS", 0.3)
    monkeypatch.setattr(access_module.open_tunnel, "__defaults__", (0.3,))
    source = SplatsSource(as_gaussians(box_room(4)), "box", device="cpu")
    with Inspector(source, port=0, public=True) as inspector:
        assert inspector.public_url is None
        assert "the relay did not answer" in capsys.readouterr().out


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_listening_to_the_network_prints_a_warning(host, warned, capsys):
    with Inspector(SplatsSource(as_gaussians(box_room(4)), "box", device="cpu"), host=host, port=0):
        assert ("Warning: anybody who can reach 0.0.0.0" in capsys.readouterr().out) == warned


def test_the_command_opens_no_tunnel_by_default(monkeypatch):
    from gaussiancross.app.commands import view

    made: list[bool] = []

    def fake(*args, public: bool, **kwargs):
        made.append(public)
        raise KeyboardInterrupt

    monkeypatch.setattr(view, "Inspector", fake)
    monkeypatch.setattr(view, "open_scene", lambda *_: SimpleNamespace(source=None, run=None))
    for args in ([], ["--share"]):
        with pytest.raises(KeyboardInterrupt):
            view.main(args)
    assert made == [False, True]
