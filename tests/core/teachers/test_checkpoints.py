"""Checkpoints of teachers: remote code, adaptors, damage, options, licences."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.teachers import CachedTeacher, ImageTeacher, make_teacher, write_cache
from gaussiancross.core.teachers.families import FAMILIES, licence_of
from gaussiancross.core.teachers.options import TeacherConfig, parse_options
from helpers.checkpoints import KINDS, images, load
from helpers.feature_scenes import Averages, Scenes

# --- RADIO's own code --------------------------------------------------------------------------------------------
REMOTE = """
from typing import NamedTuple
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

class Out(NamedTuple):
    summary: torch.Tensor
    features: torch.Tensor

class RADIOConfig(PretrainedConfig):
    def __init__(self, adaptor_names=None, adaptor_configs=None, **kwargs):
        self.adaptor_names, self.adaptor_configs = adaptor_names, adaptor_configs
        super().__init__(**kwargs)

class Adaptor(nn.Module):
    def __init__(self):
        super().__init__()
        self.head_mlp, self.feat_mlp = nn.Linear(16, 12), nn.Linear(16, 20)

class RADIOModel(PreTrainedModel):
    config_class = RADIOConfig
    patch_size = 8

    def __init__(self, config):
        super().__init__(config)
        self.conv = nn.Conv2d(3, 16, 8, 8)
        self.adaptors = nn.ModuleDict({name: Adaptor() for name in config.adaptor_names or ()})
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, x):
        features = self.conv(x).flatten(2).transpose(1, 2)
        backbone = Out(features.mean(1), features)
        if not self.adaptors:
            return backbone
        made = {k: Out(a.head_mlp(backbone.summary), a.feat_mlp(features)) for k, a in self.adaptors.items()}
        return {"backbone": backbone, **made}
