"""Import hook for the module paths in nerfstudio's ``config.yml`` files of version 0.1.

nerfstudio writes the module of every config class into ``config.yml``. Runs from before the modules moved name paths
that no longer exist; the hook imports the new modules instead. It runs only after every other finder has failed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_PACKAGE = __name__.removesuffix(".trainers.ns.moved_modules")

MOVED_MODULES = {
    f"{_PACKAGE}.core.augment": f"{_PACKAGE}.core.data.augment",
    f"{_PACKAGE}.core.batch": f"{_PACKAGE}.core.data.batch",
    f"{_PACKAGE}.trainers.config": f"{_PACKAGE}.trainers.pretraining.config",
}
"""Module path in older files → current module path."""


class MovedModuleFinder(MetaPathFinder, Loader):
    """Imports a module of `MOVED_MODULES` under its older path; both paths share their classes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED_MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        moved = import_module(MOVED_MODULES[module.__name__])
        module.__dict__.update({name: value for name, value in vars(moved).items() if not name.startswith("__")})


def install() -> None:
    """Add the hook to `sys.meta_path`, once."""
    if not any(isinstance(finder, MovedModuleFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedModuleFinder())
