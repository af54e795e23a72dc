"""Run all checks, and print their results as a table; plain lines if rich is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ...core.errors import first_line
from . import checks
from .checks import Check

SYMBOLS: dict[str, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "idle": ("–", "dim"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "red"),
}
"""State → symbol and colour."""


def run_checks(deep: bool = False) -> list[Check]:
    """Results of all checks in the order of the report. A check that raises is reported as failed.

    Args:
        deep: also run the kernels.
    """
    parts: list[tuple[str, Callable[[], Check]]] = [
        ("Python", checks.check_python),
        ("packages", checks.check_packages),
        ("torch", checks.check_torch),
        ("numba", checks.check_numba),
        ("embreex", checks.check_embreex),
        ("viser", checks.check_viser),
        ("CUDA", checks.check_cuda),
        ("nvcc", checks.check_nvcc),
        ("gsplat", checks.check_gsplat),
        ("spconv", checks.check_spconv),
        ("device", partial(checks.check_device, deep)),
        ("nerfstudio", checks.check_nerfstudio),
        *((name, partial(checks.check_optional, name)) for name in checks.OPTIONAL),
        ("memory", checks.check_memory),
        ("disk", checks.check_disk),
    ]
    if deep:
        parts += [(f"kernels ({d.upper()})", partial(checks.check_kernels, d)) for d in ("cpu", "cuda")]
    results = []
    for name, check in parts:
        try:
            results.append(check())
        except Exception as error:  # a half-installed package can raise anything
            results.append(Check(name, "fail", f"{type(error).__name__}: {first_line(error)}", ""))
    return results


def is_healthy(results: Sequence[Check]) -> bool:
    """Whether training and viewing work on the CPU of this machine."""
    return all(result.state != "fail" for result in results)


def print_report(results: Sequence[Check]) -> None:
    """Print the results as a table, then the commands that fix problems."""
    fixes = [result for result in results if result.fix]
    verdict = "The CPU path works." if is_healthy(results) else "The CPU path does not work on this machine."
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        for result in results:
            print(f"{SYMBOLS[result.state][0]} {result.name}: {result.detail}")
        for result in fixes:
            print(f"{result.name}: {result.fix}")
        print(verdict)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for result in results:
        symbol, style = SYMBOLS[result.state]
        table.add_row(f"[{style}]{symbol}[/]", f"[bold]{result.name}[/]", escape(result.detail))
    console = Console()
    console.print(table)
    if fixes:
        console.print("\n[bold]To fix or add[/]")
        for result in fixes:
            # Not wrapped, so that a command can be copied whole.
            console.print(f"  {result.name}: [cyan]{escape(result.fix)}[/]", soft_wrap=True, highlight=False)
    console.print(f"\n[{'green' if is_healthy(results) else 'red'}]{verdict}[/]")
