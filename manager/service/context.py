"""What every verb needs to know of its surroundings, read once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from manager.config import Config, read_config
from manager.errors import StateError
from manager.paths import HOME_VARIABLE, Home, find_home


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """State folder, settings, environment and clock of one invocation."""

    home: Home
    config: Config
    environment: Mapping[str, str]
    user_home: Path
    """Where SkyPilot keeps its catalogs and configuration (`~`)."""
    clock: Callable[[], float]
    """Unix time in seconds."""


def open_context() -> Context:
    """The context of this process; nothing is created.

    Raises:
        ConfigError: the settings cannot be read.
        StateError: the state folder is a file.
    """
    home = find_home(os.environ)
    if home.root.exists() and not home.root.is_dir():
        raise StateError(
            f"state folder {home.root} is a file",
            hint=f"name a folder: export {HOME_VARIABLE}=/path/that/you/can/write",
        )
    return Context(
        home=home,
        config=read_config(home.config_file, os.environ),
        environment=dict(os.environ),
        user_home=Path.home(),
        clock=time.time,
    )
