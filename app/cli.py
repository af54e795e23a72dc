"""The command line.

Every command is a module with ``main(args) -> int | None``: arguments after the command's name → exit status. It is
imported when it is run, so that `gaussiancross --help` and `gaussiancross doctor` need no torch.
"""

from __future__ import annotations

import importlib
import os
import select
import sys
from collections.abc import Sequence
from traceback import print_exc

from ..core.errors import InputError, RunError

TRACEBACK = "--traceback"

COMMANDS = {
    "pretrain": ("gaussiancross.app.commands.pretrain", "pre-train on scenes with posed frames, with a viewer"),
    "eval": ("gaussiancross.app.commands.evaluate", "evaluate a run on held-out views, with pictures"),
    "view": ("gaussiancross.app.commands.view", "show a run, a capture, a scene or splats in the browser"),
    "query": ("gaussiancross.app.commands.query", "search a scene for phrases: heat maps, PLYs and JSON"),
    "export": ("gaussiancross.app.commands.export", "write pictures, videos, splats, features or an offline page"),
    "refine": ("gaussiancross.app.commands.refine", "optimise the Gaussians of a scene against its posed frames"),
    "prepare": ("gaussiancross.app.commands.prepare", "convert downloaded ScanNet, S3DIS and meshes for training"),
    "probe": ("gaussiancross.app.commands.probe", "linear probing, published protocol or quick"),
    "finetune": ("gaussiancross.app.commands.finetune", "fine-tune semantic segmentation, few labels included"),
    "embed": ("gaussiancross.app.commands.embed", "write per-point features of a scene as .npy"),
    "instances": ("gaussiancross.app.commands.instances", "train and score instance segmentation (PointGroup)"),
    "clipgs": ("gaussiancross.app.commands.clipgs", "objects as Gaussians: train CLIP-GS, classify, retrieve, embed"),
    "convert": ("gaussiancross.app.commands.convert", "convert weights from and to Pointcept's .pth files"),
    "features": ("gaussiancross.app.commands.features", "precompute a 2D teacher's features of a dataset"),
    "rooms": ("gaussiancross.app.commands.rooms", "draw the built-in rooms on one sheet"),
    "bench": ("gaussiancross.app.commands.bench", "run a benchmark; `bench` alone lists them"),
    "doctor": ("gaussiancross.app.commands.doctor", "report what works on this machine, and what to install"),
}
"""Name → module, one line of help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0: done. 1: a negative result (`doctor`), a `RunError` or an `OSError`. 2: an `InputError`. 130: Ctrl-C, or a
    signal that ended a training early, after a checkpoint. Errors are printed as one sentence on stderr, with
    ``--traceback`` after their traceback; any other exception is a bug and keeps its traceback.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if traceback := TRACEBACK in args:
        args.remove(TRACEBACK)
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args[0] == "--version":
        from importlib.metadata import version

        print(f"gaussiancross {version('gaussiancross')}")
        return 0
    name, rest = args[0], args[1:]
    try:
        if name not in COMMANDS:
            raise InputError(f"gaussiancross {name}", "one of " + ", ".join(COMMANDS), "an unknown command")
        try:
            return importlib.import_module(COMMANDS[name][0]).main(rest) or 0
        finally:
            sys.stdout.flush()  # before the interpreter does, which would print a traceback where the pipe is closed
    except (InputError, RunError) as error:
        if traceback:
            print_exc()
        complain(str(error))
        return 2 if isinstance(error, InputError) else 1
    except OSError as error:  # a file that may not be read, a folder in the place of a file, a broken disk
        if traceback:
            print_exc()
        if isinstance(error, BrokenPipeError) and discard_closed_stdout():
            return 1
        complain(f"{error.filename or name}: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        if traceback:
            print_exc()
        complain("Interrupted.")
        return 130
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "gaussiancross":
            raise
        complain(f"`gaussiancross {name}` needs the package {error.name!r}; `gaussiancross doctor` says how to get it.")
        return 2


def discard_closed_stdout() -> bool:
    """Whether nobody reads stdout any more, as after `| head`; what is left to write is then discarded."""
    stdout = sys.stdout.fileno()
    poll = select.poll()
    poll.register(stdout, select.POLLOUT)
    closed = any(events & select.POLLERR for _, events in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    return closed


def usage() -> str:
    """Text of `gaussiancross --help`."""
    lines = [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: gaussiancross COMMAND [options]",
            "",
            "Self-supervised 3D representation learning by Gaussian splatting, and a viewer to watch it learn.",
            "",
            *lines,
            "",
            "`gaussiancross COMMAND --help` shows a command's options; `gaussiancross --version` the version.",
            f"`{TRACEBACK}` with any command shows where in the program an error was raised.",
            "Exit status: 0 done, 1 a failure or a negative result, 2 unusable input, 130 interrupted.",
        ]
    )


def complain(message: str) -> None:
    """One sentence to stderr, red on a terminal."""
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}{message}{plain}", file=sys.stderr)
