"""The render worker: order of requests, render budget, failures, shutdown."""

from __future__ import annotations

import threading
import time

import pytest
from gaussiancross.app.inspector.worker import RenderBudget, RenderWorker
from helpers.inspector import Clock


# --- worker ---------------------------------------------------------------------------------------------------
class TestBudget:
    def test_the_share_of_render_time_holds_over_time(self):
        clock = Clock()
        budget = RenderBudget(0.25, burst=0.5, clock=clock)
        spent = 0.0
        while clock.now < 100:
            wait = budget.wait()
            if wait:
                clock.now += wait
                continue
            clock.now += 0.3
            budget.spend(0.3)
            spent += 0.3
        assert spent <= 0.25 * clock.now + 0.5 + 0.3
        assert spent >= 0.9 * 0.25 * 100  # and it is used

    def test_full_share_never_waits(self):
        clock = Clock()
        budget = RenderBudget(1.0, clock=clock)
        budget.spend(100)
        assert budget.wait() == 0

    def test_raising_to_full_forgives_debts(self):
        budget = RenderBudget(0.1, clock=Clock())
        budget.spend(50)
        assert budget.wait() > 100
        budget.share = 1.0
        budget.share = 0.1
        assert budget.wait() == 0

    @pytest.mark.parametrize("share", [0, -1, 1.5])
    def test_bad_share(self, share):
        with pytest.raises(ValueError, match="share"):
            RenderBudget(share)


class TestWorker:
    def test_latest_wins_and_keys_take_turns(self):
        worker, done = RenderWorker(), []
        for i in range(3):
            for client in "ab":
                worker.submit((client, "canvas"), lambda i=i, c=client: done.append((c, i)))
        while worker.run_one() == 0:
            pass
        assert done == [("a", 2), ("b", 2)]

    def test_eight_browsers_cost_as_much_as_one(self):
        def spent(browsers: int) -> float:
            clock = Clock()
            worker = RenderWorker(share=0.2, clock=clock)

            def job() -> None:
                clock.now += 0.05

            while clock.now < 30:
                for b in range(browsers):
                    worker.submit((b, "canvas"), job)
                clock.now += min(worker.run_one(), 0.1)
            return worker.spent

        one, eight = spent(1), spent(8)
        assert eight == pytest.approx(one, rel=0.02)
        assert eight <= 0.2 * 30 + 0.6

    def test_interactive_goes_before_background_and_has_its_own_purse(self):
        clock = Clock()
        worker, done = RenderWorker(share=0.2, clock=clock), []

        def slow() -> None:
            clock.now += 5
            done.append("weights")

        worker.submit("load", slow, "background")
        worker.submit("frame", lambda: done.append("frame"))
        assert worker.run_one() == 0 and worker.run_one() == 0
        worker.submit("load", slow, "background")
        worker.submit("frame", lambda: done.append("frame"))
        assert worker.run_one() == 0
        assert worker.run_one() > 1  # the second load has to wait
        assert done == ["frame", "weights", "frame"]

    def test_urgent_does_not_wait_but_is_charged(self):
        clock = Clock()
        worker, done = RenderWorker(share=0.2, clock=clock), []

        def slow() -> None:
            clock.now += 0.5
            done.append(1)

        for _ in range(5):
            worker.submit("load", slow, "background", urgent=True)
            assert worker.run_one() == 0
        worker.submit("load", slow, "background")
        assert 1 < worker.run_one() < 60 and len(done) == 5

    def test_unused_time_of_one_lane_goes_to_the_other(self):
        clock = Clock()
        worker = RenderWorker(share=0.2, clock=clock)

        def job() -> None:
            clock.now += 0.1

        while clock.now < 100:
            worker.submit("load", job, "background")
            clock.now += min(worker.run_one(), 0.1)
        assert 0.18 * 100 < worker.spent <= 0.2 * 100 + 0.6

    def test_exception_is_reported_and_work_goes_on(self):
        errors, done = [], threading.Event()
        worker = RenderWorker(on_error=lambda key, error: errors.append((key, str(error)))).start()
        try:
            worker.submit("bad", lambda: 1 / 0)
            worker.submit("good", done.set)
            assert done.wait(5)
        finally:
            worker.close()
        assert errors == [("bad", "division by zero")]

    def test_reporting_may_fail_too(self):
        def broken(key, error):
            raise RuntimeError("no connection")

        worker, done = RenderWorker(on_error=broken), []
        worker.submit("bad", lambda: 1 / 0)
        worker.submit("good", lambda: done.append(1))
        while worker.run_one() == 0:
            pass
        assert done == [1]

    def test_a_disconnect_cancels_waiting_jobs(self):
        worker, done = RenderWorker(), []
        worker.submit((1, "canvas"), lambda: done.append(1))
        worker.submit((2, "canvas"), lambda: done.append(2))
        worker.cancel(lambda key: key[0] == 1)
        while worker.run_one() == 0:
            pass
        assert done == [2]

    def test_close_waits_for_the_job_and_drops_the_rest(self):
        started, done = threading.Event(), []
        worker = RenderWorker().start()

        def job() -> None:
            started.set()
            time.sleep(0.05)
            done.append(1)

        worker.submit("a", job)
        assert started.wait(5)
        worker.submit("b", lambda: done.append(2))
        worker.close()
        assert done == [1]
