"""`gaussiancross probe`: linear probing of a representation."""

from __future__ import annotations

from collections.abc import Sequence

from .finetune import main_of


def main(args: Sequence[str]) -> int:
    return main_of("probe", args)
