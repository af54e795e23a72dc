"""Write and read training checkpoints, safe against killed processes, full disks and damaged files.

    <folder>/step-000001234/model.safetensors    weights
    <folder>/step-000001234/config.json          format, version, step and ``meta``
    <folder>/step-000001234/state.pt             optimiser, random generators, …; loadable with weights_only=True

A checkpoint is written beside ``folder`` (every checkpoint in it is complete), read back, flushed to the disk and then
moved into place. Older ones are deleted after that.
"""

from __future__ import annotations

import errno
import io
import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from ..errors import InputError, RunError
from .atomic import move_away, staged_dir

FORMAT = "gaussiancross-checkpoint"
VERSION = 1

MODEL, CONFIG, STATE = "model.safetensors", "config.json", "state.pt"

_STEP = re.compile(r"step-(\d{9,})")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def save_checkpoint(
    folder: Path | str,
    step: int,
    tensors: dict[str, Tensor],
    meta: dict[str, Any],
    extra: dict[str, Any] | None = None,
    keep: int = 2,
) -> Path:
    """Write the checkpoint of ``step`` and delete all but the ``keep`` newest.

    Args:
        folder: folder of the run's checkpoints; made when absent. For one writing process at a time.
        step: number of optimiser steps. An existing checkpoint of this step is replaced.
        tensors: weights by name, any device.
        meta: description of the run (configs), in JSON types.
        extra: further state in tensors, numbers, strings, lists and dicts.
        keep: number of checkpoints to keep, at least 1, including the new one.

    Returns:
        the checkpoint's folder.

    Raises:
        InputError: the folder cannot be written. Earlier checkpoints are untouched.
        RunError: the disk is full. Earlier checkpoints are untouched.
        TypeError: ``meta`` or ``extra`` contains a type that cannot be loaded again.
    """
    folder = Path(folder).absolute()
    if keep < 1:
        raise InputError("keep", "at least 1 checkpoint", str(keep))
    config = json.dumps({"format": FORMAT, "version": VERSION, "step": step, "meta": meta}, indent=2)
    target = folder / f"step-{step:09d}"
    try:
        with staged_dir(target, folder.parent / f".{folder.name}.partial") as partial:
            _write(partial / MODEL, safetensors_bytes(_independent_tensors(tensors)))
            _write(partial / CONFIG, config.encode())
            buffer = io.BytesIO()
            torch.save(extra or {}, buffer)
            _write(partial / STATE, buffer.getbuffer())
            _verify(partial, tensors)
    except OSError as error:
        raise _cannot_write(folder, step, error) from error
    others = [path for _, path in list_checkpoints(folder) if path != target]
    for path in others[: max(0, len(others) - (keep - 1))]:
        shutil.rmtree(move_away(path) or path, ignore_errors=True)
    return target


def list_checkpoints(folder: Path | str) -> list[tuple[int, Path]]:
    """(step, path) of the complete checkpoints in ``folder``, by increasing step."""
    folder = Path(folder)
    checkpoints = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _STEP.fullmatch(path.name)
        if match and all((path / name).is_file() for name in (MODEL, CONFIG, STATE)):
            checkpoints.append((int(match.group(1)), path))
    return sorted(checkpoints)


def latest_checkpoint(folder: Path | str) -> Path | None:
    """Path of the checkpoint with the highest step, or None."""
    checkpoints = list_checkpoints(folder)
    return checkpoints[-1][1] if checkpoints else None


def load_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Read (tensors, meta, extra) of one checkpoint, on the CPU.

    Args:
        path: a ``step-…`` folder, or a folder of them, of which the latest is read.

    Raises:
        InputError: no checkpoint, a damaged file (names it and the previous checkpoint), or a format of a newer
            version.
    """
    path = Path(path)
    if not _STEP.fullmatch(path.name) and not (path / CONFIG).is_file():
        latest = latest_checkpoint(path)
        if latest is None:
            raise InputError(path, "checkpoints as step-<number>/", "none" if path.is_dir() else "no such folder")
        path = latest
    meta = load_meta(path)
    tensors = _read(path, MODEL, load_file)
    extra = _read(path, STATE, lambda file: torch.load(file, map_location="cpu", weights_only=True))
    return tensors, meta, extra


def load_meta(path: Path) -> dict[str, Any]:
    """Read the ``meta`` of one ``step-…`` folder, without its tensors.

    Raises:
        InputError: a damaged file, or a format of a newer version.
    """
    config = _read(path, CONFIG, lambda file: json.loads(file.read_text(encoding="utf-8")))
    if not isinstance(config, dict) or config.get("format") != FORMAT or not isinstance(config.get("meta"), dict):
        raise InputError(path / CONFIG, f'"format": "{FORMAT}" and a "meta" object', "another file")
    if not isinstance(config.get("version"), int) or config["version"] > VERSION:
        raise InputError(
            path / CONFIG, f"format version {VERSION} or older", f"{config.get('version')}", "update this program"
        )
    return config["meta"]


def load_weights(path: Path | str) -> dict[str, Tensor]:
    """Read the tensors of one safetensors file, on the CPU.

    Raises:
        InputError: a missing or damaged file.
    """
    path = Path(path)
    try:
        return load_file(path)
    except FileNotFoundError:
        found = "no such file"
    except (OSError, ValueError, SafetensorError) as error:
        found = f"a damaged file ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    raise InputError(path, "weights as safetensors", found)


def _read(path: Path, name: str, load: Any) -> Any:
    try:
        return load(path / name)
    except FileNotFoundError:
        found = "no such file"
    except Exception as error:  # unpicklers raise almost any exception on damaged bytes
        found = f"a damaged file ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    number = _STEP.fullmatch(path.name)
    step = int(number.group(1)) if number else 0
    older = [p for s, p in list_checkpoints(path.parent) if s < step]
    hint = f"the previous checkpoint is {older[-1]}" if older else "there is no earlier checkpoint beside it"
    raise InputError(path / name, "a whole checkpoint file", found, hint)


def _independent_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors without shared memory, as safetensors requires."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu").contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        plain[name] = tensor
    return plain


def _write(path: Path, data: bytes | memoryview) -> None:
    path.write_bytes(data)


def _verify(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Read all three files back, before any older checkpoint is deleted."""
    try:
        json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        torch.load(folder / STATE, map_location="cpu", weights_only=True)
        written = load_file(folder / MODEL)
    except pickle.UnpicklingError as error:
        raise TypeError(f"extra holds something that torch.load(weights_only=True) refuses: {error}") from error
    except (ValueError, RuntimeError, EOFError, SafetensorError) as error:
        raise OSError(errno.EIO, f"what was written cannot be read back ({error})", str(folder)) from error
    if {k: (v.shape, v.dtype) for k, v in written.items()} != {k: (v.shape, v.dtype) for k, v in tensors.items()}:
        raise OSError(errno.EIO, "what was read back differs from what was written", str(folder / MODEL))


def _cannot_write(folder: Path, step: int, error: OSError) -> InputError | RunError:
    latest = latest_checkpoint(folder)
    safe = f"the last good checkpoint is {latest}" if latest else "there is no earlier checkpoint"
    if error.errno in _FULL:
        problem = f"{folder}: the disk is full, the checkpoint of step {step} was not written"
        return RunError(problem, f"free some space; {safe}")
    return InputError(folder, f"to write the checkpoint of step {step}", f"{error}", f"check the folder; {safe}")
