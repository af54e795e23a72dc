"""Readers of the cards of bundled teachers, calibrations with domains, HDF5 object sets and generated triplets."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from gaussiancross.core.config import to_dict
from gaussiancross.core.datasets.objects.published import open_object_set
from gaussiancross.core.datasets.procedural_triplets import ObjectTripletsConfig, list_triplets, read_renders
from gaussiancross.core.io import write_color
from gaussiancross.core.nn.token_head import TokenHead, TokenHeadConfig
from gaussiancross.core.nn.tokens import TokenNet, TokenNetConfig
from gaussiancross.core.nn.two_tower import TwoTower, TwoTowerConfig
from gaussiancross.core.query.calibration import load_calibration, save_calibration
from gaussiancross.core.query.decide import Calibration
from gaussiancross.core.query.domain import Domain
from gaussiancross.core.synthetic.rooms.captions import Description
from gaussiancross.core.teachers import builtin, builtin_dino, builtin_ssl
from gaussiancross.trainers.teachers.token_shards import TokenShard, read_about, read_shard, save_shard
from helpers.splat_files import make_gaussians
from safetensors.torch import save_file
from torch import nn

from fuzz.reader import Reader, in_folder, text

TOWERS = TwoTowerConfig(8, (4, 4, 4, 4), (1, 1, 1, 1), 4, 2, 8, 4, 1, 4)
NET = TokenNetConfig(4, (4, 4, 4), (1, 1, 1), 4)
HEAD = TokenHeadConfig(6, 4, 4, 1, 0.1, 1)


def _teacher(module: Any, network: Callable[[], nn.Module], card: dict[str, Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        save_file(network().state_dict(), folder / module.WEIGHTS)
        (folder / module.CARD).write_text(json.dumps({"name": "x", "licence": "y"} | card))
        return folder / module.CARD

    return write


TOWER_CARD = {"config": to_dict(TOWERS), "words": ["<pad>", "sofa", "red"]}
HEAD_CARD = {"config": to_dict(HEAD), "layers": [3, 11], "weight": 0.5, "patch": 14, "names": [["sofa", "couch"]]}

_bundled = cache(builtin.BuiltinTeacher)


def _read_head(path: Path) -> Any:
    with mock.patch.object(builtin_dino, "BuiltinTeacher", _bundled):  # its own files have rows of their own
        teacher = builtin_dino.BuiltinDinoTeacher(folder=path.parent)
    return teacher.table, teacher.weight, len(teacher.fingerprint) if teacher.__dict__.get("tokens") else teacher.size


ABOUT_TOKENS = {"backbone": "DINOv2-S", "digest": "abc", "layers": [9, 11], "patch": 14, "command": "python -m …"}


def _token_shard(folder: Path) -> Path:
    sofa = Description("sofa", ("sofa", "couch"), ("red",), relations=(("near", "lamp"),))
    save_shard(
        folder / "train_000000.safetensors",
        TokenShard(torch.zeros(2, 2, 3, 4).half(), np.ones((2, 4, 6), np.int16), [{1: sofa}, {}]),
    )
    return folder / "train_000000.safetensors"


def _read_token_shard(path: Path) -> Any:
    shard = read_shard(path)
    return shard.tokens, shard.ids


def _calibration(folder: Path) -> Path:
    domain = Domain(torch.zeros(3), torch.eye(3)[:2], 1.5, 0.2)
    cut = Calibration(cut=0.5, auc=0.9, share=0.5, floor=0.5, domain=domain)
    save_calibration(folder / "calibration.json", "lifted", cut, {"scenes": 3})
    return folder / "calibration.json"


def _read_calibration(path: Path) -> Any:
    found = load_calibration(path, "lifted")
    domain = None if found is None else found.domain
    return None if domain is None else (domain.mean, domain.axes, domain.limit, domain.share)


def _h5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "test_objectdataset.h5", "w") as file:
        file["data"], file["label"] = make_gaussians(80, 0).means.numpy()[None], np.array([3])
    return folder / "test_objectdataset.h5"


TRIPLETS = ObjectTripletsConfig(categories=("chair",))


def _category(folder: Path) -> None:
    (folder / TRIPLETS.folder / "chair").mkdir(parents=True)
    (folder / TRIPLETS.folder / "chair" / "captions.json").write_text(json.dumps({"train-00000": "a red chair"}))


def _renders(folder: Path) -> Path:
    write_color(folder / "x.jpg", np.random.default_rng(0).integers(0, 255, (8, 24, 3)).astype(np.uint8))
    return folder / "x.jpg"


SHIPPED_ROWS = [
    Reader(
        "card: built-in teacher",
        _teacher(builtin, lambda: TwoTower(TOWERS), TOWER_CARD),
        lambda path: bool(builtin.BuiltinTeacher(path.parent).info),
    ),
    Reader(
        "card: label-free teacher",
        _teacher(builtin_ssl, lambda: TokenNet(NET), {"config": to_dict(NET)}),
        lambda path: bool(builtin_ssl.BuiltinSslTeacher(path.parent).info),
    ),
    Reader("card: built-in head", _teacher(builtin_dino, lambda: TokenHead(HEAD), HEAD_CARD), _read_head),
    Reader("tokens of captioned views", _token_shard, _read_token_shard),
    Reader("about tokens of captioned views", text("about.json", ABOUT_TOKENS), read_about),
    Reader("calibration with a domain", _calibration, _read_calibration),
    Reader(
        "captions of a category",
        in_folder(_category, f"{TRIPLETS.folder}/chair/captions.json"),
        lambda path: len(list_triplets(path.parents[2], TRIPLETS)),
    ),
    Reader("renders side by side", _renders, lambda path: read_renders(path.parent, "x.npz")),
]
if importlib.util.find_spec("h5py") is not None:
    SHIPPED_ROWS.append(Reader("HDF5 objects", _h5, lambda path: open_object_set(path).load(0).means))
