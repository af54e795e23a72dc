"""`gaussiancross convert`: convert weights from and to Pointcept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console

from ...core.errors import InputError
from ...core.io.atomic import atomic_file
from ...core.io.pretrained import read_pretrained
from ...core.models import GaussianCross, load_pretrained
from ...core.nn.pointcept import Conversion, read_pointcept, to_pointcept
from ...core.nn.spunet import SpUNet
from ...core.teachers import make_teacher
from ...core.teachers.base import ImageTeacher
from ...trainers.pretraining.runs import load_run

FILES = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Convert:
    """Convert a Pointcept SpUNet-v1m1 or a model of this package to safetensors, or to a Pointcept checkpoint."""

    source: tyro.conf.Positional[str]
    """A .pth of Pointcept or of GaussianCross's authors, or a saved model, run, checkpoint or Hugging Face name."""
    out: Path | None = None
    """Output folder for model.safetensors and config.json."""
    to_pointcept: Path | None = None
    """File for a Pointcept checkpoint of the backbone, such as spunet.pth."""
    backbone: bool = False
    """Write only the backbone of a GaussianCross model to --out."""
    half: bool = False
    """Store the weights of --out as float16."""
    prefix: str | None = None
    """Prefix of the backbone's names in SOURCE; found automatically if there is one backbone."""
    own_statistics: bool = False
    """Let batch norm use each scene's own statistics outside training, as the published linear probes did."""


def main(args: Sequence[str]) -> int:
    return run(tyro.cli(Convert, args=args, prog="gaussiancross convert"))


def run(options: Convert, console: Console | None = None) -> int:
    """Convert; print the weights that were found and left out, and the files written."""
    console = console or Console()
    if options.out is None and options.to_pointcept is None:
        raise InputError("gaussiancross convert", "--out FOLDER or --to-pointcept FILE", "neither")
    path = Path(options.source).expanduser()
    if path.is_file() or path.suffix in FILES:
        found = read_pointcept(path, options.prefix, options.own_statistics)
        model, about = found.backbone, {"converted from": path.name, "prefix": found.prefix}
        _report(found, path, console)
    else:
        model, about = load_pretrained(options.source), _origin(options.source)
    if options.backbone and isinstance(model, GaussianCross):
        model = model.backbone
    count = sum(p.numel() for p in model.parameters())
    console.print(f"{type(model).__name__}, {count:,} parameters", highlight=False)
    if options.out is not None:
        model.save_pretrained(options.out, about, options.half)
        _say(console, f"written: {options.out}")
    if options.to_pointcept is not None:
        _write(options.to_pointcept, model.backbone if isinstance(model, GaussianCross) else model)
        _say(console, f"written: {options.to_pointcept} (for Pointcept: weight={options.to_pointcept.name})")
    return 0


def _origin(source: str) -> dict[str, Any]:
    """Return the recorded origin of a stored model, for a run with its data and teacher."""
    stored = read_pretrained(source)
    about = {"converted from": Path(source).absolute().name} | stored.about
    if "checkpoint" not in about:
        return about
    _, config, _ = load_run(stored.path)
    about |= {name: getattr(config.data, name) for name in ("data", "teacher", "width", "height")}
    teacher = make_teacher(config.data.teacher)
    return about | ({"teacher fingerprint": teacher.fingerprint} if isinstance(teacher, ImageTeacher) else {})


def _write(path: Path, backbone: SpUNet) -> None:
    try:
        with atomic_file(path) as partial:
            torch.save(to_pointcept(backbone), partial)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError for a missing folder
        raise InputError(path, "a file to write to", str(error).splitlines()[0]) from error


def _report(found: Conversion, path: Path, console: Console) -> None:
    where = f"under {found.prefix!r}" if found.prefix else "at the top"
    _say(console, f"{path.name}: a SpUNet {where}, every weight in place")
    if found.filled:
        _say(console, f"set to 0, which the file had not ({len(found.filled)}): {', '.join(found.filled)}")
    if found.left_out:
        _say(console, f"left out, not of the backbone ({len(found.left_out)}): {', '.join(found.left_out)}")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
