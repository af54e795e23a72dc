"""Fingerprints of teachers: digests of content, equal for copies of a checkpoint, short enough for file names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.benchmarks._data import BoxRooms
from gaussiancross.benchmarks.rooms_bench.data import (
    RoomCacheConfig,
    SmallRooms,
    SmallTeacher,
    image_teacher,
    lifted_source,
)
from gaussiancross.core.teachers import ImageTeacher, checkpoint, make_teacher, write_cache
from helpers.feature_scenes import Scenes

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install '.[teachers]'")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random DINOv2 checkpoint in a folder with a name of 200 letters."""
    folder = tmp_path_factory.mktemp("models") / ("x" * 200)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    transformers.AutoModel.from_config(transformers.Dinov2Config(**sizes, mlp_ratio=2)).save_pretrained(folder)
    processor = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="module")
def dinov2(shared_data: Path) -> Path:
    """DINOv2 small, a real checkpoint."""
    folder = shared_data.parent / "models" / "dinov2-small"
    if not folder.is_dir():
        pytest.skip(f"no checkpoint at {folder}")
    return folder


@pytest.fixture(params=["tiny", "dinov2"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def load(folder: Path, options: str = "") -> ImageTeacher:
    teacher = make_teacher(f"dinov2:{folder}{options}")
    assert isinstance(teacher, ImageTeacher)
    return teacher


class Boxes(BoxRooms):
    """Rooms by formula with what `SmallRooms` asks of generated ones."""

    split, root = "train", Path("boxes")

    def seed(self, index: int) -> int:
        return index

    def scene(self, index: int):
        scene = super().scene(index)
        zeros = np.zeros(len(scene), np.int64)
        return replace(scene, segment=zeros, instance=zeros)


def test_a_copy_is_the_same_teacher(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for file in copy.iterdir():
        file.chmod(0o644)
        os.utime(file, (1, 1))
    fingerprint = load(folder, ",short=56").fingerprint
    assert load(copy, ",short=56").fingerprint == fingerprint
    assert re.fullmatch(r"[\w.-]{1,64}", fingerprint)


def test_it_changes_with_content_and_with_options_that_change_features(tiny: Path, tmp_path: Path) -> None:
    def edited(name: str, old: bytes, new: bytes) -> Path:
        copy = Path(shutil.copytree(tiny, tmp_path / f"{name}-copy"))
        content = (copy / name).read_bytes()
        assert old in content
        (copy / name).write_bytes(content.replace(old, new))
        return copy

    weights = (tiny / "model.safetensors").read_bytes()[-8:]
    others = [
        load(edited("model.safetensors", weights, bytes(8))),
        load(edited("preprocessor_config.json", b"0.25", b"0.24")),
        *(
            load(tiny, options)
            for options in (",short=56", ",window=16", ",stride=8", ",scales=1+2", ",dtype=bfloat16", ",layers=1+2")
        ),
    ]
    assert len({load(tiny).fingerprint, *(teacher.fingerprint for teacher in others)}) == 1 + len(others)
    assert load(tiny, ",batch=2,device=cpu,revision=v1").fingerprint == load(tiny).fingerprint
    (tmp_path / "model.safetensors-copy" / "README.md").write_text("a note")
    assert load(tmp_path / "model.safetensors-copy").fingerprint == others[0].fingerprint


def test_files_are_read_once_per_process(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = checkpoint.content_digest(tiny)

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(Path, "open", forbidden)
    assert checkpoint.content_digest(tiny) == first


def test_rooms_bench_keeps_the_features_of_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    rooms = SmallRooms(Boxes(1, points=200, frames=2), RoomCacheConfig(200, 24, 18), tmp_path)
    spec = f"dinov2:{folder},short=56"
    teacher = SmallTeacher(spec, rooms)
    tokens = teacher.features(rooms.names[0], rooms.frames(0), [0, 1])
    direct = image_teacher(spec).features(rooms.names[0], rooms.rooms.frames(0), [0, 1])  # at full size, not quantised
    assert tokens.shape == direct.shape and torch.cosine_similarity(tokens, direct, dim=-1).min() > 0.999
    points = torch.from_numpy(rooms.scene(0).coord)
    source = lifted_source(spec, 0.4, rooms)
    lifted = source(rooms, 0, type("Points", (), {"coord": points})())
    assert lifted.shape == (len(points), teacher.info.dim)
    names = [path.name for path in rooms.folder.glob("*.safetensors")]
    assert len(names) == 3 and max(map(len, names)) < 100


@pytest.mark.parametrize(
    ("spec", "weights"), [("builtin", "builtin.safetensors"), ("builtin-ssl", "builtin_ssl.safetensors")]
)
def test_built_in_teachers_keep_the_fingerprints_that_saved_models_name(spec: str, weights: str) -> None:
    teacher = make_teacher(spec)
    assert isinstance(teacher, ImageTeacher)
    assets = Path(checkpoint.__file__).parents[2] / "assets"
    digest = hashlib.sha256((assets / weights).read_bytes()).hexdigest()[:12]
    assert (
        teacher.fingerprint
        == {
            "builtin": f"{teacher.info.name}-{digest}-1.0-1.5",
            "builtin-ssl": f"{teacher.info.name}-{digest}",
        }[spec]
    )
    if spec == "builtin":
        stored = json.loads((assets / "field" / "config.json").read_text(encoding="utf-8"))
        assert teacher.fingerprint in json.dumps(stored)


def test_a_cache_with_a_former_fingerprint_is_continued(tiny: Path, tmp_path: Path) -> None:
    spec = f"dinov2:{tiny},short=16"
    teacher = make_teacher(spec)
    assert isinstance(teacher, ImageTeacher)
    list(write_cache(tmp_path, teacher, spec, {"train": Scenes(1)}))
    manifest = json.loads((tmp_path / "cache.json").read_text(encoding="utf-8"))
    new = manifest["fingerprint"]
    files = sorted(p for p in tiny.iterdir() if p.suffix in (".safetensors", ".json"))
    version = repr([(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files])
    options = (
        "TeacherConfig(short=16, window=0, stride=0, scales=(1.0,), batch=8, dtype='auto', device='auto', "
        "trust_remote_code=False, adaptor='', text='', revision='main')"
    )
    former = f"('dinov2:{tiny}', {options}, {version!r})"
    manifest["fingerprint"] = hashlib.sha256(former.encode()).hexdigest()
    (tmp_path / "cache.json").write_text(json.dumps(manifest))
    done = list(write_cache(tmp_path, teacher, spec, {"train": Scenes(2)}))
    assert [scene.made for scene in done] == [False, True]
    assert json.loads((tmp_path / "cache.json").read_text(encoding="utf-8"))["fingerprint"] == new
