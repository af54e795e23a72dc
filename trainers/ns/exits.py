"""How a run ends on a command line: with a sentence and a status, not with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from ...core.errors import InputError


@contextmanager
def sentences() -> Iterator[None]:
    """`InputError` → its sentence in red on standard error and status 2; Ctrl-C → a sentence and status 130. Anything
    else is a bug of ours and keeps its traceback."""
    try:
        yield
    except InputError as error:
        tell(str(error), "bold red")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        tell("Interrupted at once; nothing was saved since the last checkpoint.", "bold yellow")
        raise SystemExit(130) from None


def tell(sentence: str, style: str) -> None:
    """One sentence on standard error, never wrapped."""
    Console(stderr=True).print(sentence, style=style, soft_wrap=True, markup=False, highlight=False)
