"""The learning rate schedule."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.trainers.engine.schedule import one_cycle


class TestSchedule:
    @pytest.mark.parametrize(("total", "warmup"), [(200, 0.05), (1000, 0.3), (50, 0.1)])
    def test_is_torch_one_cycle(self, total, warmup):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        reference = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 2e-3, total_steps=total, pct_start=warmup, div_factor=10, final_div_factor=1000
        )
        for step in range(total):
            assert one_cycle(step, total, 2e-3, warmup) == pytest.approx(reference.get_last_lr()[0], rel=1e-9)
            optimizer.step()
            reference.step()

    def test_stays_at_the_end_and_survives_one_step(self):
        assert one_cycle(500, 100, 1.0) == one_cycle(99, 100, 1.0) == pytest.approx(1e-4)
        assert all(0 < one_cycle(step, 1, 1.0) <= 1 for step in range(3))
