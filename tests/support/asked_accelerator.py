"""Stands in for Accelerate's `Accelerator`: remembers what it was asked for, and trains alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def asking(asked: list[dict[str, Any]]) -> Callable[..., Any]:
    """What is put in its place; each call's settings are added to the list."""

    def make(**settings: Any) -> SimpleNamespace:
        asked.append(settings)
        return SimpleNamespace(num_processes=1)

    return make
