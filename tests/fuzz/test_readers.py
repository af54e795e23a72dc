"""Damaged files: every reader refuses them in a sentence, or reads finite numbers; soon, and in little memory.

Each reader gets its share of ``--fuzz-files`` (2,500 by default, 100,000 with `make fuzz`), always the same files.
"""

from __future__ import annotations

import os
import random
import zlib
from pathlib import Path

import pytest

from fuzz.corpus import READERS
from fuzz.judge import verdict
from fuzz.mutations import mutate

NO_FILES = {"a folder": Path.mkdir, "a link to itself": lambda path: path.symlink_to(path)}
"""Name → function that puts it where a file is expected. Some must not even be opened."""
if hasattr(os, "mkfifo"):
    NO_FILES |= {"a pipe": os.mkfifo, "a device without end": lambda path: path.symlink_to("/dev/zero")}
if os.path.exists("/proc/self/mem"):
    NO_FILES |= {"a file that cannot be read": lambda path: path.symlink_to("/proc/self/mem")}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files(reader, tmp_path, request):
    files = request.config.getoption("--fuzz-files")
    path = reader.write(tmp_path)
    good = path.read_bytes()
    assert verdict(lambda: reader.read(path), len(good))[0] == "accepted", "the file is good before it is damaged"
    rng = random.Random(zlib.crc32(reader.name.encode()))
    failures = {}
    for number in range(max(1, files // len(READERS))):
        bad = mutate(good, rng)
        path.write_bytes(bad)
        kind, seen = verdict(lambda: reader.read(path), len(bad), measure_memory=number % 10 == 0)
        if kind not in ("accepted", "refused"):
            failures.setdefault(f"{reader.name}, file {number}: {kind}: {seen}"[:200], bad[:2000])
            if kind == "hang":
                break  # the others would take as long
    for name, put in NO_FILES.items():
        path.unlink()
        put(path)
        kind, seen = verdict(lambda: reader.read(path), 0, hangs=10)
        if kind not in ("accepted", "refused"):
            failures[f"{reader.name}, {name} in its place: {kind}: {seen}"] = b""
        path.rmdir() if name == "a folder" else path.unlink()
        path.write_bytes(good)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize("when", ["before", "after the reader looked for it"])
def test_files_that_vanish(reader, when, tmp_path, monkeypatch):
    path = reader.write(tmp_path)
    path.unlink()
    if when != "before":
        for look in ("is_file", "exists"):
            real = getattr(Path, look)
            monkeypatch.setattr(Path, look, lambda p, real=real, **o: p.absolute() == path.absolute() or real(p, **o))
    assert verdict(lambda: reader.read(path), 0)[0] in ("accepted", "refused")


def test_there_are_rows_for_most_kinds_of_files():
    assert len({reader.name for reader in READERS}) == len(READERS) >= 80


def test_a_reader_that_hangs_is_stopped_and_named():
    def read() -> None:
        while True:
            pass

    assert verdict(read, 100, hangs=0.05) == ("hang", "stopped after 0.05 s")
