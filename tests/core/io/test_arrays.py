"""Arrays on disk: round trips, truncation, wrong content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import read_array


class TestArrays:
    def test_round_trip_and_conversion(self, tmp_path: Path) -> None:
        array = np.arange(12, dtype=np.int16).reshape(4, 3)
        np.save(tmp_path / "a.npy", array)
        got = read_array(tmp_path / "a.npy", np.int64, (-1, 3))
        assert got.dtype == np.int64
        assert (got == array).all()
        mapped = read_array(tmp_path / "a.npy", mmap=True)
        assert isinstance(mapped, np.memmap)
        assert not mapped.flags.writeable
        assert read_array(tmp_path / "a.npy").flags.writeable

    def test_empty_array(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((0, 3), np.float32))
        assert read_array(tmp_path / "a.npy", np.float32, (-1, 3)).shape == (0, 3)

    def test_truncated_at_any_byte(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.arange(30, dtype=np.float32).reshape(10, 3))
        data = (tmp_path / "a.npy").read_bytes()
        for cut in range(len(data)):
            (tmp_path / "cut.npy").write_bytes(data[:cut])
            with pytest.raises(InputError, match=r"cut\.npy"):
                read_array(tmp_path / "cut.npy")

    @pytest.mark.parametrize(
        ("array", "dtype", "shape", "message"),
        [
            (np.zeros((4, 2), np.float32), np.float32, (-1, 3), r"\(N, 3\).*\(4, 2\)"),
            (np.zeros(4, np.float32), np.int64, None, "int64.*float32"),
            (np.array([70000]), np.int16, None, "int16.*70000"),
            (np.array([{}], object), None, None, "damaged"),
        ],
    )
    def test_wrong_content(self, tmp_path: Path, array: np.ndarray, dtype: type, shape: tuple, message: str) -> None:
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        with pytest.raises(InputError, match=message):
            read_array(tmp_path / "a.npy", dtype, shape)

    def test_missing_and_archive(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            read_array(tmp_path / "a.npy")
        np.savez(tmp_path / "a.npz", a=np.zeros(2))
        with pytest.raises(InputError, match="another kind of file"):
            read_array(tmp_path / "a.npz")

    def test_header_that_promises_terabytes_is_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((1, 3), np.float32))
        data = (tmp_path / "a.npy").read_bytes().replace(b"(1, 3), }           ", b"(999999999999, 3), }")
        (tmp_path / "b.npy").write_bytes(data)
        with pytest.raises(InputError, match="damaged"):
            read_array(tmp_path / "b.npy")
