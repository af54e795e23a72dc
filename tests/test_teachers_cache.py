"""Features on the disk: packing, checksums, interruption, the cache as a teacher, and what a training keeps."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from feature_scenes import Averages, D, H, Scenes, W
from gaussiancross.app.cli import main
from gaussiancross.app.commands import features as command
from gaussiancross.core.errors import InputError
from gaussiancross.core.teachers import (
    CachedTeacher,
    MemoizingTeacher,
    TeacherInfo,
    base,
    make_teacher,
    memoize_features,
    plan_cache,
    write_cache,
)
from gaussiancross.core.teachers.shards import SUMS, ShardFolder, cosine_error, pack, stored_bytes, unpack


def fill(folder: Path, storage: str = "float16", **datasets: Scenes) -> list:
    return list(write_cache(folder, Averages(), "averages", datasets or {"train": Scenes()}, storage))  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- packing -----------------------------------------------------------------------------------------------------


def test_half_precision_and_int8_are_close() -> None:
    x = torch.randn(2, H, W, 512, generator=torch.Generator().manual_seed(0)) * torch.rand(2, H, W, 1) * 30
    x[0, 0, 0] = 0
    for storage, worst in (("float16", 1e-6), ("int8", 2e-4)):
        packed = pack(x, storage)  # type: ignore[arg-type]
        assert sum(a.nbytes for a in packed.values()) == stored_bytes(2, H, W, 512, storage)  # type: ignore[arg-type]
        error = cosine_error(x, unpack(packed))
        assert 0 < error.max() < worst
        assert error[0, 0, 0] == 0
        assert (unpack(packed)[0, 0, 0] == 0).all()


def test_int8_steps_are_a_127th_of_the_largest_component() -> None:
    x = torch.tensor([[[[127.0, 1.4, -0.6, -127.0]]]])
    assert pack(x, "int8")["features"].tolist() == [[[[127, 1, -1, -127]]]]
    assert unpack(pack(3 * x, "int8"))[0, 0, 0].tolist() == [381, 3, -3, -381]


def test_what_cannot_be_packed() -> None:
    with pytest.raises(InputError, match="use --storage int8"):
        pack(torch.full((1, 1, 1, 2), 1e5), "float16")
    assert unpack(pack(torch.full((1, 1, 1, 2), 1e5), "int8")).max() == pytest.approx(1e5)
    with pytest.raises(InputError, match="NaN"):
        pack(torch.full((1, 1, 1, 2), torch.nan), "int8")
    with pytest.raises(InputError, match="float16, int8"):
        pack(torch.zeros(1, 1, 1, 2), "int4")  # type: ignore[arg-type]


# --- the cache -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_a_cache_gives_what_the_teacher_gave(tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = Scenes(), Scenes(frames=2, seed=1)
    done = fill(tmp_path / "c", storage, train=train, val=val)
    assert [(d.split, d.scene, d.frames, d.made) for d in done] == [
        ("train", "scene0", 3, True),
        ("train", "scene1", 3, True),
        ("val", "scene0", 2, True),
        ("val", "scene1", 2, True),
    ]
    teacher = make_teacher(f"cached:{tmp_path / 'c'}")
    assert isinstance(teacher, CachedTeacher)
    assert isinstance(make_teacher(tmp_path / "c"), CachedTeacher)
    assert teacher.info == Averages.info
    assert teacher.channels == Averages.channels
    errors = []
    for dataset in (train, val):
        for i, name in enumerate(dataset.names):
            frames = dataset.frames(i)
            assert frames is not None
            index = [1, 0, 1]
            exact, got = Averages().features(name, frames, index), teacher.features(name, frames, index)
            assert got.dtype == torch.float32
            errors.append(float(cosine_error(exact, got.numpy()).max()))
    assert max(errors) <= max(d.error[1] for d in done)
    assert max(d.error[1] for d in done) < (1e-6 if storage == "float16" else 1e-3)
    assert teacher.features("scene0", frames, []).shape == (0, H, W, D)
    # the text tower comes from the teacher's name
    monkeypatch.setitem(base._KINDS, "averages", lambda _: Averages())
    text = CachedTeacher(tmp_path / "c").text
    assert text is not None
    assert text.encode(["chair", "sofa"]).known.tolist() == [True, False]


def test_size_is_known_before(tmp_path: Path) -> None:
    datasets = {"train": Scenes(20, 30), "val": Scenes(5, 30)}
    plan = plan_cache(tmp_path / "c", Averages(), datasets, "float16")
    assert (plan.scenes, plan.missing, plan.frames, plan.tokens) == (25, 25, 30, (H, W, D))
    assert not (tmp_path / "c").exists()
    fill(tmp_path / "c", **datasets)
    size = sum(p.stat().st_size for p in (tmp_path / "c").rglob("*.safetensors"))
    assert 0 <= plan.nbytes - size < 25 * 4096
    plan = plan_cache(tmp_path / "c", Averages(), datasets, "float16")
    assert (plan.missing, plan.needed) == (0, 0)
    with pytest.raises(InputError, match="posed frames"):
        plan_cache(tmp_path / "d", Averages(), {"train": Scenes(0)}, "float16")


def test_scannet_fits_on_a_laptop() -> None:
    """The table in the documentation, and a file of that size."""
    for dim, half, int8 in ((512, 36.9, 18.6), (768, 55.3, 27.8), (1024, 73.7, 37.0)):
        for storage, gb in (("float16", half), ("int8", int8)):
            assert round(stored_bytes(30_000, 30, 40, dim, storage) / 1e9, 1) == gb  # type: ignore[arg-type]
    assert "36.9" in "".join(str(c) for column in command.scannet_table().columns for c in column.cells)


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_an_interrupted_cache_ends_as_the_same_bytes(tmp_path: Path, storage: str) -> None:
    """Stopped after each scene, with a file cut short, a line cut short, or a file without its line."""
    datasets = {"train": Scenes(3), "val": Scenes(2, seed=1)}
    fill(tmp_path / "whole", storage, **datasets)
    whole = content(tmp_path / "whole")
    for stop in range(1, 5):
        folder = tmp_path / f"stop{stop}"
        teacher, work = Averages(), None
        work = write_cache(folder, teacher, "averages", datasets, storage)  # type: ignore[arg-type]
        for _ in range(stop):
            next(work)
        work.close()
        with (folder / SUMS).open("a") as file:  # killed in the middle of a line
            file.write("0123abc")
        (folder / "train" / "scene2.safetensors.99.part").parent.mkdir(exist_ok=True)
        again = fill(folder, storage, **datasets)
        assert [d.made for d in again] == [i >= stop for i in range(5)]
        assert content(folder) == whole
    (tmp_path / "whole" / "train" / "scene1.safetensors").unlink()
    assert [d.made for d in fill(tmp_path / "whole", storage, **datasets)] == [False, True, False, False, False]
    assert content(tmp_path / "whole") == whole


def test_a_flipped_byte_is_found_on_reading(tmp_path: Path) -> None:
    fill(tmp_path)
    frames = Scenes().frames(0)
    assert frames is not None
    path = tmp_path / "train" / "scene0.safetensors"
    whole = path.read_bytes()
    for at in (0, 20, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(
            InputError, match=r"scene0\.safetensors: expected the bytes with SHA-256 .* damaged; delete"
        ):
            CachedTeacher(tmp_path).features("scene0", frames, [0])
        with pytest.raises(InputError, match="SHA-256"):
            fill(tmp_path)
        assert [(n, p is None) for n, p in ShardFolder(tmp_path).verify()] == [
            ("train/scene0.safetensors", False),
            ("train/scene1.safetensors", True),
        ]
    teacher = CachedTeacher(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="no such scene"):
        teacher.features("scene0", frames, [0])
    fill(tmp_path)
    assert path.read_bytes() == whole
    assert teacher.features("scene0", frames, [0]).shape == (1, H, W, D)


def test_sha256sum_reads_the_list(tmp_path: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    fill(tmp_path)
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=tmp_path, check=False).returncode == 0


def test_frames_that_are_not_stored(tmp_path: Path) -> None:
    fill(tmp_path)
    teacher = CachedTeacher(tmp_path)
    more, other, moved = Scenes(frames=4).frames(0), Scenes(seed=5).frames(0), Scenes(moved=0.5).frames(0)
    assert more is not None
    assert other is not None
    assert moved is not None
    with pytest.raises(InputError, match="frame 0-003 of scene0, found only other frames"):
        teacher.features("scene0", more, [3])
    with pytest.raises(InputError, match="found no such scene"):
        teacher.features("scene9", other, [0])
    with pytest.raises(InputError, match="another camera"):
        teacher.features("scene0", moved, [0])


def test_a_folder_holds_one_teachers_features(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(InputError, match=r"another storage; give another --out"):
        fill(tmp_path, "int8")
    other = Averages()
    other.info = TeacherInfo("other", D, "MIT", (H, W), False)
    with pytest.raises(InputError, match="another teacher and fingerprint"):
        list(write_cache(tmp_path, other, "averages", {"train": Scenes()}))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "spec": 3}'])
def test_damaged_manifests(tmp_path: Path, text: str) -> None:
    (tmp_path / "cache.json").write_text(text)
    with pytest.raises(InputError, match=r"cache\.json: expected a feature cache"):
        CachedTeacher(tmp_path)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="room to write"):
        fill(tmp_path / "file" / "c")


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
    MemoizingTeacher(ChannelsFirst(), "strided", tmp_path).features("scene0", frames, [2])
    assert torch.equal(MemoizingTeacher(later, "strided", tmp_path).features("scene0", frames, [2]), first[:1])
    memory = MemoizingTeacher(later, "rooms", None)
    assert torch.equal(memory.features("scene0", frames, [2, 0, 2]), first)
    precomputed = fill(tmp_path / "c") and make_teacher(tmp_path / "c")
    assert memoize_features(precomputed, "rooms", tmp_path) is precomputed
    assert memoize_features(None, "rooms", tmp_path) is None


def test_kept_features_that_no_longer_fit_are_computed_again(tmp_path: Path) -> None:
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


def test_training_data_keeps_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gaussiancross.trainers.pretraining.config import DataConfig
    from gaussiancross.trainers.pretraining.data import _teacher

    monkeypatch.setitem(base._KINDS, "averages", lambda _: Averages())
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path))
    frames = Scenes().frames(0)
    assert frames is not None
    for where, folder in (("auto", tmp_path), (str(tmp_path / "own"), tmp_path / "own"), ("memory", None)):
        teacher = _teacher(DataConfig(teacher="averages", teacher_cache=where))
        assert isinstance(teacher, MemoizingTeacher)
        teacher.features("scene0", frames, [0])
        assert folder is None or len(list(folder.glob("features-*/scene0/*.safetensors"))) == 1
    assert _teacher(DataConfig()) is None


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(base._KINDS, "averages", lambda _: Averages())
    splits = {"train": Scenes(3), "val": Scenes(2, seed=1)}

    def opened(data: str, split: str) -> Scenes:
        if split not in splits:
            raise InputError(data, "train or val", split)
        return splits[split]

    monkeypatch.setattr(command, "open_dataset", opened)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")


def test_the_command(scenes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["features", "some/data", "--teacher", "averages", "--storage", "int8"]
    assert main([*args, "--estimate"]) == 0
    said = capsys.readouterr().out
    assert "5 scenes, 3 frames each, 3×4 tokens of 16 in int8" in said
    assert "36.9" in said
    assert not list(tmp_path.rglob("*.safetensors"))
    assert main(args) == 0
    said = capsys.readouterr().out
    assert "15 frames; int8 costs a cosine error of" in said
    assert "cached:features/data-averages-int8" in said
    assert main([*args, "--verify"]) == 0
    path = tmp_path / "features" / "data-averages-int8" / "val" / "scene1.safetensors"
    path.write_bytes(path.read_bytes() + b"x")
    assert main([*args, "--verify"]) == 1
    said = capsys.readouterr().out
    assert "val/scene1.safetensors: expected the bytes with SHA-256" in said
    assert "4 of 5 files" in said
    assert main(args) == 2  # the damaged file is named, not used
    path.unlink()
    assert main([*args, "--splits", "val", "test"]) == 0
    assert main([*args, "--verify"]) == 0


def test_the_command_refuses(
    scenes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*args: str) -> str:
        assert main(["features", *args]) == 2
        return capsys.readouterr().err

    assert "a dataset" in error()
    assert "expected a model" in error("d", "--teacher", "none")
    assert "one of none" in error("d", "--teacher", "clop")
    assert "train or val" in error("d", "--teacher", "averages", "--splits", "test")
    assert "a feature cache" in error("d", "--verify")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("gaussiancross.core.teachers.cache.shutil.disk_usage", lambda _: usage)
    assert "GB of free disk, found 0.0 GB; use --storage int8" in error("d", "--teacher", "averages")
    assert not (tmp_path / "features").exists()


def test_stopped_in_the_middle_of_a_scene(tmp_path: Path) -> None:
    class Stopped(Averages):
        def maps(self, images: torch.Tensor) -> torch.Tensor:
            if self.calls >= 4:
                raise KeyboardInterrupt
            return super().maps(images)

    with pytest.raises(KeyboardInterrupt):
        list(write_cache(tmp_path / "c", Stopped(), "averages", {"train": Scenes(3)}, group=2))
    assert [p.name for p in (tmp_path / "c" / "train").iterdir()] == ["scene0.safetensors"]
    fill(tmp_path / "c", train=Scenes(3))
    fill(tmp_path / "whole", train=Scenes(3))
    assert content(tmp_path / "c") == content(tmp_path / "whole")


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from feature_scenes import Averages, Scenes
from gaussiancross.core.teachers import write_cache
from pathlib import Path

class Slow(Averages):
    def maps(self, images):
        time.sleep(0.01)
        return super().maps(images)

for done in write_cache(Path({folder!r}), Slow(), "averages", {{"train": Scenes(40)}}):
    print(done.scene, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_and_run_again(tmp_path: Path) -> None:
    fill(tmp_path / "whole", train=Scenes(40))
    script = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "c"))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("scene7"):
            break
    time.sleep(0.005)
    process.kill()
    process.wait(timeout=30)
    process.stdout.close()
    assert 7 < len(list((tmp_path / "c").rglob("*.safetensors"))) < 40
    fill(tmp_path / "c", train=Scenes(40))
    left = {k: v for k, v in content(tmp_path / "c").items() if not k.endswith(".part")}
    assert left == content(tmp_path / "whole")
