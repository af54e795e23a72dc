"""Networks and their layers. `SpUNet` can be imported from here; torch is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .spunet import SpUNet

__all__ = ["SpUNet"]


def __getattr__(name: str) -> Any:
    """Import a public name on first access (PEP 562)."""
    if name != "SpUNet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .spunet import SpUNet

    globals()[name] = SpUNet
    return SpUNet


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
