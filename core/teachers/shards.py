"""Features on a disk: packed, in files that are whole or absent, with checksums that `sha256sum -c` reads too."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from ..errors import InputError
from ..io.atomic import atomic_file

Storage = Literal["float16", "int8"]
SUMS = "SHA256SUMS"
PACKED = ("features", "scale")
"""What `pack` makes; the second for int8 only."""
_AGAIN = "delete the file and run `gaussiancross features` as before: it makes what is missing"


def pack(features: Tensor, storage: Storage) -> dict[str, NDArray]:
    """[F, h, w, D] → arrays to store: "features" [F, h, w, D] and, for int8, "scale" [F, h, w] float32, the value of
    one step (each token's largest component is 127 of them).

    Raises:
        InputError: NaN or inf, or values that half precision does not hold.
    """
    if storage not in get_args(Storage):
        raise InputError("storage", "one of " + ", ".join(get_args(Storage)), repr(storage))
    values = features.float().cpu()
    if not values.isfinite().all():
        raise InputError("teacher", "finite features", "NaN or inf")
    if storage == "float16":
        largest = float(values.abs().max()) if values.numel() else 0.0
        if largest > 65504:
            raise InputError("teacher", "features up to 65504 for float16", f"{largest:.3g}", "use --storage int8")
        return {"features": values.half().numpy()}
    scale = values.abs().amax(-1) / 127
    steps = (values / torch.where(scale > 0, scale, 1.0)[..., None]).round_()
    return {"features": steps.to(torch.int8).numpy(), "scale": scale.numpy()}


def unpack(arrays: dict[str, NDArray]) -> NDArray[np.float32]:
    """What `pack` was given, but for rounding: [F, h, w, D] float32."""
    values = arrays["features"].astype(np.float32)
    return values * arrays["scale"][..., None] if "scale" in arrays else values


def cosine_error(features: Tensor, stored: NDArray[np.float32]) -> Tensor:
    """1 − cosine of each token with its stored form: [F, h, w, D] twice → [F, h, w]; 0 for tokens of zeros."""
    a, b = features.double(), torch.from_numpy(stored).double()
    lengths = a.norm(dim=-1) * b.norm(dim=-1)
    return torch.where(lengths > 0, 1 - (a * b).sum(-1) / lengths.clamp_min(1e-300), 0.0).clamp_min(0)


def stored_bytes(frames: int, height: int, width: int, dim: int, storage: Storage) -> int:
    """Bytes of the packed features of that many maps (a file's header comes on top, some kilobytes)."""
    return frames * height * width * (2 * dim if storage == "float16" else dim + 4)


class ShardFolder:
    """A folder of safetensors files with a list of their checksums. Thread-safe.

    A file appears whole or not at all (temporary file + rename), its line in ``SHA256SUMS`` after it: killed at any
    time, the folder holds finished files, and the unfinished one is made again. Files and list come out byte for byte
    the same, however often the work was interrupted.

    Args:
        folder: created when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._whole: dict[str, tuple[int, int]] = {}  # name → (time, size) of files whose checksum held
        self._sums = self._read_sums()

    def __contains__(self, name: str) -> bool:
        return name in self._sums and (self.folder / name).is_file()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files that were finished, in the order written."""
        return tuple(self._sums)

    def write(self, name: str, arrays: dict[str, NDArray], about: dict[str, Any]) -> None:
        """Store arrays as ``name`` with a JSON description.

        Raises:
            InputError: the disk is full or not writable.
        """
        # safetensors stores memory as it lies, whatever the strides; one key, because the order of several would differ
        # from run to run
        content = save(
            {key: np.ascontiguousarray(array) for key, array in arrays.items()},
            {"about": json.dumps(about, sort_keys=True)},
        )
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            replace_file(self.folder / name, content)
            again, self._sums[name] = name in self._sums, digest
            if again or not (self.folder / SUMS).is_file():
                replace_file(self.folder / SUMS, "".join(map(_line, self._sums.items())).encode())
            else:
                with (self.folder / SUMS).open("a", encoding="utf-8") as file:
                    file.write(_line((name, digest)))

    def about(self, name: str) -> dict[str, Any]:
        """The description of a file."""
        self._check(name)
        with self._open(name) as file:
            return json.loads((file.metadata() or {})["about"])

    def read(self, name: str, keys: Sequence[str], rows: Sequence[int] | None = None) -> dict[str, NDArray]:
        """Those arrays of a file that it has; all rows of the first axis or some. Only they are read.

        Raises:
            InputError: missing, or not the bytes that were written. Checked when a file is first touched, and again
                if it changes.
        """
        self._check(name)
        with self._open(name) as file:
            held = [key for key in keys if key in set(file.keys())]
            if rows is None:
                return {key: file.get_tensor(key) for key in held}
            return {key: np.concatenate([file.get_slice(key)[r : r + 1] for r in rows]) for key in held}

    def verify(self) -> Iterator[tuple[str, InputError | None]]:
        """(name, what is wrong with it or None) of every file, all bytes read anew."""
        for name in self.names:
            self._whole.pop(name, None)
            try:
                self._check(name)
                yield name, None
            except InputError as error:
                yield name, error

    def _open(self, name: str) -> Any:
        try:
            return safe_open(self.folder / name, "np")
        except (SafetensorError, OSError) as error:  # deleted or replaced since the check
            raise InputError(self.folder / name, "stored features", str(error), _AGAIN) from error

    def _check(self, name: str) -> None:
        path = self.folder / name
        wanted = self._sums.get(name)
        if wanted is None:
            raise InputError(path, f"a line in {SUMS}", "none", _AGAIN)
        try:
            stat = path.stat()
            state = stat.st_mtime_ns, stat.st_size
            if self._whole.get(name) == state:
                return
            found = _sha256(path)
        except OSError as error:
            raise InputError(path, "stored features", f"no readable file ({error.strerror})", _AGAIN) from error
        if found != wanted:
            raise InputError(path, f"the bytes with SHA-256 {wanted[:12]}…", f"{found[:12]}…, damaged", _AGAIN)
        self._whole[name] = state

    def _read_sums(self) -> dict[str, str]:
        path = self.folder / SUMS
        if not path.is_file():
            return {}
        text = path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]  # a line that was cut off never was
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in whole.splitlines()) if name}
        if whole != text:
            replace_file(path, whole.encode())
        return sums


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that it is the old one or the new one, never a part.

    Raises:
        InputError: the disk is full or not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise InputError(path, "room to write", error.strerror or str(error)) from error


def _line(item: tuple[str, str]) -> str:
    return f"{item[1]}  {item[0]}\n"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
