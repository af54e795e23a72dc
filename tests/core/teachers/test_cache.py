"""The precomputed feature cache: packing, checksums, interruption."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app.commands import features as command
from gaussiancross.core.errors import InputError
from gaussiancross.core.teachers import CachedTeacher, TeacherInfo, make_teacher, plan_cache, registry, write_cache
from gaussiancross.core.teachers.shards import SUMS, ShardFolder, cosine_error, pack, stored_bytes, unpack
from helpers.feature_scenes import Averages, D, H, Scenes, W, content, fill


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


def test_features_that_cannot_be_packed_are_refused() -> None:
    with pytest.raises(InputError, match="use --storage int8"):
        pack(torch.full((1, 1, 1, 2), 1e5), "float16")
    assert unpack(pack(torch.full((1, 1, 1, 2), 1e5), "int8")).max() == pytest.approx(1e5)
    with pytest.raises(InputError, match="NaN"):
        pack(torch.full((1, 1, 1, 2), torch.nan), "int8")
    with pytest.raises(InputError, match="float16, int8"):
        pack(torch.zeros(1, 1, 1, 2), "int4")  # type: ignore[arg-type]


# --- the cache -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_a_cache_returns_the_features_of_the_teacher(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setitem(registry.KINDS, "averages", lambda _: Averages())
    text = CachedTeacher(tmp_path / "c", make_teacher).text
    assert text is not None
    assert text.encode(["chair", "sofa"]).known.tolist() == [True, False]


def test_the_size_of_a_cache_is_planned(tmp_path: Path) -> None:
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
            CachedTeacher(tmp_path, make_teacher).features("scene0", frames, [0])
        with pytest.raises(InputError, match="SHA-256"):
            fill(tmp_path)
        assert [(n, p is None) for n, p in ShardFolder(tmp_path).verify()] == [
            ("train/scene0.safetensors", False),
            ("train/scene1.safetensors", True),
        ]
    teacher = CachedTeacher(tmp_path, make_teacher)
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
    teacher = CachedTeacher(tmp_path, make_teacher)
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
        CachedTeacher(tmp_path, make_teacher)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="room to write"):
        fill(tmp_path / "file" / "c")


def test_two_processes_that_write_the_same_files_list_each_once(tmp_path: Path) -> None:
    folders = [ShardFolder(tmp_path) for _ in range(2)]
    for name in ("a.safetensors", "b.safetensors"):
        for folder in folders:
            folder.write(name, {"features": np.ones((1, 2), np.float16)}, {})
    lines = (tmp_path / SUMS).read_text().splitlines()
    assert len(lines) == 2 and all(error is None for _, error in ShardFolder(tmp_path).verify())
