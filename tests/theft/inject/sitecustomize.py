"""Put the switches of tests.theft.guards into every module of a process as it is imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

from tests.theft.guards import SWITCHES


class Switching(importlib.abc.MetaPathFinder):
    """Finds what the others find, and patches it once it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a module that has a switch, with a loader that puts it in."""
        if name not in SWITCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader = spec.loader if spec else None
        if not isinstance(loader, importlib.machinery.SourceFileLoader):
            return None
        run = loader.exec_module

        def run_and_switch(module: ModuleType) -> None:
            run(module)
            SWITCHES[name](module)

        loader.exec_module = run_and_switch  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Switching())
