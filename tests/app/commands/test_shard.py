"""`--shard I/N`: processes that share the scenes of a job through one folder."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from gaussiancross.app import cli
from gaussiancross.app.commands import features as command
from gaussiancross.app.commands.shard import of_shard, parse_shard
from gaussiancross.core.errors import InputError
from gaussiancross.core.teachers import registry
from gaussiancross.core.teachers.shards import ShardFolder
from helpers import raw_data as raw
from helpers.feature_scenes import Averages, Scenes, content, fill


def test_shares_are_disjoint_and_complete():
    parts = [of_shard(range(10), f"{i}/3") for i in range(3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]] and of_shard("ab", "") == ["a", "b"]
    assert parse_shard("") == (0, 1)


@pytest.mark.parametrize("bad", ["3/3", "1", "a/b", "-1/2", "0/0", "1/2/3"])
def test_other_texts_are_refused(bad):
    with pytest.raises(InputError, match="--shard: expected I/N"):
        parse_shard(bad)


def test_features_of_all_shards_are_those_of_one_process(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(registry.KINDS, "averages", lambda _: Averages())
    monkeypatch.setattr(command, "open_dataset", lambda data, split: Scenes(3 if split == "train" else 2))
    folder = tmp_path / "shards"
    call = ["features", "data", "--teacher", "averages", "--out", str(folder)]
    for shard in ("1/2", "0/2"):
        assert cli.main([*call, "--shard", shard]) == 0
    whole = tmp_path / "whole"
    fill(whole, train=Scenes(3), val=Scenes(2))
    assert sorted(p.name for p in folder.glob("SHA256SUMS*")) == ["SHA256SUMS.0-of-2", "SHA256SUMS.1-of-2"]
    stored = {k: v for k, v in content(folder).items() if "SHA256SUMS" not in k}
    assert stored == {k: v for k, v in content(whole).items() if "SHA256SUMS" not in k}
    assert cli.main(["features", "--verify", "--out", str(folder)]) == 0
    capsys.readouterr()
    assert cli.main([*call, "--estimate"]) == 0 and "5 of them there" in capsys.readouterr().out


def test_a_file_that_two_writers_wrote_is_valid(tmp_path):
    first, second = ShardFolder(tmp_path, "1-of-2"), ShardFolder(tmp_path, "2-of-2")
    for writer, value in ((second, 1.0), (first, 2.0)):  # the processors round differently; the last file stays
        writer.write("a.safetensors", {"features": np.full((1, 1, 1, 2), value, np.float16)}, {})
    for reader in (ShardFolder(tmp_path), ShardFolder(tmp_path, "1-of-2"), ShardFolder(tmp_path, "2-of-2")):
        assert reader.read("a.safetensors", ["features"])["features"].max() == 2
    (tmp_path / "a.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="SHA-256"):
        ShardFolder(tmp_path).read("a.safetensors", ["features"])


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    def write(writer: int) -> None:
        shards = ShardFolder(tmp_path, f"{writer}-of-4")
        for k in range(writer, 40, 4):
            shards.write(f"train/{k}.safetensors", {"x": np.full(3, k)}, {})

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ShardFolder(tmp_path)
    assert len(found.names) == 40 and all(problem is None for _, problem in found.verify())


def test_rooms_are_prepared_by_shards(tmp_path, capsys):
    for name in ("office_1", "office_2", "hallway_1"):
        raw.write_s3dis_room(tmp_path / "raw", "Area_1", name)
    call = ["prepare", "s3dis", str(tmp_path / "raw"), "--out", str(tmp_path / "out"), "--workers", "1"]
    rooms = []
    for shard in ("0/2", "1/2"):
        assert cli.main([*call, "--shard", shard]) == 0
        rooms.append(len(list((tmp_path / "out" / "Area_1").iterdir())))
    assert rooms == [2, 3]
    assert {p.name for p in (tmp_path / "out").glob("skipped*")} == {"skipped-0-of-2.txt", "skipped-1-of-2.txt"}
    assert cli.main(call) == 0  # nothing is left to do
    assert cli.main([*call, "--shard", "2/2"]) == 2 and "--shard" in capsys.readouterr().err


def test_scannets_lists_are_written_once_all_is_there(tmp_path, capsys):
    for name in ("scene0000_00", "scene0001_00"):
        raw.write_scannet_scene(tmp_path / "raw", name)
    raw.write_label_table(tmp_path / "raw" / "scannetv2-labels.combined.tsv")
    call = ["prepare", "scannet", str(tmp_path / "raw"), "--out", str(tmp_path / "out"), "--workers", "1"]
    call += ["--frames", "0"]
    for shard in ("0/2", "1/2"):
        assert cli.main([*call, "--shard", shard]) == 0
        assert not (tmp_path / "out" / "splits").exists() and "without --shard" in capsys.readouterr().out
    assert cli.main(call) == 0 and len((tmp_path / "out" / "splits" / "train.txt").read_text().split()) == 2
