"""Teacher features memoised during a training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gaussiancross.core.teachers import MemoizingTeacher, make_teacher, memoize_features, registry
from gaussiancross.core.teachers.shards import cosine_error
from helpers.feature_scenes import Averages, D, H, Scenes, W, fill


# --- during a training ---------------------------------------------------------------------------------------------
class ChannelsFirst(Averages):
    """Gives views of arrays that lie in another order."""

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        return super().maps(images).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


def test_a_training_computes_each_frame_once(tmp_path: Path) -> None:
    frames = Scenes().frames(0)
    assert frames is not None
    teacher = Averages()
    kept = memoize_features(teacher, "rooms", tmp_path)
    assert isinstance(kept, MemoizingTeacher)
    first = kept.features("scene0", frames, [2, 0, 2])
    assert teacher.calls == 2
    assert torch.equal(kept.features("scene0", frames, [2, 0, 2]), first)
    assert kept.features("scene0", frames, []).shape == (0, H, W, D)
    assert teacher.calls == 2
    assert (kept.info, kept.text, kept.channels) == (teacher.info, teacher.text, teacher.channels)
    later = Averages()
    again = MemoizingTeacher(later, "rooms", tmp_path)
    assert torch.equal(again.features("scene0", frames, [2, 0, 2]), first)  # bit for bit, computed or read
    assert later.calls == 0
    MemoizingTeacher(later, "another dataset", tmp_path).features("scene0", frames, [0])
    assert later.calls == 1
    computed = MemoizingTeacher(ChannelsFirst(), "strided", tmp_path).features("scene0", frames, [2])
    read = MemoizingTeacher(later, "strided", tmp_path).features("scene0", frames, [2])
    assert torch.equal(read, first[:1])
    assert computed.stride() == read.stride()  # otherwise sums over them would differ in the last bit
    memory = MemoizingTeacher(later, "rooms", None)
    assert torch.equal(memory.features("scene0", frames, [2, 0, 2]), first)
    precomputed = fill(tmp_path / "c") and make_teacher(tmp_path / "c")
    assert memoize_features(precomputed, "rooms", tmp_path) is precomputed
    assert memoize_features(None, "rooms", tmp_path) is None


def test_stale_features_are_computed_again(tmp_path: Path) -> None:
    frames, moved = Scenes().frames(0), Scenes(moved=1.0).frames(0)
    assert frames is not None
    assert moved is not None
    MemoizingTeacher(Averages(), "d", tmp_path).features("scene0", frames, [0, 1])
    teacher = Averages()
    MemoizingTeacher(teacher, "d", tmp_path).features("scene0", moved, [0])
    assert teacher.calls == 1
    path = next(tmp_path.rglob("0-001.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    kept = MemoizingTeacher(teacher, "d", tmp_path)
    assert kept.features("scene0", frames, [1]).isfinite().all()
    assert teacher.calls == 2
    MemoizingTeacher(teacher, "d", tmp_path).features("scene0", frames, [1])
    assert teacher.calls == 2


def test_large_features_and_full_disks_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Scenes().frames(0)
    assert frames is not None
    large = Averages(1e6)
    got = MemoizingTeacher(large, "d", tmp_path).features("scene0", frames, [0])
    assert cosine_error(large.features("scene0", frames, [0]), got.numpy()).max() < 1e-3
    monkeypatch.setattr("gaussiancross.core.teachers.memoized.SPARE", 1 << 62)
    teacher = Averages()
    kept = MemoizingTeacher(teacher, "full", tmp_path)
    with pytest.warns(UserWarning, match="in memory only"):
        kept.features("scene0", frames, [0])
    kept.features("scene0", frames, [0])
    assert teacher.calls == 1
    assert len(list(tmp_path.glob("features-*/scene0/*"))) == 1  # of the large one


def test_training_data_memoizes_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gaussiancross.core.data.batch import InputConfig
    from gaussiancross.trainers.pretraining.config import DataConfig
    from gaussiancross.trainers.pretraining.data import PretrainData

    def teacher_of(config: DataConfig):
        return PretrainData(config, InputConfig(), 0, Scenes(), Scenes()).teacher  # type: ignore[arg-type]

    monkeypatch.setitem(registry.KINDS, "averages", lambda _: Averages())
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path))
    frames = Scenes().frames(0)
    assert frames is not None
    for where, folder in (("auto", tmp_path), (str(tmp_path / "own"), tmp_path / "own"), ("memory", None)):
        teacher = teacher_of(DataConfig(teacher="averages", teacher_cache=where))
        assert isinstance(teacher, MemoizingTeacher)
        teacher.features("scene0", frames, [0])
        assert folder is None or len(list(folder.glob("features-*/scene0/*.safetensors"))) == 1
    assert teacher_of(DataConfig()) is None
