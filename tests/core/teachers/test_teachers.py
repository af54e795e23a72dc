"""The teacher interface and features computed beforehand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.scene import Frame, PosedFrames
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras
from gaussiancross.core.teachers import PrecomputedTeacher, make_teacher
from helpers.paths import SHARED_DATA

LIVINGROOM = SHARED_DATA / "livingroom"


def frames(*names: str) -> PosedFrames:
    eye = torch.eye(4).expand(len(names), 4, 4)
    blank = Frame(np.zeros((6, 8, 3), np.float32), np.zeros((6, 8), np.float32))
    return PosedFrames(names, Cameras(eye, eye[:, :3, :3], 8, 6), lambda i, w, h: blank)


def write(path: Path, shape: tuple[int, ...] = (3, 4, 5), dtype: type = np.float16, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    np.save(path, array)
    return array


def test_specs(tmp_path: Path) -> None:
    write(tmp_path / "a.npy")
    assert make_teacher("none") is None
    for spec in (f"precomputed:{tmp_path}", str(tmp_path), tmp_path):
        teacher = make_teacher(spec)
        assert isinstance(teacher, PrecomputedTeacher)
        assert (teacher.info.dim, teacher.info.resolution, teacher.info.label_free) == (5, (3, 4), False)


@pytest.mark.parametrize("spec", ["clop", "/no/such/folder", "none:5", ""])
def test_unknown_teacher_lists_the_known(spec: str) -> None:
    with pytest.raises(InputError, match="none"):
        make_teacher(spec)
    if spec != "none:5":
        with pytest.raises(InputError, match=r"one of none, .*precomputed, cached, clip"):
            make_teacher(spec)


def test_features_are_float32_in_the_requested_order(tmp_path: Path) -> None:
    arrays = [write(tmp_path / f"{name}.npy", seed=i) for i, name in enumerate("abc")]
    teacher = PrecomputedTeacher(tmp_path)
    got = teacher.features("any", frames("a", "b", "c"), [2, 0])
    assert got.dtype == torch.float32
    assert np.array_equal(got.numpy(), np.stack([arrays[2], arrays[0]]).astype(np.float32))
    got.zero_()  # the caller owns what it gets
    assert teacher.features("any", frames("c"), [0]).abs().sum() > 0
    assert teacher.features("any", frames("c"), []).shape == (0, 3, 4, 5)


def test_scene_folders_come_before_the_flat_layout(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one" / "0.npy", seed=1), write(tmp_path / "two" / "0.npy", seed=2)
    teacher = PrecomputedTeacher(tmp_path)
    for name, array in (("one", one), ("two", two)):
        assert np.array_equal(teacher.features(name, frames("0"), [0])[0].numpy(), array.astype(np.float32))
    with pytest.raises(InputError, match=r"frame 0 as three/0\.npy"):
        teacher.features("three", frames("0"), [0])


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 4, 6), np.float16, r"\(3, 4, 5\).*\(3, 4, 6\)"),
        ((4, 3, 5), np.float16, r"\(3, 4, 5\)"),
        ((12, 5), np.float16, r"\(N, N, N\)"),
        ((3, 4, 5), np.int32, "float16 or float32"),
    ],
)
def test_mismatched_arrays(tmp_path: Path, shape: tuple, dtype: type, message: str) -> None:
    write(tmp_path / "a.npy")
    write(tmp_path / "b.npy", shape, dtype)
    teacher = PrecomputedTeacher(tmp_path)
    teacher.features("s", frames("a"), [0])
    with pytest.raises(InputError, match=message) as error:
        teacher.features("s", frames("a", "b"), [0, 1])
    assert "b.npy" in str(error.value)


def test_missing_truncated_and_nan(tmp_path: Path) -> None:
    array = write(tmp_path / "a.npy")
    teacher = PrecomputedTeacher(tmp_path)
    with pytest.raises(InputError, match="features of frame b"):
        teacher.features("s", frames("b"), [0])
    data = (tmp_path / "a.npy").read_bytes()
    for cut in range(0, len(data), 3):
        (tmp_path / "c.npy").write_bytes(data[:cut])
        with pytest.raises(InputError, match=r"c\.npy"):
            teacher.features("s", frames("c"), [0])
    array[0, 0, 0] = np.nan
    np.save(tmp_path / "d.npy", array)
    with pytest.raises(InputError, match="NaN"):
        teacher.features("s", frames("d"), [0])


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        PrecomputedTeacher(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        make_teacher(f"precomputed:{tmp_path / 'none'}")


def test_channel_names(tmp_path: Path) -> None:
    write(tmp_path / "a.npy")
    assert PrecomputedTeacher(tmp_path).channels is None
    (tmp_path / "channels.json").write_text(json.dumps(list("vwxyz")))
    assert PrecomputedTeacher(tmp_path).channels == ("v", "w", "x", "y", "z")
    for text, message in (('["a", "b"]', "found 2"), ('{"a": 1}', "dict"), ('["a', "damaged"), ("[1,2,3,4,5]", "5")):
        (tmp_path / "channels.json").write_text(text)
        with pytest.raises(InputError, match=message):
            PrecomputedTeacher(tmp_path)


def test_files_are_read_once_while_they_fit(tmp_path: Path) -> None:
    write(tmp_path / "a.npy")
    teacher = PrecomputedTeacher(tmp_path)
    first = teacher.features("s", frames("a"), [0])
    (tmp_path / "a.npy").write_bytes(b"gone")
    assert torch.equal(teacher.features("s", frames("a"), [0]), first)


def test_real_features() -> None:
    if not LIVINGROOM.is_dir():
        pytest.skip("sample data beside the project is absent")
    from gaussiancross.core.datasets import read_rgbd_export

    teacher = PrecomputedTeacher(LIVINGROOM / "teacher_ade20k")
    posed = read_rgbd_export(LIVINGROOM)
    features = teacher.features("livingroom", posed, [0, 42])
    assert features.shape == (2, 32, 32, 32)
    assert teacher.channels is not None
    assert teacher.channels[4] == "floor"
