"""Load checkpoints with the `transformers` library, from disk only; errors become `InputError`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InputError
from .families import FAMILIES, Family, adaptors_of
from .options import TeacherConfig

_WEIGHTS = ("*.safetensors", "*.bin")
_TOKENIZER = ("tokenizer.json", "vocab.*", "*.model")


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint in memory, in eval mode and float32 on the CPU.

    Attributes:
        model: model of the library or of the checkpoint's own code.
        mean, std: normalisation per channel for pixels in [0, 1]; None if the network normalises.
        tokenizer: tokenizer of the text tower, or None.
        digest: see `content_digest`.
        former_version: identifier of the checkpoint in older versions of this package: commit, or files with sizes and
            times.
    """

    model: Any
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    tokenizer: Any
    digest: str
    former_version: str


def load_checkpoint(kind: str, checkpoint: str, family: Family, options: TeacherConfig) -> LoadedCheckpoint:
    """Load a checkpoint from a folder or, by name, from earlier downloads. Does not use the network.

    Raises:
        InputError: the library is missing; the checkpoint is missing, incomplete, damaged, of another family, or needs
            code that was not trusted. The message has the remedy.
    """
    spec = f"teacher {kind}:{checkpoint}"
    if not checkpoint:
        raise InputError(f"teacher {kind}:", "a checkpoint or a folder after the colon", "none", f"as {family.example}")
    library = _library(spec)
    where = str(Path(checkpoint).expanduser()) if Path(checkpoint).expanduser().is_dir() else checkpoint
    common = {"local_files_only": True, "trust_remote_code": options.trust_remote_code, "revision": options.revision}
    with _translate_errors(spec, kind, where, options), _silence(library):
        config = library.AutoConfig.from_pretrained(where, **common)
        model_type = getattr(config, "model_type", "")
        if model_type not in family.model_types:
            expected = " or ".join(t for t in family.model_types if t)
            raise InputError(spec, f"a checkpoint of type {expected}", model_type or "none")
        if options.adaptor:
            _select_adaptor(spec, config, options)
        model, info = library.AutoModel.from_pretrained(where, config=config, output_loading_info=True, **common)
        # RADIO's checkpoints omit LayerScales of one.
        missing = sorted(k for k in info["missing_keys"] if not (kind == "radio" and "layer_scale" in k))
        bad = [*missing, *sorted(str(k) for k in info.get("mismatched_keys", ()))]
        if bad:
            raise InputError(spec, "a checkpoint with all its weights", f"{len(bad)} missing ({bad[0]}, …)")
        mean, std = (None, None) if family.normalises else _normalisation(library, spec, where, common)
        tokenizer = library.AutoTokenizer.from_pretrained(where, **common) if family.text else None
        digest = content_digest(_folder(library, where, options))
    model = model.float().eval().requires_grad_(False)
    return LoadedCheckpoint(model, mean, std, tokenizer, digest, _former_version(where, config))


def _library(spec: str) -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise InputError(
            spec, "the package transformers", f"none ({error})", "run `pip install 'gaussiancross[teachers]'`"
        ) from None
    return transformers


def _select_adaptor(spec: str, config: Any, options: TeacherConfig) -> None:
    names = adaptors_of(config)
    if options.adaptor not in names:
        remote = hasattr(config, "auto_map") and not options.trust_remote_code
        hint = "adaptors are code of the checkpoint's repository: read it, then add ,trust_remote_code"
        expected = "one of " + ", ".join(names) if names else "a checkpoint with adaptors"
        raise InputError(f"{spec}, adaptor {options.adaptor!r}", expected, "no such adaptor", hint if remote else "")
    config.adaptor_names = [options.adaptor]


