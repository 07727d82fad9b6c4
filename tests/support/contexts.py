"""Surroundings of the service, in a folder of a test, at a fixed time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from manager.config import read_config
from manager.paths import Home
from manager.service.context import Context


def make_context(folder: Path, clock: Callable[[], float] = lambda: 1_790_000_000.0) -> Context:
    """A context whose state lies in `folder`; it exists."""
    home = Home(root=folder / "home")
    home.ensure()
    return Context(home=home, config=read_config(home.config_file, {}), environment={}, user_home=folder, clock=clock)
