"""Damaged files: every reader refuses them in a sentence, or reads finite numbers; soon, and in little memory.

Each reader gets its share of ``--fuzz-files`` (2,500 by default, 100,000 with `make fuzz`), always the same files.
"""

from __future__ import annotations

import random
import zlib

import pytest

from fuzz.corpus import READERS
from fuzz.judge import verdict
from fuzz.mutations import mutate


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
            failures.setdefault(f"{kind}: {seen}"[:160], bad[:2000])
    assert not failures, "\n".join(failures)


def test_there_are_rows_for_most_kinds_of_files():
    assert len({reader.name for reader in READERS}) == len(READERS) >= 64
