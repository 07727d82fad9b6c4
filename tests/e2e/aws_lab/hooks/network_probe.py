"""In each Python process of the lab: SkyPilot's question whether there is a network goes to the lab's own cloud.

The controller of a managed job asks public addresses before each look at a machine, and never recovers a job while
nobody answers. `tests.support.audited.sitecustomize` runs this file where TUNEFARE_TESTS_HOOK names it. Standard
library only: it runs before anything else of the process.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

PROBED_MODULE = "sky.backends.backend_utils"
ADDRESSES_NAME = "_TEST_IP_LIST"
PROBE_VARIABLE = "TUNEFARE_TESTS_NETWORK_PROBE"
"""The address to ask instead, on loopback."""


class _Redirecting(importlib.abc.Loader):
    """Loads the module as its own loader does, then gives it the other address."""

    def __init__(self, loader: importlib.abc.Loader, address: str) -> None:
        self._loader = loader
        self._address = address

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if not hasattr(module, ADDRESSES_NAME):
            raise ImportError(f"{PROBED_MODULE} of this SkyPilot asks elsewhere whether there is a network")
        setattr(module, ADDRESSES_NAME, [self._address])


class _Finder(importlib.abc.MetaPathFinder):
    """Stands before the path's own finder, for one module."""

    def __init__(self, address: str) -> None:
        self._address = address

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != PROBED_MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Redirecting(spec.loader, self._address)
        return spec


def redirect(address: str) -> None:
    """Let SkyPilot ask this address.

    Raises:
        ValueError: it is not on loopback.
    """
    if not address.startswith("http://127.0.0.1:"):
        raise ValueError(f"{address} is not on this machine")
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(address))


if PROBE_VARIABLE in os.environ:
    redirect(os.environ[PROBE_VARIABLE])
