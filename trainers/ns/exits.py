"""Print errors as one sentence and exit with a status, instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from ...core.errors import InputError, RunError


@contextmanager
def sentences() -> Iterator[None]:
    """Context manager that turns errors into a sentence on stderr and an exit status, as `app.cli.main` does.

    `InputError`: 2. `RunError`: 1. Ctrl-C: 130. Any other exception is a bug and keeps its traceback.
    """
    try:
        yield
    except InputError as error:
        print_stderr(str(error), "bold red")
        raise SystemExit(2) from None
    except RunError as error:
        print_stderr(str(error), "bold red")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print_stderr(
            "Interrupted at once; the same command continues from the last checkpoint, if there is one.", "bold yellow"
        )
        raise SystemExit(130) from None


def print_stderr(sentence: str, style: str) -> None:
    """Print one sentence on stderr without wrapping it."""
    Console(stderr=True).print(sentence, style=style, soft_wrap=True, markup=False, highlight=False)
