"""Readers of models, checkpoints, runs and features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from gaussiancross.core.io import (
    save_checkpoint,
)
from gaussiancross.core.io.checkpoint import load_checkpoint, load_weights
from gaussiancross.core.io.pickles import read_pickle
from gaussiancross.core.io.ply_table import read_triangles, read_vertices
from gaussiancross.core.io.pretrained import read_pretrained
from gaussiancross.core.io.torch_files import load_tensors_only, read_weights
from gaussiancross.core.query.calibration import load_calibration, save_calibration
from gaussiancross.core.query.decide import Calibration
from gaussiancross.core.query.text import TextVectors
from gaussiancross.core.teachers.cache import read_manifest
from gaussiancross.core.teachers.precomputed import PrecomputedTeacher
from gaussiancross.trainers.downstream.results import read_results
from gaussiancross.trainers.engine.log import read_metrics
from helpers.feature_scenes import fill
from helpers.networks import small_model
from safetensors.torch import save_file

from fuzz.object_rows import ascii_ply
from fuzz.reader import Reader, in_folder, text
from fuzz.scene_rows import MESH, scannet_scene


def _checkpoint(folder: Path) -> Path:
    return save_checkpoint(folder / "c", 3, {"w": torch.ones(3, 4)}, {"step": 3}, {"lr": 0.1, "m": torch.ones(4)})


def _torch_file(folder: Path) -> Path:
    torch.save({"epoch": np.float64(3), "state_dict": {"a": torch.ones(3), "b": torch.zeros(2, 2)}}, folder / "x.pth")
    return folder / "x.pth"


def _pickle(folder: Path) -> Path:
    import pickle

    (folder / "x.pkl").write_bytes(pickle.dumps([{"xyz": np.ones((4, 3), np.float32), "name": "a"}], 2))
    return folder / "x.pkl"


def _safetensors(folder: Path) -> Path:
    save_file({"a": torch.ones(3), "b": torch.zeros(2, 2)}, folder / "x.safetensors")
    return folder / "x.safetensors"


def _words(folder: Path) -> None:
    np.save(folder / "w.npy", np.eye(4, dtype=np.float32))
    (folder / "w_names.json").write_text(json.dumps(["a", "b", {"name": "c", "synonyms": ["d"]}, "e"]))


def _precomputed(folder: Path) -> None:
    np.save(folder / "a.npy", np.ones((2, 3, 4), np.float32))
    (folder / "channels.json").write_text(json.dumps(["a", "b", "c", "d"]))


def _calibration(folder: Path) -> Path:
    save_calibration(folder / "c.json", "lifted", Calibration(cut=0.5, auc=0.9, share=0.5, floor=0.5), {"scenes": 3})
    return folder / "c.json"


def _saved(folder: Path) -> None:
    small_model().save_pretrained(folder)


RESULT = {"format": "gaussiancross-results", "version": 1, "task": "probe", "preset": "rooms", "init": "x"}
RESULT |= {"classes": ["a", "b"], "confusion": [[3, 1], [0, 2]], "about": {"steps": 3}}

MODEL_ROWS = [
    *(
        Reader(
            f"checkpoint: {name}",
            in_folder(_checkpoint, f"c/step-000000003/{name}"),
            lambda p: load_checkpoint(p.parent),
        )
        for name in ("config.json", "model.safetensors", "state.pt")
    ),
    Reader(".pth", _torch_file, lambda path: len(read_weights(path))),
    Reader(".pth with arrays", _torch_file, lambda path: load_tensors_only(path, arrays=True) is None),
    Reader(".safetensors", _safetensors, lambda path: len(load_weights(path))),
    Reader("pickle", _pickle, lambda path: read_pickle(path) is None),
    Reader(
        "metrics.jsonl", text("m.jsonl", '{"step": 1, "a": 2}\n{"step": 2, "a": 3}\n'), lambda p: len(read_metrics(p))
    ),
    Reader("results.json", text("results.json", RESULT), lambda path: bool(read_results(path.parent))),
    Reader("calibration.json", _calibration, lambda path: load_calibration(path, "lifted")),
    Reader("word vectors", in_folder(_words, "w.npy"), lambda path: TextVectors.load(path).encode(["a"]).vectors),
    Reader("words", in_folder(_words, "w_names.json"), lambda path: TextVectors.load(path.with_name("w.npy")).names),
    Reader("precomputed features", in_folder(_precomputed, "a.npy"), lambda path: PrecomputedTeacher(path.parent).info),
    Reader("channels", in_folder(_precomputed, "channels.json"), lambda path: PrecomputedTeacher(path.parent).channels),
    Reader("feature cache", in_folder(fill, "cache.json"), lambda path: bool(read_manifest(path.parent))),
    *(
        Reader(f"saved model: {name}", in_folder(_saved, name), lambda path: bool(read_pretrained(path.parent).config))
        for name in ("config.json", "model.safetensors")
    ),
    Reader("PLY table", ascii_ply, lambda path: read_vertices(path)["red"]),
    Reader("triangles", in_folder(scannet_scene, MESH), read_triangles),
]
