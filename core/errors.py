"""Errors with a message for the user."""

from __future__ import annotations

from os import PathLike

MOST_LETTERS = 500
"""Longest part of a message; what parsers say about a damaged file may quote all of it."""


class InputError(ValueError):
    """Unusable input of the user.

    Command lines print ``str(error)`` without a traceback and exit with status 2. The message is one sentence: which
    file or argument, what was expected, what was found, what to do.

    Args:
        where: the file, folder or argument.
        expected: the expected content or value.
        found: the actual content or value.
        hint: the remedy (optional).
    """

    def __init__(self, where: str | PathLike[str], expected: str, found: str, hint: str = "") -> None:
        message = f"{_short(str(where))}: expected {_short(expected)}, found {_short(found)}"
        super().__init__(f"{message}; {hint}." if hint else f"{message}.")


class RunError(RuntimeError):
    """A failure at run time that is not caused by input, such as a lack of memory or a killed worker process.

    Command lines print ``str(error)`` without a traceback and exit with status 1.

    Args:
        problem: the failure, as a sentence without full stop.
        hint: the remedy (optional).
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem}; {hint}." if hint else f"{problem}.")


def first_line(error: BaseException) -> str:
    """First line of an error's message, at most 200 letters, or its type."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
