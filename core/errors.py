"""The one exception that a person is meant to read."""

from __future__ import annotations

from os import PathLike


class InputError(ValueError):
    """Something a person gave us cannot be used.

    Command lines print ``str(error)`` alone and exit with status 2; anything else that escapes is a bug of ours and
    keeps its traceback. The message is one sentence: which file, what was expected, what was found, what to do.

    Args:
        where: the file, folder or argument at fault.
        expected: what should have been there.
        found: what is there.
        hint: what to do about it (optional).
    """

    def __init__(self, where: str | PathLike[str], expected: str, found: str, hint: str = "") -> None:
        message = f"{where}: expected {expected}, found {found}"
        super().__init__(f"{message}; {hint}." if hint else f"{message}.")
