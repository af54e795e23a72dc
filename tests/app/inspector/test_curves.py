"""Training curves in the inspector."""

from __future__ import annotations

import numpy as np
from gaussiancross.app.inspector.panels.curves import GROUPS, aligned, positive


# --- curves and connections -----------------------------------------------------------------------------------
def test_curves_are_aligned_and_binned():
    steps, a, b = aligned([[(1, 1.0), (2, 2.0), (3, 3.0)], [(2, 5.0)]], 10.0)
    assert steps.tolist() == [1, 2, 3] and a.tolist() == [10, 20, 30]
    assert np.isnan(b[[0, 2]]).all() and b[1] == 50
    steps, a = aligned([[(i, float(i % 2)) for i in range(10_000)]])
    assert len(steps) == len(a) == 300 and abs(a.mean() - 0.5) < 0.01 and steps[-1] == 9999


class TestCurves:
    def test_every_metric_of_a_run_has_its_place_once(self):
        shown = [name for charts in GROUPS.values() for chart in charts for name in chart.series]
        assert len(shown) == len(set(shown))
        wanted = "loss/total loss/rgb loss/depth loss/feature lr train/psnr eval/psnr eval/depth_error grad_norm "
        wanted += (
            "eval/teacher_cosine probe/miou probe/acc probe/loss eval/effective_rank eval/feature_spread nan_steps "
        )
        wanted += "its_per_s memory_gb"
        assert set(wanted.split()) <= set(shown)

    def test_nothing_below_zero_on_a_logarithmic_axis(self):
        steps, curve = positive(aligned([[(1, 0.5), (2, 0.0), (3, -1.0), (4, 2.0)]]))
        assert steps.tolist() == [1, 2, 3, 4] and curve[[0, 3]].tolist() == [0.5, 2.0] and np.isnan(curve[1:3]).all()
