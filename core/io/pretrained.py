"""Save and load models with their configuration: `from_pretrained`, `save_pretrained`.

    <folder>/model.safetensors    weights
    <folder>/config.json          {"format", "version", "model": class name, "config": {…}, "about": {…}}

`from_pretrained` accepts such a folder, its name on the Hugging Face hub, a run folder or checkpoint of pre-training, a
run folder of fine-tuning (which has its network in ``model/``), and the names of the bundled models: "bundled-rooms"
(older name: "builtin") and "bundled-field".
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError
from .atomic import atomic_dir
from .checkpoint import CONFIG, MODEL, latest_checkpoint, load_checkpoint
from .checkpoint import FORMAT as CHECKPOINT_FORMAT
from .json_files import read_json
from .torch_files import read_weights

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = "gaussiancross-model"
VERSION = 1

PROBE_PREFIX = "probe."
"""Prefix of the weights of the linear probe, stored in checkpoints beside those of the network."""

BUNDLED = {"bundled-rooms": "rooms", "builtin": "rooms", "bundled-field": "field"}
"""Names of the bundled GaussianCross models and their folders under ``assets``. "builtin" is an alias of
"bundled-rooms", the pre-trained model; "bundled-field" is the feature field that also takes lifted teacher features."""
BUILTIN = "bundled-rooms"
"""Default model of commands."""
BUNDLED_CLIPGS = ("bundled-clipgs", "builtin")
"""Names of the bundled CLIP-GS model; "builtin" is the older one."""

TRAINED = "model"
"""Folder of the trained network in a run of fine-tuning."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class StoredModel:
    """Content of a stored model.

    Attributes:
        path: folder of the files.
        model: name of its class.
        config: arguments of `Pretrained.from_config`.
        tensors: weights by name, on the CPU.
        about: origin of the weights, in JSON types.
    """

    path: Path
    model: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    about: dict[str, Any]


class Pretrained(nn.Module, ABC):
    """Adds `from_pretrained` and `save_pretrained` to a module that implements `to_config` and `from_config`."""

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """The configuration that `from_config` takes, in JSON types."""
        ...

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], where: str = "config") -> Self:
        """Make a model with random weights. ``where`` names the configuration in errors."""
        ...

    @classmethod
    def adapt(cls, stored: StoredModel) -> StoredModel:
        """Convert a stored model of another class to this class if possible; return it unchanged otherwise."""
        return stored

    @classmethod
    def from_pretrained(cls, where: str | Path, revision: str | None = None) -> Self:
        """Load a stored model, on the CPU, in eval mode. Does not change the state of the random generator.

        Args:
            where: a folder of `save_pretrained`, a run folder or checkpoint, "owner/name" on the hub, or the
                name of a bundled model ("bundled-rooms", "bundled-field").
            revision: branch, tag or commit on the hub.

        Raises:
            InputError: no such model, damaged, of another class, or missing or unexpected weights (names each).
        """
        return cls.from_stored(read_pretrained(where, revision))

    @classmethod
    def from_stored(cls, stored: StoredModel) -> Self:
        """Build the model from what `read_pretrained` returned."""
        stored = cls.adapt(stored)
        if stored.model != cls.__name__:
            raise InputError(stored.path, f"a {cls.__name__}", f"a {stored.model}", f"load it as {stored.model}")
        with torch.random.fork_rng(devices=[]):
            model = cls.from_config(stored.config, str(stored.path / CONFIG))
        check_names(stored.path / MODEL, model.state_dict(), stored.tensors)
        model.load_state_dict(stored.tensors)
        return model.eval()

    def save_pretrained(self, folder: str | Path, about: Mapping[str, Any] | None = None, half: bool = False) -> Path:
        """Write weights and configuration.

        Args:
            folder: made when absent; an existing model in it is replaced.
            about: origin of the weights, in JSON types, for ``config.json``.
            half: store floating-point weights as float16; they are loaded as float32.

        Returns:
            the folder.

        Raises:
            InputError: the disk is full or the folder cannot be written; an existing model is untouched.
        """
        folder = Path(folder)
        config = {"format": FORMAT, "version": VERSION, "model": type(self).__name__, "config": self.to_config()}
        text = json.dumps({**config, "about": dict(about or {})}, indent=2)
        tensors = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in self.state_dict().items()}
        if half:
            tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        with atomic_dir(folder) as staging:
            save_file(tensors, staging / MODEL, metadata={"format": "pt"})
            (staging / CONFIG).write_text(text, encoding="utf-8")
        return folder


def bundled_folder(name: str | Path) -> Path | None:
    """Folder of the bundled GaussianCross model of that name; None for any other name, and for a path that exists."""
    folder = BUNDLED.get(str(name))
    if folder is None or Path(name).exists():
        return None
    return Path(str(files("gaussiancross.assets"))) / folder


def saved_card(folder: Path) -> dict[str, Any] | None:
    """Read ``about`` of a model saved by `Pretrained.save_pretrained`; None for other folders, such as checkpoints.

    Raises:
        InputError: a ``config.json`` that is not JSON.
    """
    try:
        config = read_json(folder / CONFIG)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise InputError(folder / CONFIG, "readable JSON", f"{error}") from error
    return dict(config.get("about") or {}) if isinstance(config, dict) and config.get("format") == FORMAT else None


