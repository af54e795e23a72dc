"""The metric log."""

from __future__ import annotations

import errno
import json
import threading

import pytest
from gaussiancross.trainers.engine.live import LiveFeed
from gaussiancross.trainers.engine.log import MetricLog, read_metrics
from helpers.disk import full_disk, intercept_writes


class TestLog:
    def test_rows_after_the_checkpoint_and_half_lines_are_dropped(self, tmp_path):
        lines = [json.dumps({"step": s, "loss/total": float(s)}) for s in (1, 2, 3, 4)]
        (tmp_path / "metrics.jsonl").write_text("\n".join([*lines[:1], "[1]", *lines[1:]]) + '\n{"step": 5, "lo')
        feed = LiveFeed()
        log = MetricLog(tmp_path, 3, feed)
        log(4, {"loss/total": 0.5, "eval/psnr": float("nan")})
        log.close()
        assert read_metrics(tmp_path / "metrics.jsonl") == [
            {"step": s, "loss/total": v} for s, v in ((1, 1.0), (2, 2.0), (3, 3.0), (4, 0.5))
        ]
        assert feed.series() == {"loss/total": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 0.5)]}
        assert list((tmp_path / "tensorboard").glob("events.*"))

    def test_a_full_disk_warns_once(self, tmp_path, monkeypatch):
        def full(path, data, write):
            if path.name != "metrics.jsonl":
                return write(data)
            raise OSError(errno.ENOSPC, "No space left on device")

        intercept_writes(monkeypatch, full)
        log = MetricLog(tmp_path, 0, None)
        with pytest.warns(UserWarning, match="No space"):
            log(1, {"loss": 1.0})
        log(2, {"loss": 1.0})
        log.close()

    @pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
    def test_tensorboard_on_a_full_disk_prints_no_traceback(self, tmp_path, capfd):
        hook = threading.excepthook
        log = MetricLog(tmp_path, 0, None)
        worker = log._board.file_writer.event_writer._async_writer._worker
        with full_disk(0), pytest.warns(UserWarning, match="metrics are not being written"):
            for step in range(3):
                log(step, {"loss": 1.0})
            worker.join(10)
            log.close()
        assert threading.excepthook is hook and "Traceback" not in capfd.readouterr().err
