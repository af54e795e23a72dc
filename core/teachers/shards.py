"""Packed features in safetensors files, written atomically, with checksums in the format of `sha256sum -c`."""

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
from ..io.atomic import atomic_file, flush_file
from ..io.digests import sha256_of
from ..io.json_files import parse_json
from ..io.plain_files import check_plain, read_text

Storage = Literal["float16", "int8"]
SUMS = "SHA256SUMS"
PACKED = ("features", "scale")
"""Keys of the arrays of `pack`; the second for int8 only."""
_HINT = "delete the file and run `gaussiancross features` as before: it computes the missing features"


def pack(features: Tensor, storage: Storage) -> dict[str, NDArray]:
    """Pack features [F, h, w, D]: "features" [F, h, w, D] and, for int8, "scale" [F, h, w] float32, the value of one
    step (the largest component of a token is 127 steps).

    Raises:
        InputError: an unknown storage, values that are not finite, or values beyond the range of float16.
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
    """Inverse of `pack`, up to rounding: [F, h, w, D] float32."""
    values = arrays["features"].astype(np.float32)
    return values * arrays["scale"][..., None] if "scale" in arrays else values


def stack_packed(frames: Sequence[dict[str, NDArray]]) -> tuple[Tensor, Tensor | None]:
    """Stack packed features of single frames [1, h, w, D]: [C, h, w, D] float16, or int8 with its scale [C, h, w].

    Frames in different storages are unpacked to float32.
    """
    if len({tuple(frame) for frame in frames}) > 1 or len({frame["features"].dtype for frame in frames}) > 1:
        return torch.from_numpy(np.concatenate([unpack(frame) for frame in frames])), None
    columns = {key: torch.from_numpy(np.concatenate([frame[key] for frame in frames])) for key in frames[0]}
    return columns["features"], columns.get("scale")


def cosine_error(features: Tensor, stored: NDArray[np.float32]) -> Tensor:
    """1 − cosine between the tokens [F, h, w, D] and their stored values: [F, h, w]; 0 for tokens of zeros."""
    a, b = features.double(), torch.from_numpy(stored).double()
    lengths = a.norm(dim=-1) * b.norm(dim=-1)
    return torch.where(lengths > 0, 1 - (a * b).sum(-1) / lengths.clamp_min(1e-300), 0.0).clamp_min(0)


def stored_bytes(frames: int, height: int, width: int, dim: int, storage: Storage) -> int:
    """Bytes of packed features, without the header of the file (some kilobytes)."""
    return frames * height * width * (2 * dim if storage == "float16" else dim + 4)


class ShardFolder:
    """A folder of safetensors files and lists of their checksums. Thread-safe.

    Files are written atomically, and their line in ``SHA256SUMS`` after them: a process killed at any time leaves only
    complete files. Files and list do not depend on the number of interruptions.

    Args:
        folder: made when the first file is written.
        writer: of several processes that write other files of the folder at the same time, the name of this one. Each
            has a list of its own, ``SHA256SUMS.<writer>``; readers take all of them.
    """

    def __init__(self, folder: Path, writer: str = "") -> None:
        self.folder, self._list = folder, SUMS + (f".{writer}" if writer else "")
        self._own: dict[str, str] = {}
        self._lock = threading.Lock()
        self._verified: dict[str, tuple[int, int]] = {}  # name → (time, size) of verified files
        self._sums = self._read_sums()  # name → recorded checksums

    def __contains__(self, name: str) -> bool:
        return name in self._sums and (self.folder / name).is_file()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the complete files, in the order of writing."""
        return tuple(self._sums)

    def write(self, name: str, arrays: dict[str, NDArray], about: dict[str, Any]) -> None:
        """Write arrays to the file ``name`` with a JSON description.

        Raises:
            InputError: the disk is full or not writable.
        """
        # safetensors ignores strides, so arrays must be contiguous. One key of metadata: the order of several would
        # vary from run to run.
        content = save(
            {key: np.ascontiguousarray(array) for key, array in arrays.items()},
            {"about": json.dumps(about, sort_keys=True)},
        )
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            replace_file(self.folder / name, content)
            again, self._own[name] = name in self._sums, digest
            self._sums[name] = {digest}
            if again or not (self.folder / self._list).is_file():
                replace_file(self.folder / self._list, "".join(map(_line, self._own.items())).encode())
            else:
                with (self.folder / self._list).open("a+", encoding="utf-8", errors="replace") as file:
                    file.seek(0)
                    if _line((name, digest)) not in file.readlines():  # of another process that writes the same files
                        file.write(_line((name, digest)))
                    flush_file(file)

    def about(self, name: str) -> dict[str, Any]:
        """Read the description of a file.

        Raises:
            InputError: missing or damaged.
        """
        self._check(name)
        with self._open(name) as file:
            return parse_json((file.metadata() or {})["about"])

    def read(self, name: str, keys: Sequence[str], rows: Sequence[int] | None = None) -> dict[str, NDArray]:
        """Read the arrays ``keys`` that a file has, all rows of the first axis or those in ``rows``.

        Raises:
            InputError: missing, or a wrong checksum. It is verified when a file is first read, and again if it changes.
        """
        self._check(name)
        with self._open(name) as file:
            present = [key for key in keys if key in set(file.keys())]
            if rows is None:
                return {key: file.get_tensor(key) for key in present}
            return {key: np.concatenate([file.get_slice(key)[r : r + 1] for r in rows]) for key in present}

    def verify(self) -> Iterator[tuple[str, InputError | None]]:
        """Verify all files again; yields (name, error or None)."""
        for name in self.names:
            self._verified.pop(name, None)
            try:
                self._check(name)
                yield name, None
            except InputError as error:
                yield name, error

    def _open(self, name: str) -> Any:
        try:
            check_plain(self.folder / name)
            return safe_open(self.folder / name, "np")
        except (SafetensorError, OSError) as error:  # deleted or replaced since the check
            raise InputError(self.folder / name, "stored features", str(error), _HINT) from error

    def _check(self, name: str) -> None:
        path = self.folder / name
        expected = self._sums.get(name)
        if expected is None:
            raise InputError(path, f"a line in {SUMS}", "none", _HINT)
        try:
            stat = path.stat()
            state = stat.st_mtime_ns, stat.st_size
            if self._verified.get(name) == state:
                return
            actual = sha256_of(path)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise InputError(path, "stored features", f"no readable file ({error})", _HINT) from error
        if actual not in expected:
            wanted = " or ".join(f"{digest[:12]}…" for digest in sorted(expected))
            raise InputError(path, f"the bytes with SHA-256 {wanted}", f"{actual[:12]}…, damaged", _HINT)
        self._verified[name] = state

    def _read_sums(self) -> dict[str, set[str]]:
        """Name → checksums of all lists: processes with other rounding may have written the same file in turn. This
        process's own list loses an incomplete last line."""
        sums: dict[str, set[str]] = {}
        lists = sorted({*self.folder.glob(f"{SUMS}.*"), self.folder / SUMS} - {self.folder / self._list})
        for path in (*lists, self.folder / self._list):
            try:
                text = read_text(path, errors="replace") if path.is_file() else ""
            except OSError as error:
                raise InputError(
                    path, "checksums of features", f"nothing readable ({error.strerror})", _HINT
                ) from error
            complete = text[: text.rfind("\n") + 1]
            rows = (line.partition("  ") for line in complete.splitlines())
            found = {name: digest for digest, _, name in rows if name}
            for name, digest in found.items():
                sums.setdefault(name, set()).add(digest)
            if path.name == self._list:
                self._own = found
                if complete != text or complete.count("\n") > len(found):  # two processes add the same names
                    replace_file(path, "".join(map(_line, found.items())).encode())
        return sums


def replace_file(path: Path, content: bytes) -> None:
    """Write or replace a file atomically, see `core.io.atomic`.

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
