"""Checkpoints: round trips, interruption, full disks, damage."""

from __future__ import annotations

import errno
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gaussiancross.core.errors import InputError, RunError
from gaussiancross.core.io import checkpoint as ckpt
from gaussiancross.core.io import latest_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from helpers.disk import full_disk, intercept_writes


def state(step: int) -> tuple[dict, dict, dict]:
    weight = torch.arange(6.0).reshape(2, 3) + step
    tensors = {"a.weight": weight, "transposed": weight.T, "tied": weight, "half": weight.half(), "one": weight[0, 0]}
    extra = {"optimizer": {"lr": 0.1, "moments": [torch.ones(3) * step]}, "rng": torch.get_rng_state(), "none": None}
    return tensors, {"config": {"steps": step, "name": "täst"}}, extra


class TestCheckpoint:
    def test_round_trip(self, tmp_path: Path) -> None:
        folder = tmp_path / "run" / "checkpoints"
        tensors, meta, extra = state(1234)
        path = save_checkpoint(folder, 1234, tensors, meta, extra)
        assert path == folder / "step-000001234"
        assert sorted(p.name for p in path.iterdir()) == ["config.json", "model.safetensors", "state.pt"]
        assert json.loads((path / "config.json").read_text())["version"] == 1
        for source in (path, folder):
            got, got_meta, got_extra = load_checkpoint(source)
            assert got.keys() == tensors.keys()
            assert all(torch.equal(got[k], tensors[k]) and got[k].dtype == tensors[k].dtype for k in tensors)
            assert got_meta == meta
            assert torch.equal(got_extra["optimizer"]["moments"][0], extra["optimizer"]["moments"][0])
            assert torch.equal(got_extra["rng"], extra["rng"])
        assert [p.name for p in (tmp_path / "run").iterdir()] == ["checkpoints"]  # nothing left beside it

    def test_keeps_the_newest_and_ignores_foreign_files(self, tmp_path: Path) -> None:
        (tmp_path / "c" / "step-abc").mkdir(parents=True)
        (tmp_path / "c" / "step-000000099").mkdir()  # incomplete
        (tmp_path / "c" / "notes.txt").write_text("mine")
        for step in (1, 2, 30, 4):
            save_checkpoint(tmp_path / "c", step, *state(step), keep=2)
            assert step in [s for s, _ in list_checkpoints(tmp_path / "c")]  # even when it is not the highest
        assert [s for s, _ in list_checkpoints(tmp_path / "c")] == [4, 30]
        assert latest_checkpoint(tmp_path / "c") == tmp_path / "c" / "step-000000030"
        assert (tmp_path / "c" / "notes.txt").exists()
        assert latest_checkpoint(tmp_path / "none") is None

    def test_same_step_again_replaces(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "c", 5, {"w": torch.zeros(2)}, {}, {})
        save_checkpoint(tmp_path / "c", 5, {"w": torch.ones(2)}, {}, {})
        assert load_checkpoint(tmp_path / "c")[0]["w"].tolist() == [1, 1]
        assert [p.name for p in tmp_path.iterdir()] == ["c"]

    @pytest.mark.parametrize("survived", [0, 1, 2])
    def test_killed_while_writing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))
        calls: list[Path] = []

        def dies(path: Path, data: bytes, write: Callable) -> None:
            calls.append(path)
            if len(calls) > survived:
                write(bytes(data)[: len(data) // 2])
                raise KeyboardInterrupt
            write(data)

        with monkeypatch.context() as patch:
            intercept_writes(patch, dies)
            patch.setattr(ckpt.shutil, "rmtree", lambda *a, **k: None)  # a killed process cleans nothing up
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(tmp_path / "c", 2, *state(2))
        assert [p.name for p in (tmp_path / "c").iterdir()] == ["step-000000001"]
        assert load_checkpoint(tmp_path / "c")[1] == state(1)[1]
        assert (tmp_path / ".c.partial").exists()
        save_checkpoint(tmp_path / "c", 3, *state(3))
        assert not (tmp_path / ".c.partial").exists()
        assert [s for s, _ in list_checkpoints(tmp_path / "c")] == [1, 3]

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "state.pt"])
    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))

        def full(path: Path, data: bytes, write: Callable) -> None:
            if path.name == name:
                write(bytes(data)[:10])
                raise OSError(errno.ENOSPC, "No space left on device")
            write(data)

        with monkeypatch.context() as patch:
            intercept_writes(patch, full)
            message = r"disk is full, the checkpoint of step 2 was not written; free some space; .*step-000000001"
            with pytest.raises(RunError, match=message):
                save_checkpoint(tmp_path / "c", 2, *state(2))
        assert [p.name for p in tmp_path.iterdir()] == ["c"]
        assert load_checkpoint(tmp_path / "c")[1] == state(1)[1]

    def test_the_system_refuses_to_write(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))
        tensors, meta, extra = state(2)
        with full_disk(), pytest.raises(RunError, match=r"disk is full, .* step 2 was not written; free some space"):
            save_checkpoint(tmp_path / "c", 2, tensors | {"large": torch.zeros(25_000)}, meta, extra)
        assert load_checkpoint(tmp_path / "c")[1] == state(1)[1]

    def test_nothing_older_goes_before_verification(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1), keep=1)

        def loses_bytes(path: Path, data: bytes, write: Callable) -> None:
            write(bytes(data)[:-4] if path.name == "model.safetensors" else data)

        with monkeypatch.context() as patch:
            intercept_writes(patch, loses_bytes)
            with pytest.raises(InputError, match="cannot be read back"):
                save_checkpoint(tmp_path / "c", 2, *state(2), keep=1)
        assert [s for s, _ in list_checkpoints(tmp_path / "c")] == [1]

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "state.pt"])
    def test_damaged_file_names_itself_and_the_previous(self, tmp_path: Path, name: str) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))
        path = save_checkpoint(tmp_path / "c", 2, *state(2))
        data = (path / name).read_bytes()
        for cut in (0, 1, 7, 9, len(data) // 2, len(data) - 1):
            (path / name).write_bytes(data[:cut])
            with pytest.raises(InputError, match=rf"{name}.*damaged.*previous checkpoint is .*step-000000001"):
                load_checkpoint(path)
        (path / name).unlink()
        with pytest.raises(InputError, match=rf"{name}.*no such file"):
            load_checkpoint(path)

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "state.pt"])
    def test_every_flipped_bit_is_noticed(self, tmp_path: Path, name: str) -> None:
        path = save_checkpoint(tmp_path / "c", 2, *state(2))
        data, rng = (path / name).read_bytes(), random.Random(0)
        for _ in range(40):
            at, bit = rng.randrange(len(data)), rng.randrange(8)
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            (path / name).write_bytes(changed)
            try:
                tensors, meta, _ = load_checkpoint(path)
            except InputError:
                continue
            # only the layout of config.json: the whitespace between its entries
            assert name == "config.json" and meta == state(2)[1] and torch.equal(tensors["tied"], state(2)[0]["tied"])

    def test_files_of_before_there_were_checksums_load(self, tmp_path: Path) -> None:
        path = save_checkpoint(tmp_path / "c", 2, *state(2))
        config = json.loads((path / "config.json").read_text())
        assert set(config.pop("sha256")) == {"model.safetensors", "config.json", "state.pt"}
        (path / "config.json").write_text(json.dumps(config))
        assert load_checkpoint(path)[1] == state(2)[1]

    def test_remains_of_killed_processes_are_removed(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))
        remains = tmp_path / ".c.removed-step-000000000"
        remains.mkdir()
        (remains / "model.safetensors").write_bytes(b"0" * 100)
        save_checkpoint(tmp_path / "c", 2, *state(2))
        assert [p.name for p in tmp_path.iterdir()] == ["c"]

    def test_unloadable_state_is_refused_when_saving(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="weights_only"):
            save_checkpoint(tmp_path / "c", 1, {}, {}, {"bad": InputError("a", "b", "c")})
        assert list_checkpoints(tmp_path / "c") == []

    def test_newer_or_foreign_format(self, tmp_path: Path) -> None:
        path = save_checkpoint(tmp_path / "c", 1, *state(1))
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"version": 99}))
        with pytest.raises(InputError, match="version 1 or older, found 99"):
            load_checkpoint(path)
        (path / "config.json").write_text("{}")
        with pytest.raises(InputError, match="another file"):
            load_checkpoint(path)
        with pytest.raises(InputError, match="none"):
            load_checkpoint(tmp_path)

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="check the folder"):
            save_checkpoint(tmp_path / "file" / "c", 1, *state(1))
