"""Files that are made to cost memory, time or more."""

from __future__ import annotations

import pickle
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.arrays import read_npz
from gaussiancross.core.io.images import image_size
from gaussiancross.core.io.json_files import parse_json
from gaussiancross.core.io.pickles import read_pickle
from gaussiancross.core.io.ply_table import read_triangles, read_vertices
from gaussiancross.core.io.torch_files import load_tensors_only


def write_text_ply(path: Path, rows: list[str], count: int | None = None) -> Path:
    lines = ["ply", "format ascii 1.0", f"element vertex {len(rows) if count is None else count}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    path.write_text("\n".join([*lines, "end_header", *rows]) + "\n")
    return path


def test_a_ply_as_text_takes_little_more_memory_and_time_than_its_numbers(tmp_path):
    rows = [f"{i * 0.001:.6f} {i * 0.002:.6f} {i % 7:.6f}" for i in range(150_000)]
    path = write_text_ply(tmp_path / "x.ply", rows)
    size = path.stat().st_size
    tracemalloc.start()
    began = time.process_time()
    table = read_vertices(path)
    seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 3 * size, f"{peak / size:.1f} times the size of the file"
    assert seconds <= 3 * size / 20e6, f"{seconds * 20e6 / size:.1f} s per 20 MB"  # 1 s on an idle machine
    np.testing.assert_allclose(table["y"], np.arange(150_000) * 0.002, rtol=1e-5)


@pytest.mark.parametrize("row", ["1 2 3x", "1 2-3 4", "1 2-3-4 x", "1 2 0x10", "1 2 3 4 ,"])
def test_what_only_begins_like_numbers_is_refused(tmp_path, row):
    with pytest.raises(InputError):
        read_vertices(write_text_ply(tmp_path / "x.ply", ["1 2 3", row, "4 5 6"]))


def test_counts_beyond_the_file_allocate_nothing(tmp_path):
    with pytest.raises(InputError, match="for 2147483648 vertices"):
        read_vertices(write_text_ply(tmp_path / "x.ply", ["1 2 3"], count=1 << 31))
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 0\nproperty float x\nelement face 4294967295\n"
    (tmp_path / "f.ply").write_bytes((header + "property list uchar int vertex_indices\nend_header\n").encode())
    with pytest.raises(InputError, match="0 rows of 4294967295"):
        read_triangles(tmp_path / "f.ply")


def test_archives_that_unpack_without_limit_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", coord=np.zeros((2_000_000, 3)))
    with pytest.raises(InputError, match=r"unpacks to at most .* MB, 20 times its size, found 48 MB"):
        read_npz(tmp_path / "x.npz")
    torch.save({"a": torch.zeros(10_000_000)}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as stored, zipfile.ZipFile(tmp_path / "y.pth", "w") as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="unpacks to at most"):
        load_tensors_only(tmp_path / "y.pth")
    np.savez_compressed(tmp_path / "small.npz", coord=np.zeros((1000, 3)))
    assert read_npz(tmp_path / "small.npz")["coord"].shape == (1000, 3)


def test_an_old_torch_reads_no_foreign_files(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(3)}, tmp_path / "x.pth")
    assert load_tensors_only(tmp_path / "x.pth")["a"].shape == (3,)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(InputError, match=r"torch 2.10 or newer, found torch 2.9.1\+cpu, in which .* may run code"):
        load_tensors_only(tmp_path / "x.pth")


def test_pickles_allocate_no_more_than_they_hold(tmp_path):
    content = pickle.dumps([np.ones((4, 3), np.float32)], 2)
    for bad in (b"\x80\x02]r\x00\x00\x00\x40.", b"\x80\x02X\x00\x00\x00\x60abc."):  # object 2^30, a text of 1.6 GB
        (tmp_path / "x.pkl").write_bytes(bad)
        tracemalloc.start()
        with pytest.raises(InputError, match="damaged"):
            read_pickle(tmp_path / "x.pkl")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
    (tmp_path / "x.pkl").write_bytes(content)
    assert read_pickle(tmp_path / "x.pkl")[0].sum() == 12


def test_json_beyond_the_stack_is_damaged_json():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


def test_long_names_and_messages_make_short_sentences(tmp_path):
    with pytest.raises(InputError) as error:
        image_size(tmp_path / ("x" * 5000))
    assert len(str(error.value)) < 1000
    assert len(str(InputError("a", "b", "c" * 10_000))) < 1000