def _normalisation(library: ModuleType, spec: str, where: str, common: dict[str, Any]) -> tuple[Any, Any]:
    """Mean and standard deviation from the checkpoint's preprocessor config."""
    mixin = library.image_processing_utils.BaseImageProcessor
    processor, _ = mixin.get_image_processor_dict(where, **common)
    if not processor.get("do_normalize", True):
        return None, None
    mean, std = processor.get("image_mean"), processor.get("image_std")
    if not (isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) == 3 and min(std) > 0):
        raise InputError(
            f"{spec}, preprocessor_config.json", "image_mean and image_std of 3 channels", f"{mean}, {std}"
        )
    return tuple(map(float, mean)), tuple(map(float, std))


def _folder(library: ModuleType, where: str, options: TeacherConfig) -> Path:
    """Folder of a checkpoint's files: the folder itself, or that of the downloaded commit."""
    if Path(where).is_dir():
        return Path(where)
    config = library.utils.cached_file(where, "config.json", revision=options.revision, local_files_only=True)
    return Path(config).parent


def content_digest(folder: Path) -> str:
    """SHA-256 of names and content of a checkpoint's configs, weights and code, hexadecimal.

    The digest is independent of the folder's path and of times. Files are read once per process.
    """
    weights = next((found for p in _WEIGHTS if (found := list(folder.glob(p)))), [])
    others = [*folder.glob("config.json"), *folder.glob("p*processor_config.json"), *folder.glob("*.py")]
    digest = hashlib.sha256()
    for path in sorted({*weights, *others}):
        stat = path.stat()
        digest.update(f"{path.name} {_file_digest(path.resolve(), stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, time: int) -> str:
    """SHA-256 of a file. Size and time are part of the cache key, so that a changed file is read again."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _former_version(where: str, config: Any) -> str:
    """See `LoadedCheckpoint.former_version`."""
    folder = Path(where)
    if not folder.is_dir():
        return str(getattr(config, "_commit_hash", None) or "unknown")
    files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".json"))
    return repr([(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files])


def _missing_files(folder: Path, family: Family) -> list[str]:
    """Files that a checkpoint of the family needs and this folder lacks."""
    needed = {"config.json": ("config.json",), "weights (.safetensors or .bin)": _WEIGHTS}
    if not family.normalises:
        needed["preprocessor_config.json"] = ("p*processor_config.json",)
    if family.text:
        needed["a tokenizer"] = _TOKENIZER
    return [what for what, patterns in needed.items() if not any(any(folder.glob(p)) for p in patterns)]


@contextmanager
def _silence(library: ModuleType) -> Iterator[None]:
    """Switch off the progress bars and load reports of the library."""
    logging = library.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _translate_errors(spec: str, kind: str, where: str, options: TeacherConfig) -> Iterator[None]:
    """Convert errors of the library to `InputError`."""
    from safetensors import SafetensorError

    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, ImportError, KeyError, SafetensorError) as error:
        message = str(error).strip().split("\n")[0].rstrip(".: ") or type(error).__name__
        if "trust_remote_code" in str(error):
            hint = "read the code in its repository, then add ,trust_remote_code"
            raise InputError(spec, "a checkpoint without code of its own", "one that brings code", hint) from error
        if isinstance(error, ImportError):
            raise InputError(spec, "the packages that its code imports", message) from error
        if (folder := Path(where)).is_dir():
            absent = _missing_files(folder, FAMILIES[kind])
            found = f"one without {' and '.join(absent)}" if absent else f"a damaged one ({message})"
            raise InputError(spec, "a whole checkpoint", found, "download it again") from error
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", where):
            hint = "give a folder that exists, or a checkpoint as owner/name"
            raise InputError(spec, "a checkpoint", "no such folder", hint) from error
        if not isinstance(error, OSError):
            raise InputError(spec, "a checkpoint that this version of transformers reads", message) from error
        revision = "" if options.revision == "main" else f" --revision {options.revision}"
        hint = f"run `hf download {where}{revision}` once, with a network"
        if kind == "dinov3":
            hint = f"accept its licence on its model page, then `hf auth login` and `hf download {where}{revision}`"
        raise InputError(spec, "a downloaded checkpoint", "none on this machine", hint) from error
