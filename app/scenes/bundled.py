"""The bundled feature field: the default for scenes with frames when neither a run nor a teacher is named."""

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
from .source import ModelSource, calibration_for


def bundled_field_folder() -> Path:
    """Folder of the bundled feature field."""
    return Path(str(files("gaussiancross.assets"))) / "field"


def open_bundled_field(dataset: SceneDataset, data: str, device: torch.device | str = "cpu") -> ModelSource:
    """The bundled feature field over the scenes of a dataset, with its teacher and its calibration.

    Args:
        dataset: scenes with frames.
        data: name of the dataset; the teacher's features are cached under it.

    Raises:
        InputError: model or teacher damaged, or not made for each other.
    """
    stored = read_pretrained(bundled_field_folder())
    teacher = BuiltinTeacher()
    expected = stored.about.get("teacher fingerprint")
    if expected != teacher.fingerprint:
        hint = "install the package again"
        raise InputError(
            bundled_field_folder(), f"a model of the teacher {teacher.fingerprint}", f"one of {expected}", hint
        )
    model = GaussianCross.from_stored(stored).to(device)
    cached = memoize_features(teacher, data, cache_folder())
    source = ModelSource(model, dataset, cached, f"{Path(data).name}, bundled feature field")
    source.calibration = calibration_for(dataset, load_calibration(bundled_field_folder() / NAME, "model"))
    return source