"""
"""A stand-in with the interface of the code that comes with RADIO's checkpoints."""


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from safetensors.torch import save_file
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "C-RADIOv2-B"
    folder.mkdir()
    (folder / "hf_model.py").write_text(REMOTE)
    config = {
        "auto_map": {"AutoConfig": "hf_model.RADIOConfig", "AutoModel": "hf_model.RADIOModel"},
        "adaptor_configs": {"clip": {}, "sam": {}},
        "architectures": ["RADIOModel"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    weights = {"conv.weight": torch.randn(16, 3, 8, 8), "conv.bias": torch.randn(16)}
    for name in ("clip", "sam"):
        for head, width in (("head_mlp", 12), ("feat_mlp", 20)):
            weights[f"adaptors.{name}.{head}.weight"] = torch.randn(width, 16)
            weights[f"adaptors.{name}.{head}.bias"] = torch.randn(width)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_code_of_a_checkpoint_runs_only_when_trusted(remote: Path) -> None:
    with pytest.raises(InputError, match=r"brings code; read the code .* ,trust_remote_code"):
        make_teacher(f"radio:{remote}")
    teacher = make_teacher(f"radio:{remote},trust_remote_code")
    assert isinstance(teacher, ImageTeacher)
    assert (teacher.info.dim, teacher.text) == (16, None)
    assert teacher.info.licence == "NVIDIA Open Model License (commercial use allowed)"


def test_patches_go_through_the_summary_head_of_an_adaptor(remote: Path, checkpoints: dict[str, Path]) -> None:
    teacher = make_teacher(f"radio:{remote},trust_remote_code,adaptor=clip,text=clip:{checkpoints['clip']}")
    assert isinstance(teacher, ImageTeacher)
    assert teacher.info.dim == 12
    from safetensors.torch import load_file

    weights = load_file(remote / "model.safetensors")
    pictures = images(1, 16, 24)
    tokens = torch.nn.functional.conv2d(pictures.permute(0, 3, 1, 2), weights["conv.weight"], weights["conv.bias"], 8)
    expected = tokens[0].permute(1, 2, 0) @ weights["adaptors.clip.head_mlp.weight"].T
    torch.testing.assert_close(
        teacher.maps(pictures)[0], expected + weights["adaptors.clip.head_mlp.bias"], rtol=1e-4, atol=1e-4
    )
    square = images(1, 432, 432)
    summary = teacher.maps(square).mean((1, 2))  # the stand-in's heads are linear: means may be taken before or after
    torch.testing.assert_close(
        teacher.embed(square), torch.nn.functional.normalize(summary, dim=-1), rtol=1e-4, atol=1e-5
    )
    assert teacher.text is not None
    own = load(checkpoints, "clip").text
    assert own is not None
    assert torch.equal(teacher.text.encode(["lamp"]).vectors, own.encode(["lamp"]).vectors)


def test_adaptors_that_are_not_there(remote: Path, checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="expected one of clip, sam, found no such adaptor"):
        make_teacher(f"radio:{remote},trust_remote_code,adaptor=siglip")
    with pytest.raises(InputError, match="a checkpoint with adaptors"):
        make_teacher(f"radio:{checkpoints['radio']},adaptor=clip")
    with pytest.raises(InputError, match="a checkpoint with adaptors"):
        make_teacher(f"clip:{checkpoints['clip']},adaptor=clip")
    wrong = make_teacher(f"radio:{remote},trust_remote_code,adaptor=clip,text=siglip2:{checkpoints['siglip']}")
    assert isinstance(wrong, ImageTeacher)
    assert wrong.text is not None
    with pytest.raises(InputError, match="vectors of 12, found vectors of 16"):
        wrong.text.encode(["lamp"])


# --- what goes wrong ---------------------------------------------------------------------------------------------
def test_a_missing_download_names_the_command() -> None:
    for family in ("clip", "siglip2", "dinov2", "radio"):
        name = FAMILIES[family].example
        with pytest.raises(InputError, match=f"none on this machine; run `hf download {name}`") as error:
            make_teacher(f"{family}:{name}")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="accept its licence"):
        make_teacher("dinov3:facebook/dinov3-vitb16-pretrain-lvd1689m")
    with pytest.raises(InputError, match="no such folder"):
        make_teacher("clip:/no/such/folder")
    with pytest.raises(InputError, match="after the colon"):
        make_teacher("clip:")


def test_stored_features_without_their_text_tower(tmp_path: Path) -> None:
    list(write_cache(tmp_path, Averages(), "averages", {"train": Scenes()}))
    manifest = json.loads((tmp_path / "cache.json").read_text())
    (tmp_path / "cache.json").write_text(json.dumps({**manifest, "spec": "clip:openai/clip-vit-base-patch16"}))
    text = CachedTeacher(tmp_path, make_teacher).text
    assert text is not None
    assert text.dim == Averages.info.dim
    with pytest.raises(InputError, match="hf download openai/clip-vit-base-patch16"):
        text.encode(["chair"])


def test_incomplete_and_damaged_checkpoints(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    def broken(name: str, content: bytes | None, kind: str = "clip") -> str:
        folder = tmp_path / f"{kind}-{name}"
        shutil.copytree(checkpoints[kind], folder, dirs_exist_ok=True)
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        return f"{KINDS[kind][0]}:{folder}"

    whole = (checkpoints["clip"] / "model.safetensors").read_bytes()
    for spec in (
        broken("config.json", None),
        broken("config.json", b"{"),
        broken("model.safetensors", None),
        broken("model.safetensors", whole[:-100]),
        broken("model.safetensors", b"nonsense"),
        broken("preprocessor_config.json", None),
        broken("tokenizer.json", None),
    ):
        with pytest.raises(InputError) as error:
            make_teacher(spec)
        assert spec in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="image_mean"):
        make_teacher(broken("preprocessor_config.json", b'{"image_mean": [0.5]}'))


def test_missing_weights_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoints["clip"], tmp_path / "c")
    weights = load_file(tmp_path / "c" / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "c" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 missing \(visual_projection\.weight"):
        make_teacher(f"clip:{tmp_path / 'c'}")


def test_another_family(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="type siglip2 or siglip, found clip"):
        make_teacher(f"siglip2:{checkpoints['clip']}")


def test_without_the_library(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'gaussiancross\[teachers\]'"):
        make_teacher(f"clip:{checkpoints['clip']}")


def test_options() -> None:
    assert parse_options("a/b") == ("a/b", TeacherConfig())
    text = "a/b,short=640,window=224,scales=1+1.5,dtype=float16,trust_remote_code,revision=v1"
    config = TeacherConfig(640, 224, scales=(1.0, 1.5), dtype="float16", trust_remote_code=True, revision="v1")
    assert parse_options(text) == ("a/b", config)
    assert not parse_options("a,trust_remote_code=false")[1].trust_remote_code
    assert parse_options("a,layers=9+11")[1].layers == (9, 11)
    bad = {
        "a,sort=1": "one of short, window",
        "a,short=x": "whole number",
        "a,short=0": "positive",
        "a,scales=": "joined by",
        "a,scales=0": "above 0",
        "a,layers=0": "from 1",
        "a,layers=3+3": "different",
        "a,layers=9.5": "numbers joined",
        "a,dtype=int8": "float32",
        "a,trust_remote_code=yes": "true or false",
    }
    for argument, message in bad.items():
        with pytest.raises(InputError, match=message):
            parse_options(argument)


def test_licences(tmp_path: Path) -> None:
    assert licence_of("openai/clip-vit-base-patch16") == "MIT"
    assert "non-commercial" in licence_of("nvidia/RADIO-L")
    assert "non-commercial" in licence_of("nvidia/E-RADIO")
    assert "commercial use allowed" in licence_of("nvidia/C-RADIOv3-B")
    assert licence_of("somebody/model").startswith("unknown")
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n---\n# license: mit\n")
    assert licence_of(str(tmp_path)) == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: special\n---\n")
    assert licence_of(str(tmp_path)) == "special"
