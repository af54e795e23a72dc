"""The pre-trained field that ships with the package: what scenes with frames are seen and asked with unless a run or a
teacher is named."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from ...core.data.scene import SceneDataset
from ...core.errors import InputError
from ...core.io.cache import cache_folder
from ...core.io.pretrained import read_pretrained
from ...core.models import GaussianCross
from ...core.query.calibration import NAME, load_calibration
from ...core.teachers import memoize_features
from ...core.teachers.builtin import BuiltinTeacher
from .source import ModelSource


def folder() -> Path:
    """Where the shipped field lies."""
    return Path(str(files("gaussiancross.assets"))) / "field"


def shipped_field(dataset: SceneDataset, data: str, device: torch.device | str = "cpu") -> ModelSource:
    """The shipped field on the scenes of a dataset, with its teacher and its calibration.

    Args:
        dataset: scenes with frames. data: names it, to keep the teacher's features of it.

    Raises:
        InputError: model or teacher damaged, or not made for each other.
    """
    stored = read_pretrained(folder())
    teacher = BuiltinTeacher()
    expected = stored.about.get("teacher fingerprint")
    if expected != teacher.fingerprint:
        hint = "install the package again"
        raise InputError(folder(), f"a field of the teacher {teacher.fingerprint}", f"one of {expected}", hint)
    model = GaussianCross.from_stored(stored).to(device)
    source = ModelSource(
        model, dataset, memoize_features(teacher, data, cache_folder()), f"{Path(data).name}, shipped field"
    )
    source.calibration = load_calibration(folder() / NAME, "model")
    return source
