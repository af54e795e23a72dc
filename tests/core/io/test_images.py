"""Colour and depth images, and the cache of decoded arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import read_color, read_depth, write_color, write_depth
from gaussiancross.core.io.lru import ArrayCache
from helpers.splat_files import some_cuts


class TestImages:
    def test_round_trip(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        color = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        depth = rng.integers(0, 65536, (12, 16), dtype=np.uint16)
        write_color(tmp_path / "c.png", color)
        write_depth(tmp_path / "d.png", depth)
        assert (read_color(tmp_path / "c.png") == color).all()
        assert (read_depth(tmp_path / "d.png") == depth).all()

    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_truncated_color(self, tmp_path: Path, suffix: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        write_color(tmp_path / f"c.{suffix}", noise)
        data = (tmp_path / f"c.{suffix}").read_bytes()
        # a JPEG without its last bytes may still be a whole picture
        for cut in some_cuts(len(data) - (40 if suffix == "jpg" else 0)):
            (tmp_path / f"cut.{suffix}").write_bytes(data[:cut])
            with pytest.raises(InputError, match="cut"):
                read_color(tmp_path / f"cut.{suffix}")

    def test_truncated_depth(self, tmp_path: Path) -> None:
        write_depth(tmp_path / "d.png", np.arange(900, dtype=np.uint16).reshape(30, 30) * 71)
        data = (tmp_path / "d.png").read_bytes()
        for cut in some_cuts(len(data)):
            (tmp_path / "cut.png").write_bytes(data[:cut])
            with pytest.raises(InputError, match=r"cut\.png.*16-bit depth"):
                read_depth(tmp_path / "cut.png")

    def test_wrong_kind(self, tmp_path: Path) -> None:
        write_color(tmp_path / "c.png", np.zeros((4, 4, 3), np.uint8))
        write_depth(tmp_path / "d.png", np.zeros((4, 4), np.uint16))
        with pytest.raises(InputError, match="mode RGB"):
            read_depth(tmp_path / "c.png")
        with pytest.raises(InputError, match="8-bit colour"):
            read_color(tmp_path / "d.png")
        with pytest.raises(InputError, match="no such file"):
            read_color(tmp_path / "none.png")


class TestCache:
    def test_bounded_by_bytes_and_least_recently_used(self) -> None:
        cache, made = ArrayCache(max_bytes=250), []

        def get(key: int) -> None:
            cache.get(key, lambda: (made.append(key), (np.zeros(100, np.uint8),))[1])

        for key in (1, 2, 1, 3, 1, 2):
            get(key)
        assert made == [1, 2, 3, 2]  # 3 pushed out 2, not 1, which had just been used
        assert cache.nbytes == 200
        get(1)
        assert cache.get("large", lambda: (np.zeros(1000),))[0].size == 1000
        assert cache.nbytes == 200

    def test_entries_cannot_be_changed(self) -> None:
        array = ArrayCache().get(0, lambda: (np.zeros(3),))[0]
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
