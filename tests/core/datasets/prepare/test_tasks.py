"""Preparation in several processes: repeats, failures, full disks."""

from __future__ import annotations

from functools import partial

import pytest
from gaussiancross.core.datasets.prepare.tasks import Task, run_tasks
from gaussiancross.core.errors import InputError
from helpers.prepare_tasks import fill_disk, write_number


class TestTasks:
    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_all_is_done_once_and_failures_leave_nothing(self, tmp_path, workers):
        tasks = [Task(str(i), tmp_path / "a" / str(i), partial(write_number, i)) for i in range(5)]
        (tmp_path / "a" / "3").mkdir(parents=True)
        outcomes = {o.task.name: o.error for o in run_tasks(tasks, workers)}
        assert set(outcomes) == {"0", "1", "2", "4"} and "another number" in (outcomes.pop("2") or "")
        assert set(outcomes.values()) == {None}
        assert {p.name for p in (tmp_path / "a").iterdir()} == {"0", "1", "3", "4"}
        assert (tmp_path / "a" / "4" / "number.txt").read_text() == "4"

    def test_a_full_disk_ends_it(self, tmp_path):
        tasks = [Task(n, tmp_path / "a" / n, work) for n, work in (("x", fill_disk), ("y", partial(write_number, 1)))]
        with pytest.raises(InputError, match="full disk; free some space"):
            list(run_tasks(tasks))
        assert [p.name for p in tmp_path.iterdir()] == ["a"] and not list((tmp_path / "a").iterdir())
