"""What every verb needs to know of its surroundings, read once."""

from __future__ import annotations

import getpass
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from manager.config import Config, config_anyway, read_config
from manager.errors import ConfigError, StateError
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

    @property
    def ledger_url(self) -> str | None:
        """Of the server that holds the ledger, with its secrets; None: a file does."""
        return self.config.text("ledger_url") or None

    @property
    def has_ledger(self) -> bool:
        """Whether there is one to read: a server always has, a file comes with the first run."""
        return self.ledger_url is not None or self.home.ledger_file.exists()

    @property
    def user(self) -> str:
        """Who launches runs here: the setting, else login name @ host name."""
        return self.config.text("user") or f"{_login_name()}@{platform.node()}"


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
    return _context_of(home, read_config(home.config_file, os.environ))


def open_context_anyway() -> tuple[Context, ConfigError | None]:
    """As `open_context`, also where the settings cannot be read: then with the defaults, and why.

    Raises:
        StateError: the state folder is a file.
    """
    try:
        return open_context(), None
    except ConfigError as error:
        return _context_of(find_home(os.environ), config_anyway(os.environ)), error


def _context_of(home: Home, config: Config) -> Context:
    point_at_api_server(config)
    return Context(
        home=home,
        config=config,
        environment=dict(os.environ),
        user_home=Path.home(),
        clock=time.time,
    )


def point_at_api_server(config: Config) -> None:
    """Have SkyPilot's workers ask the server that the settings name."""
    endpoint, module = config.text("api_server") or None, "manager.launch.sky_worker"
    if endpoint is not None or module in sys.modules:
        from manager.launch.sky_worker import use_api_server  # most invocations have no use for SkyPilot

        use_api_server(endpoint)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a user without a name
        return f"uid-{os.getuid()}"
