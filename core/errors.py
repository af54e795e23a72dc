"""Errors whose message is meant for the user."""

from __future__ import annotations

from os import PathLike


class InputError(ValueError):
    """Input from the user that cannot be used.

    Command lines print ``str(error)`` without a traceback and exit with status 2. The message is one sentence: which
    file or argument, what was expected, what was found, what to do.

    Args:
        where: the file, folder or argument at fault.
        expected: what should have been there.
        found: what is there.
        hint: what to do about it (optional).
    """

    def __init__(self, where: str | PathLike[str], expected: str, found: str, hint: str = "") -> None:
        message = f"{where}: expected {expected}, found {found}"
        super().__init__(f"{message}; {hint}." if hint else f"{message}.")


class RunError(RuntimeError):
    """A failure at run time that no input caused: memory that ran out, a worker process that ended.

    Command lines print ``str(error)`` without a traceback and exit with status 1.

    Args:
        problem: what happened, as a sentence without its full stop.
        hint: what to do about it (optional).
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem}; {hint}." if hint else f"{problem}.")
