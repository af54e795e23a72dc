"""Time to the first image and cost of watching, measured in imports, calls and processor time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from gaussiancross.app.export.camera_path import Pose
from gaussiancross.app.inspector import Inspector, pending_move
from gaussiancross.app.inspector.pending_move import PendingCameraMove
from gaussiancross.app.inspector.viser_internals import keep_icon_archive_open
from gaussiancross.app.inspector.worker import RenderWorker, ThreadTime
from gaussiancross.app.scenes.source import PointsSource, SplatsSource
from gaussiancross.trainers.engine.live import LiveFeed
from helpers.inspector import Boxes, Clock, as_gaussians, box_room
from helpers.robot import Robot
from helpers.waiting import wait_for

SLOW_TO_IMPORT = (
    "scipy.sparse",
    "scipy.spatial",
    "rich.progress",
    "gaussiancross.trainers.pretraining.trainer",
    "gsplat",
    "matplotlib",
    "nerfstudio",
    "spconv",
    "tensorboard",
    "torch._dynamo",
    "torch._inductor",
    "torch.utils.tensorboard",
    "torchvision",
    "transformers",
    "trimesh",
    "umap",
)
"""What no first picture of a file needs."""


def test_opening_a_file_imports_no_module_of_other_sources():
    code = (
        "import sys, gaussiancross.app.commands.view, gaussiancross.app.inspector.inspector;"
        f"print(*[m for m in {SLOW_TO_IMPORT!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == []


def test_icons_are_the_same_from_an_archive_opened_once(monkeypatch):
    icons = pytest.importorskip("viser._icons")
    svg_from_icon = icons.svg_from_icon.__wrapped__  # without viser's own cache
    names = ("eye", "search", "download")
    expected = [svg_from_icon(name) for name in names]
    monkeypatch.setattr(icons, "zipfile", icons.zipfile)  # put back what follows
    keep_icon_archive_open()
    assert [svg_from_icon(name) for name in names] == expected
    with icons.zipfile.ZipFile(icons.ICONS_DIR / "tabler-icons.zip") as one:
        pass
    with icons.zipfile.ZipFile(icons.ICONS_DIR / "tabler-icons.zip") as two:
        assert one is two and two.namelist()


class TestPreparation:
    def test_the_first_scene_is_open_before_anybody_comes(self):
        with Inspector(SplatsSource(as_gaussians(box_room(4)), device="cpu"), port=0) as inspector:
            for _ in range(1000):
                if inspector.renderer.state(0) is not None:
                    break
                time.sleep(0.01)
            assert inspector.renderer.state(0) is not None

    def test_a_training_without_viewers_encodes_no_scene(self):
        source = SplatsSource(as_gaussians(box_room(4)), device="cpu")
        with Inspector(source, port=0, feed=LiveFeed()) as inspector:
            time.sleep(0.3)
            assert inspector.renderer.state(0) is None and inspector.worker.spent < 0.1

    def test_a_scene_that_cannot_be_opened_fails_for_whoever_looks(self, caplog):
        source = SplatsSource(as_gaussians(box_room(4)), device="cpu")
        asked = threading.Event()

        def load(index: int) -> None:
            asked.set()
            raise OSError("gone")

        source.load = load  # type: ignore[method-assign, assignment]
        with Inspector(source, port=0):
            assert asked.wait(10)
        assert not caplog.records

    def test_still_scenes_are_read_once(self):
        class Counting(Boxes):
            read = 0

            def scene(self, index: int):
                self.read += 1
                return super().scene(index)

        scenes = Counting()
        source = PointsSource(scenes)
        assert source.load(0) is source.load(0)
        assert scenes.read == 1


class TestEverythingIsCharged:
    def test_other_threads_delay_the_next_picture(self):
        clock = Clock()
        worker = RenderWorker(share=0.2, clock=clock)
        worker.charge(5.0)
        worker.submit("frame", lambda: None)
        waited = worker.run_one()
        assert waited > 1 and worker.spent == 5.0

    @pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="this system keeps no such clock")
    def test_time_of_a_thread_is_its_processor_time(self):
        work, rest = threading.Event(), threading.Event()

        def busy() -> None:
            work.wait()
            while time.thread_time() < 0.05:
                pass
            rest.wait()

        thread = threading.Thread(target=busy)
        thread.start()
        clock = ThreadTime([thread])
        assert clock.since() < 0.04
        work.set()
        total = 0.0
        while total < 0.04:
            total += clock.since()
        rest.set()
        thread.join()
        assert clock.since() >= 0.0  # it has ended: no more, and no error


class TestPendingCameraMove:
    """A camera that the server has moved, and a page that says where it was before it heard of that."""

    @staticmethod
    def pose(x: float, turn: float = 0.0) -> Pose:
        c, s = np.cos(turn), np.sin(turn)
        return Pose(np.array([x, 0.0, 0.0]), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), 1.0)

    @pytest.mark.parametrize(("goal", "near"), [((5.0, 0.0), (4.6, 0.1)), ((0.0, 2.0), (0.1, 1.8))])
    def test_poses_sent_before_a_move_are_ignored_until_the_target_is_reached(self, goal, near):
        pending, before = PendingCameraMove(), self.pose(0.0)
        assert pending.goal is None and pending.is_user_motion(before)
        pending.begin(before, self.pose(*goal))
        assert not pending.is_user_motion(before) and pending.goal is not None
        assert not pending.is_user_motion(self.pose(*near)) and pending.goal is None  # there, and drawn there already
        assert pending.is_user_motion(self.pose(9.0))

    def test_the_pose_of_the_page_is_accepted_after_a_timeout(self):
        clock = Clock()
        pending = PendingCameraMove(clock)
        pending.begin(self.pose(0.0), self.pose(5.0))
        clock.now += 1.0
        assert not pending.is_user_motion(self.pose(0.0))
        clock.now += 2.0
        assert pending.goal is None and pending.is_user_motion(self.pose(0.0))


def test_camera_messages_of_a_loading_page_are_not_rendered(monkeypatch):
    monkeypatch.setattr(pending_move, "TIMEOUT", 60.0)  # however long the first images take
    drawn: list[np.ndarray] = []
    with Inspector(SplatsSource(as_gaussians(box_room(4)), device="cpu"), port=0) as inspector:
        draw = inspector.renderer.draw

        def watched(index, look, cameras, *args):
            drawn.append(cameras.centers[0].numpy())
            return draw(index, look, cameras, *args)

        inspector.renderer.draw = watched  # type: ignore[method-assign]
        with Robot(inspector) as robot:
            wait_for(lambda: len(drawn) >= 2, "the first pictures")
            busy = True
            while busy:  # until only the pulse spends time
                drawn.clear()
                spent = inspector.worker.spent
                time.sleep(0.5)
                busy = bool(drawn or inspector.worker.waiting or inspector.worker.spent - spent > 0.05)
            robot.look(320, 240)  # where the page begins by itself
            time.sleep(0.5)
            assert not drawn
            assert not np.allclose(robot.session.camera.pose().position, (2, 1, 1))
