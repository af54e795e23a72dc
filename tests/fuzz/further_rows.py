"""Readers of words, cards of models, published test sets, lists and files of the package's own folders."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gaussiancross.app.commands.batch_jobs import OPTIONS, check_options
from gaussiancross.app.commands.triplets import read_prepared
from gaussiancross.core.config import to_dict
from gaussiancross.core.datasets.objects.published import modelnet40, objaverse_lvis, read_fold, scanobjectnn
from gaussiancross.core.datasets.scenes.splat_depth import read_capture_splats
from gaussiancross.core.datasets.scenes.splits import read_point_lists, was_sampled, write_point_lists
from gaussiancross.core.io import formats
from gaussiancross.core.models.clipgs_config import ClipGSConfig
from gaussiancross.core.models.clipgs_files import CARD, read_exported
from gaussiancross.core.models.uni3d import read_uni3d
from gaussiancross.core.teachers.families import licence_of
from gaussiancross.core.teachers.further_names import FurtherNames, save_further_names
from gaussiancross.core.teachers.shards import ShardFolder
from gaussiancross.trainers.clipgs.prepare_object import read_about
from gaussiancross.trainers.downstream.published import compare, find_results
from gaussiancross.trainers.pretraining.timeline import TimelineFrame
from helpers.splat_files import make_gaussians
from safetensors.torch import save_file

from fuzz.object_rows import splats
from fuzz.reader import Reader, in_folder, text


def _names(folder: Path) -> None:
    save_further_names(folder, "t", ["sofa", "lamp"], torch.eye(2, 4), {"couch": ["sofa"]}, "x")


def _read_names(path: Path) -> Any:
    found = FurtherNames.load(path.parent, "t")
    return None if found is None else found.vectors.encode(["sofa"]).vectors


def _card(folder: Path) -> None:
    (folder / CARD).write_text(json.dumps({"config": to_dict(ClipGSConfig()), "tower": "x"}))
    save_file({"a": torch.ones(2)}, folder / "clipgs.safetensors")


def _modelnet(folder: Path) -> None:
    clouds = np.empty(1, object)
    clouds[0] = {"xyz": make_gaussians(80, 0).means.numpy(), "rgb": np.ones((80, 3), np.float32)}
    np.save(folder / "test_pc.npy", clouds, allow_pickle=True)
    (folder / "test_split.json").write_text(json.dumps([{"category": "chair", "name": "a"}]))


def _scanobject(folder: Path) -> None:
    table = {"xyz": make_gaussians(80, 0).means.numpy()[None], "label": np.array([3])}
    np.save(folder / "xyz_label.npy", np.array(table, object), allow_pickle=True)


def _fold(folder: Path) -> None:
    (folder / "2way_1shot").mkdir()
    rows = [(np.ones((4, 3), np.float32), label) for label in (0, 1)]
    (folder / "2way_1shot" / "0.pkl").write_bytes(pickle.dumps({"train": rows, "test": rows}, 2))


def _point_list(folder: Path) -> Path:
    write_point_lists(folder / "points20", {"a": np.arange(4)})
    return folder / "points20"


def _trained(folder: Path) -> None:
    formats.write_splats(folder / "x.ply", splats())
    (folder / "dataparser_transforms.json").write_text(json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0.5}))


def _shards(folder: Path) -> None:
    ShardFolder(folder).write("a.safetensors", {"features": np.ones((1, 2, 2, 3), np.float16)}, {"names": ["a"]})


def _read_shards(path: Path) -> Any:
    stored = ShardFolder(path.parent)
    return [stored.read(name, ["features"]) for name in stored.names]


def _uni3d(folder: Path) -> Path:
    weights = {"module": {"point_encoder.encoder.first_conv.0.weight": torch.ones(4, 6, 1).half()}}
    torch.save(weights, folder / "model.pt")
    return folder / "model.pt"


def _weights(folder: Path) -> Path:
    save_file({"a": torch.ones(3).half()}, folder / "step-000000001.safetensors")
    return folder / "step-000000001.safetensors"


PREPARED = {"id": "a", "file": "objects/a/x.ply", "caption": "a", "split": "val", "class": "a"}
PREPARED_INDEX = {"format": "gaussiancross-objects", "version": 1, "objects": [PREPARED] * 2}
RESULT = {"format": "gaussiancross-results", "version": 1, "task": "probe", "preset": "scannet20", "init": "x"}
RESULT |= {"miou": 0.5, "about": {"steps": 3, "changed": [], "config": {"a": {"b": 1}}}}

FURTHER_ROWS = [
    Reader("further names", in_folder(_names, "builtin_names.safetensors"), _read_names),
    Reader("card: CLIP-GS", in_folder(_card, CARD), lambda path: bool(read_exported(path.parent).config)),
    Reader(
        "card: README.md",
        text("README.md", "---\nlicense: other\nlicense_name: x\n---\nabout\n"),
        lambda path: licence_of(str(path.parent)),
    ),
    *(
        Reader(f"ModelNet40: {name}", in_folder(_modelnet, name), lambda path: modelnet40(path.parent).load(0).means)
        for name in ("test_pc.npy", "test_split.json")
    ),
    Reader(
        "Objaverse-LVIS", text("lvis_testset.txt", "0,chair,a,x.npy\n2,lamp,b,y.npy\n"), lambda p: objaverse_lvis(p).ids
    ),
    Reader("ScanObjectNN", in_folder(_scanobject, "xyz_label.npy"), lambda path: scanobjectnn(path).load(0).means),
    Reader("few-shot fold", in_folder(_fold, "2way_1shot/0.pkl"), lambda path: read_fold(path.parents[1], 2, 1, 0)),
    Reader("lists of points", _point_list, read_point_lists),
    Reader("sampled lists", text("drawn.json", {"seed": 0, "sha256": {"t/x": "a"}}), lambda p: was_sampled(p / "t/x")),
    Reader(
        "dataparser_transforms.json",
        in_folder(_trained, "dataparser_transforms.json"),
        lambda path: read_capture_splats(path.with_name("x.ply"), path.parent).means,
    ),
    *(Reader(f"features: {name}", in_folder(_shards, name), _read_shards) for name in ("a.safetensors", "SHA256SUMS")),
    Reader("Uni3D", _uni3d, lambda path: bool(read_uni3d(path))),
    Reader("time line", _weights, lambda path: bool(TimelineFrame(1, path).weights())),
    Reader("prepared objects", text("objects.json", PREPARED_INDEX), lambda path: read_prepared(path.parent)),
    Reader("prepared object", text("object.json", {"psnr": 30.5}), lambda path: bool(read_about(path.parent))),
    Reader("options", text(OPTIONS, {"frames": 3}), lambda path: check_options(path.parent, {"frames": 3})),
    Reader("results of others", text("results.json", RESULT), lambda path: bool(compare(find_results([path.parent])))),
]
