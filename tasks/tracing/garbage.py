"""Garbage collection: off while the libraries load and while a step is traced.

Imported before torch is there, so it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """No collections inside: they would free storages at moments of their own, and take up to a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
