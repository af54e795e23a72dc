"""Files of type .splat."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import read_splat, write_splat
from helpers.splat_files import make_gaussians


class TestSplatFile:
    def test_round_trip_within_a_byte(self, tmp_path: Path) -> None:
        g = make_gaussians()
        write_splat(tmp_path / "g.splat", g)
        assert (tmp_path / "g.splat").stat().st_size == 32 * len(g)
        back = read_splat(tmp_path / "g.splat")
        assert torch.equal(back.means, g.means)
        assert torch.equal(back.scales, g.scales)
        assert torch.allclose(back.colors, g.colors, atol=0.5 / 255 + 1e-6)
        assert torch.allclose(back.opacities, g.opacities, atol=0.5 / 255 + 1e-6)
        assert torch.allclose(back.quats, g.quats, atol=0.02)

    def test_truncated_empty_and_missing(self, tmp_path: Path) -> None:
        write_splat(tmp_path / "g.splat", make_gaussians(3))
        data = (tmp_path / "g.splat").read_bytes()
        for cut in (0, 1, 31, 33, 95):
            (tmp_path / "cut.splat").write_bytes(data[:cut])
            with pytest.raises(InputError, match=f"32-byte.*{cut} bytes"):
                read_splat(tmp_path / "cut.splat")
        with pytest.raises(InputError, match="no such file"):
            read_splat(tmp_path / "none.splat")

    def test_bad_rows_are_dropped_and_counted(self, tmp_path: Path) -> None:
        g = make_gaussians(4)
        g.means[0, 0], g.scales[2, 1] = torch.nan, 0.0
        write_splat(tmp_path / "g.splat", g)
        with pytest.warns(UserWarning, match="dropped 2 of 4"):
            assert len(read_splat(tmp_path / "g.splat")) == 2