def read_pretrained(where: str | Path, revision: str | None = None) -> StoredModel:
    """Read a stored model; arguments as for `Pretrained.from_pretrained`.

    Raises:
        InputError: no such model, damaged, or written by a newer version.
    """
    path = Path(where).expanduser()
    if (bundled := bundled_folder(where)) is not None:
        path = bundled
    elif not path.exists() and _HUB_NAME.fullmatch(str(where)) and (revision or not path.parent.is_dir()):
        path = _from_hub(str(where), revision)  # with a folder "runs", "runs/rooms" is a misspelt path
    if not all((path / name).is_file() for name in (CONFIG, MODEL)):  # run folders have a config.json, too
        latest = latest_checkpoint(path / "checkpoints") or latest_checkpoint(path)
        if latest is None and not (path / CONFIG).is_file():
            missing = f"no such folder{_sibling_names(path)}"
            found = "neither" if path.is_dir() else "a file" if path.is_file() else missing
            expected = f"a folder with {CONFIG} and {MODEL}, or a run with checkpoints/"
            hint = "`gaussiancross convert` makes one from a .pth file" if path.is_file() else ""
            if not path.exists() and str(where).startswith("bundled"):
                hint = "the bundled models are bundled-rooms, bundled-field and bundled-clipgs"
            if str(where) == BUNDLED_CLIPGS[0]:
                expected, hint = "a GaussianCross model", "this is the CLIP-GS model: use ClipGS.from_pretrained"
            raise InputError(path, expected, found, hint)
        path = latest or path
    try:
        config = read_json(path / CONFIG)
    except (ValueError, OSError) as error:
        raise InputError(path / CONFIG, "readable JSON", f"{error}") from error
    if isinstance(config, dict) and config.get("format") == CHECKPOINT_FORMAT:
        meta = config.get("meta")
        if isinstance(meta, dict) and meta.get("kind") == "clipgs":
            raise InputError(path, "a GaussianCross", "a CLIP-GS model", "use ClipGS.from_pretrained")
        if isinstance(meta, dict) and "model" not in meta.get("config", {}):  # not a run of pre-training
            return _read_finetuned(path, Path(where).expanduser(), str(meta.get("kind")))
        tensors, meta, _ = load_checkpoint(path)
        weights = {k: v for k, v in tensors.items() if not k.startswith(PROBE_PREFIX)}
        about = {"checkpoint": path.name, "step": meta.get("step")}
        return StoredModel(path, "GaussianCross", _get(meta, "config", "model", where=path / CONFIG), weights, about)
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(path / CONFIG, f'"format": "{FORMAT}" or "{CHECKPOINT_FORMAT}"', "another file")
    if not isinstance(config.get("version"), int) or config["version"] > VERSION:
        found = str(config.get("version"))
        raise InputError(path / CONFIG, f"format version {VERSION} or older", found, "update this program")
    kind, values = _get(config, "model", where=path / CONFIG), _get(config, "config", where=path / CONFIG)
    return StoredModel(path, kind, values, read_weights(path / MODEL), config.get("about") or {})


def _read_finetuned(checkpoint: Path, where: Path, kind: str) -> StoredModel:
    """Read the network of a run of fine-tuning.

    Args:
        checkpoint: a checkpoint of the run.
        where: argument of the caller, for messages.
        kind: kind of the run, for messages.
    """
    run = checkpoint.parent.parent
    if not all((run / TRAINED / name).is_file() for name in (CONFIG, MODEL)):
        hint = "fine-tuning writes it after its test, a linear probe trains no network"
        raise InputError(where, f"a run of pre-training, or one with {TRAINED}/", f"one of kind {kind} without", hint)
    if where.resolve() != run.resolve():
        hint = f"the network that the run trained is in {run / TRAINED}"
        raise InputError(where, "a checkpoint of pre-training", f"one of kind {kind}", hint)
    return read_pretrained(run / TRAINED)


def check_names(where: str | Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Check that two sets of weights have the same names and shapes.

    Raises:
        InputError: names every weight that is missing, unexpected or of another shape.
    """
    missing, unexpected = [k for k in expected if k not in found], [k for k in found if k not in expected]
    shapes = [(k, v) for k, v in expected.items() if k in found and found[k].shape != v.shape]
    named = {"missing": missing, "unexpected": unexpected}
    problems = [f"{len(names)} {what} ({', '.join(names)})" for what, names in named.items() if names]
    if shapes:
        pairs = (f"{k} {list(found[k].shape)} instead of {list(v.shape)}" for k, v in shapes)
        problems.append(f"{len(shapes)} of another shape ({', '.join(pairs)})")
    if problems:
        raise InputError(where, f"{len(expected)} weights by name and shape", "; ".join(problems))


def _get(values: Mapping[str, Any], *keys: str, where: Path) -> Any:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            raise InputError(where, f"the key {'.'.join(keys)}", "none")
        values = values[key]
    return values


def _sibling_names(path: Path) -> str:
    """Names of the folders beside ``path`` in brackets, as suggestions."""
    if path.parent == Path() or not path.parent.is_dir():
        return ""
    names = sorted(p.name for p in path.parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    return f" ({path.parent} has {', '.join([*names[:8], *['…'] * (len(names) > 8)]) or 'no folders'})"


def _from_hub(name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        hint = "`pip install huggingface_hub` to fetch it from the hub"
        raise InputError(name, "a folder, or a name on the Hugging Face hub", "no such folder", hint) from None
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=[MODEL, CONFIG]))
    except Exception as error:  # no network, repository or revision: the classes depend on the version
        found = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(name, "a folder, or a name on the Hugging Face hub", found) from error
