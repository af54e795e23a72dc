"""Damage to files: to bytes, to numbers in text and headers, and to the nodes of JSON."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

INTEGERS = (0, 1, 2, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)
WORDS = (
    *("nan", "inf", "-inf", "1e309", "1e300", "-1e39", "-1", "0", "2147483648", "99999999999999999999", "9" * 400),
    *("1.2.3", "x", "", "é", "\0"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e309, -1e309, float("nan"), 1 << 31, 1 << 64, 1e30, 1e39, -1e300, 10**400),
    *("", "x" * 5000, "../../etc/passwd", "\udcff", [], {}, [[]], {"a": {}}),
)
DEEP = "[" * 100_000


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One damaged version of a file."""
    kinds: list[Callable[[bytes, random.Random], bytes]] = [
        _flip,
        _cut,
        _overwrite,
        _insert,
        _remove,
        _repeat,
        _integer,
    ]
    kinds += [_word] * 3
    if _json_of(data) is not None:
        kinds += [_node] * 6
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(kinds)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    """A position, half of the time near the beginning, where headers are."""
    return rng.randrange(min(len(data), 400) if rng.random() < 0.5 else len(data)) if data else 0


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 8))):
        if changed:
            changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at, size = _place(data, rng), rng.choice((1, 4, 64))
    return data[:at] + rng.randbytes(size) + data[at + size :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.choice((rng.randbytes(rng.choice((1, 3, 100))), b"\n" * 9, b"\0" * 64)) + data[at:]


def _remove(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 4, 100)) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at, size = _place(data, rng), rng.choice((8, 200))
    return data[:at] + data[at : at + size] * rng.choice((2, 20)) + data[at + size :]


def _integer(data: bytes, rng: random.Random) -> bytes:
    """Counts and sizes in binary headers."""
    at, width = _place(data, rng) // 4 * 4, rng.choice((2, 4, 8))
    value = rng.choice(INTEGERS) & ((1 << 8 * width) - 1)
    return data[:at] + value.to_bytes(width, rng.choice(("little", "little", "big"))) + data[at + width :]


def _word(data: bytes, rng: random.Random) -> bytes:
    """Numbers and names in text, also in the headers of binary files."""
    found = list(re.finditer(rb"[\w.+-]{1,40}", data[:20_000]))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(WORDS).encode() + data[match.end() :]


def _json_of(data: bytes) -> Any:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, (dict, list)) and content else None


def _node(data: bytes, rng: random.Random) -> bytes:
    """One node of a JSON tree: another value, gone, twice, renamed, or nested beyond any stack."""
    tree = _json_of(data)
    if tree is None:
        return data
    holder, key = rng.choice(list(_nodes(tree)))
    action = rng.randrange(6)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif action == 1:
        holder[rng.choice(("x", "frames", "file_path"))] = holder.pop(key)
    elif action == 2 and rng.random() < 0.3:
        holder[key] = "DEEP"
    else:
        holder[key] = rng.choice(VALUES)
    text = json.dumps(tree)
    return text.replace('"DEEP"', DEEP).encode(errors="replace")


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of at most some thousand nodes."""
    waiting = [tree]
    for _ in range(2000):
        if not waiting:
            return
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(min(len(holder), 40)):
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])
