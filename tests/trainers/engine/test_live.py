"""The live feed of a training and its curves."""

from __future__ import annotations

import math
import threading
import time

import pytest
from gaussiancross.trainers.engine.live import Curve, LiveFeed, Snapshot


class TestLiveFeed:
    def test_subscribers_get_snapshots_until_they_leave(self):
        feed, seen = LiveFeed(), []
        leave = feed.subscribe(lambda s: seen.append(s.step))
        feed.wants_snapshot.set()
        feed.publish(Snapshot(1, {}))
        assert not feed.wants_snapshot.is_set()
        leave()
        feed.publish(Snapshot(2, {}))
        assert seen == [1] and feed.snapshot.step == 2

    def test_pause_single_step_resume(self):
        feed, steps = LiveFeed(), []
        done = threading.Event()

        def train():
            while not done.is_set():
                feed.wait_while_paused(done.is_set)
                steps.append(1)
                time.sleep(0.005)

        def settled() -> int:
            time.sleep(0.1)
            return len(steps)

        feed.pause()
        thread = threading.Thread(target=train)
        thread.start()
        before = settled()
        assert before == 0
        feed.single_step()
        assert settled() == 1
        feed.pause(False)
        assert settled() > 2
        feed.pause()
        done.set()
        thread.join(2)
        assert not thread.is_alive()

    def test_a_save_request_is_read_once_and_series_are_copies(self):
        feed = LiveFeed()
        feed.request_save()
        assert feed.take_save_request() and not feed.take_save_request()
        feed.log(3, {"loss": 1.5})
        feed.series()["loss"].append((9, 9.0))
        assert feed.series() == {"loss": [(3, 1.5)]}


class TestCurve:
    def test_short_curves_are_exact(self):
        curve = Curve(size=8)
        for step in range(7):
            curve.add(10 * step, float(step) ** 2)
        assert curve.points() == [(10 * s, float(s) ** 2) for s in range(7)]

    @pytest.mark.parametrize("count", [8, 9, 100, 1000])
    def test_long_curves_are_means_of_consecutive_values(self, count):
        curve = Curve(size=8)
        values = [float((7 * i) % 13) for i in range(count)]
        for step, value in enumerate(values):
            curve.add(step, value)
        points, begin = curve.points(), 0
        assert 4 <= len(points) <= 8 and points[-1][0] == count - 1
        for step, value in points:
            assert value == pytest.approx(sum(values[begin : step + 1]) / (step + 1 - begin))
            begin = step + 1

    def test_values_that_are_not_finite_are_left_out_of_means(self):
        curve = Curve(size=4)
        for step, value in enumerate([1.0, math.nan, 3.0, math.inf]):
            curve.add(step, value)
        assert curve.points() == [(1, 1.0), (3, 3.0)]
        curve.add(4, math.inf)
        assert curve.points()[-1] == (4, math.inf)
