"""Files written whole or not at all, on a disk that is full."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.benchmarks.rooms_bench.data import load_or_create
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.atomic import atomic_dir, atomic_file, staged_dir
from gaussiancross.core.models.clipgs import ClipGS, ClipGSConfig
from gaussiancross.core.models.clipgs_builtin import load_builtin_clipgs, save_builtin_clipgs
from gaussiancross.core.nn.spunet import SpUNet
from helpers.disk import full_disk
from safetensors.torch import save_file


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_file({"a": torch.ones(1000)}, path),
        lambda path: path.write_bytes(bytes(4000)),
    ],
    ids=["safetensors", "bytes"],
)
def test_files_are_whole_or_not_there(tmp_path, write):
    with atomic_dir(tmp_path / "new") as staging:
        (staging / "a").write_text("one")
        (staging / "b").write_text("two")
        assert not (tmp_path / "new" / "a").exists()
    assert contents(tmp_path / "new") == {"a": b"one", "b": b"two"}
    with (
        full_disk(),
        pytest.raises(InputError, match=r"File too large.*the space left"),
        atomic_dir(tmp_path / "new") as staging,
    ):
        (staging / "a").write_text("three")
        write(staging / "b")
    assert contents(tmp_path / "new") == {"a": b"one", "b": b"two"}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_file_is_replaced_or_untouched(tmp_path, elsewhere):
    folder = tmp_path / "files"
    folder.mkdir()
    temporary = tmp_path if elsewhere else None
    for text in ("one", "two"):
        with atomic_file(folder / "a", temporary) as partial:
            assert partial.parent == (temporary or folder)
            partial.write_text(text)
        assert contents(folder) == {"a": text.encode()}
    with full_disk(), pytest.raises(OSError, match="File too large"), atomic_file(folder / "a", temporary) as partial:
        partial.write_bytes(bytes(4000))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [folder / "a"]
    assert contents(folder) == {"a": b"two"}


def test_a_whole_folder_is_replaced_or_untouched(tmp_path):
    target, staging = tmp_path / "sets" / "room", tmp_path / ".partial" / "room"
    staging.mkdir(parents=True)
    (staging / "left by a killed process").write_text("")
    for name in ("a", "b"):
        with staged_dir(target, staging) as folder:
            assert list(folder.iterdir()) == []
            (folder / name).write_text(name)
        assert contents(target) == {name: name.encode()}
    with full_disk(), pytest.raises(OSError, match="File too large"), staged_dir(target, staging) as folder:
        (folder / "c").write_bytes(bytes(4000))
    assert contents(target) == {"b": b"b"} and not staging.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name not in (".partial", "sets")] == []


def test_a_folder_that_cannot_be_created_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a folder to write to"), atomic_dir(tmp_path / "file" / "folder"):
        pass


def test_a_stored_model_survives_its_successor(tmp_path):
    torch.manual_seed(0)
    net = SpUNet(6, 8, (8,) * 8, (1,) * 8)
    net.save_pretrained(tmp_path)
    before = contents(tmp_path)
    with full_disk(), pytest.raises(InputError, match="File too large"):
        SpUNet(6, 8, (8,) * 8, (1,) * 8).save_pretrained(tmp_path)
    assert contents(tmp_path) == before and set(before) == {"model.safetensors", "config.json"}


def test_the_bundled_clipgs_is_written_whole_or_not_at_all(tmp_path):
    model = ClipGS(ClipGSConfig(width=12, depth=1, heads=1, gaussians=64, groups=4, group_size=8, embed_dim=4))
    save_builtin_clipgs(tmp_path, model, {"tower": "builtin"})
    before = contents(tmp_path)
    with full_disk(), pytest.raises(InputError, match="File too large"):
        save_builtin_clipgs(tmp_path, model, {"tower": "another"})
    assert contents(tmp_path) == before and load_builtin_clipgs(tmp_path)[1]["tower"] == "builtin"


def test_rooms_of_the_benchmark_are_written_whole_or_not_at_all(tmp_path):
    made = {"a": np.arange(1000.0)}
    path = tmp_path / "kept" / "room.safetensors"
    with full_disk(), pytest.raises(InputError, match="File too large"):
        load_or_create(path, lambda: made)
    assert not contents(path.parent)
    for make in (lambda: made, dict):  # the second time it is read
        np.testing.assert_array_equal(load_or_create(path, make)["a"], made["a"])


def test_a_folder_is_put_back_when_its_successor_cannot_take_its_place(tmp_path, monkeypatch):
    folder = tmp_path / "out" / "scene"
    folder.mkdir(parents=True)
    (folder / "a").write_text("before")
    rename = os.rename

    def refuse(source, target):
        if Path(source).name == "staging":
            raise OSError("no permission")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="no permission"), staged_dir(folder, tmp_path / "staging") as staging:
        (staging / "a").write_text("after")
    assert (folder / "a").read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["out"]
