"""Write and read training checkpoints, safe against killed processes, full disks and damaged files.

    <folder>/step-000001234/model.safetensors    weights
    <folder>/step-000001234/config.json          format, version, step, ``meta`` and SHA-256 of all of these
    <folder>/step-000001234/state.pt             optimiser, random generators, …; loadable with weights_only=True

A checkpoint is written beside ``folder`` (every checkpoint in it is complete), read back, flushed to the disk and then
moved into place. Older ones are deleted after that. Reading verifies the checksums, so that a flipped bit is noticed;
checkpoints of before there were any are read unverified.
"""

from __future__ import annotations

import errno
import hashlib
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
from .digests import sha256_of
from .json_files import read_json
from .plain_files import check_plain
from .torch_files import torch_load

FORMAT = "gaussiancross-checkpoint"
VERSION = 1

MODEL, CONFIG, STATE = "model.safetensors", "config.json", "state.pt"

SUMS = "sha256"
"""Key of ``config.json``: file name → SHA-256; that of ``config.json`` itself is of its other entries."""

_STEP = re.compile(r"step-(\d{9,})")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DamagedCheckpoint(InputError):
    """A checkpoint of which a file is missing, damaged, or not what was written."""


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
    config = {"format": FORMAT, "version": VERSION, "step": step, "meta": meta}
    target = folder / f"step-{step:09d}"
    try:
        with staged_dir(target, folder.parent / f".{folder.name}.partial") as partial:
            weights = safetensors_bytes(_independent_tensors(tensors))
            buffer = io.BytesIO()
            torch.save(extra or {}, buffer)
            state = buffer.getbuffer()
            sums = {name: hashlib.sha256(data).hexdigest() for name, data in ((MODEL, weights), (STATE, state))}
            sums[CONFIG] = _config_digest(config)
            (partial / MODEL).write_bytes(weights)
            (partial / CONFIG).write_bytes(json.dumps({**config, SUMS: sums}, indent=2).encode())
            (partial / STATE).write_bytes(state)
            _verify(partial, sums)
    except OSError as error:
        raise _cannot_write(folder, step, error) from error
    others = [path for _, path in list_checkpoints(folder) if path != target]
    for path in others[: max(0, len(others) - (keep - 1))]:
        shutil.rmtree(move_away(path) or path, ignore_errors=True)
    for remains in folder.parent.glob(f".{folder.name}.removed-*"):  # of a process that was killed here
        shutil.rmtree(remains, ignore_errors=True)
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
        DamagedCheckpoint: a missing or damaged file, or a wrong checksum; names the file and the previous checkpoint.
        InputError: no checkpoint, or a format of a newer version.
    """
    path = Path(path)
    if not _STEP.fullmatch(path.name) and not (path / CONFIG).is_file():
        latest = latest_checkpoint(path)
        if latest is None:
            raise InputError(path, "checkpoints as step-<number>/", "none" if path.is_dir() else "no such folder")
        path = latest
    config = _load_config(path)
    sums = config.get(SUMS, {})
    for name in (MODEL, STATE):
        if name in sums and _read(path, name, sha256_of) != sums[name]:
            raise _damaged(path, name, f"a damaged file (its SHA-256 is not the one in {CONFIG})")
    tensors = _read(path, MODEL, load_weights)
    extra = _read(path, STATE, torch_load)
    return tensors, config["meta"], extra


def load_meta(path: Path) -> dict[str, Any]:
    """Read the ``meta`` of one ``step-…`` folder, without its tensors.

    Raises:
        DamagedCheckpoint: a missing or damaged file, or a folder that was renamed to another step.
        InputError: a format of a newer version.
    """
    return _load_config(path)["meta"]


def _load_config(path: Path) -> dict[str, Any]:
    config = _read(path, CONFIG, read_json)
    if not isinstance(config, dict) or config.get("format") != FORMAT or not isinstance(config.get("meta"), dict):
        raise DamagedCheckpoint(path / CONFIG, f'"format": "{FORMAT}" and a "meta" object', "another file")
    if not isinstance(config.get("version"), int) or config["version"] > VERSION:
        raise InputError(
            path / CONFIG, f"format version {VERSION} or older", f"{config.get('version')}", "update this program"
        )
    sums = config.pop(SUMS, None)
    if sums is not None:
        if not isinstance(sums, dict) or sums.get(CONFIG) != _config_digest(config):
            raise _damaged(path, CONFIG, "a damaged file (its SHA-256 is not the one that it contains)")
        config[SUMS] = sums
    number = _STEP.fullmatch(path.name)
    if number and int(number.group(1)) != config.get("step"):
        raise _damaged(path, CONFIG, f"that of step {config.get('step')}: the folder was renamed")
    return config


def load_weights(path: Path | str) -> dict[str, Tensor]:
    """Read the tensors of one safetensors file, on the CPU.

    Raises:
        InputError: a missing or damaged file.
    """
    path = Path(path)
    try:
        check_plain(path)  # the library would wait for ever at a pipe
        return load_file(path)
    except FileNotFoundError:
        found = "no such file"
    except (OSError, ValueError, SafetensorError) as error:
        found = f"a damaged file ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    raise InputError(path, "weights as safetensors", found)


def _read(path: Path, name: str, load: Any) -> Any:
    try:
        return load(path / name)
    except InputError:
        raise
    except FileNotFoundError:
        found = "no such file"
    except Exception as error:  # unpicklers raise almost any exception on damaged bytes
        found = f"a damaged file ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    raise _damaged(path, name, found)


def _damaged(path: Path, name: str, found: str) -> DamagedCheckpoint:
    number = _STEP.fullmatch(path.name)
    step = int(number.group(1)) if number else 0
    older = [p for s, p in list_checkpoints(path.parent) if s < step]
    hint = f"the previous checkpoint is {older[-1]}" if older else "there is no earlier checkpoint beside it"
    return DamagedCheckpoint(path / name, "a whole checkpoint file", found, hint)


def _config_digest(config: dict[str, Any]) -> str:
    """SHA-256 of a config's content, which does not depend on how JSON is laid out."""
    plain = json.loads(json.dumps(config))  # keys and tuples as they will be read
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


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


def _verify(folder: Path, sums: dict[str, str]) -> None:
    """Read all three files back, before any older checkpoint is deleted."""
    for name in (MODEL, STATE):
        if sha256_of(folder / name) != sums[name]:
            raise OSError(errno.EIO, "what was written cannot be read back unchanged", str(folder / name))
    try:
        config = read_json(folder / CONFIG)
        torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError(f"extra holds something that torch.load(weights_only=True) refuses: {error}") from error
    except (ValueError, RuntimeError, EOFError) as error:
        raise OSError(errno.EIO, f"what was written cannot be read back ({error})", str(folder)) from error
    if config.get(SUMS) != sums:
        raise OSError(errno.EIO, "what was written cannot be read back unchanged", str(folder / CONFIG))


def _cannot_write(folder: Path, step: int, error: OSError) -> InputError | RunError:
    latest = latest_checkpoint(folder)
    safe = f"the last good checkpoint is {latest}" if latest else "there is no earlier checkpoint"
    if error.errno in _FULL:
        problem = f"{folder}: the disk is full, the checkpoint of step {step} was not written"
        return RunError(problem, f"free some space; {safe}")
    return InputError(folder, f"to write the checkpoint of step {step}", f"{error}", f"check the folder; {safe}")
