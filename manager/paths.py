"""Where tunefare keeps its state; `TUNEFARE_HOME` moves all of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from manager.errors import StateError

HOME_VARIABLE = "TUNEFARE_HOME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The folder of all state, and the places in it."""

    root: Path

    @property
    def config_file(self) -> Path:
        """Settings, TOML."""
        return self.root / "config.toml"

    @property
    def keys_file(self) -> Path:
        """Own keys of the terminal UI, TOML; there is none before the user writes one."""
        return self.root / "keys.toml"

    @property
    def assumptions_file(self) -> Path:
        """Own assumptions, TOML; there is none before the user writes one."""
        return self.root / "assumptions.toml"

    @property
    def ledger_file(self) -> Path:
        """SQLite."""
        return self.root / "ledger.sqlite3"

    @property
    def runs_dir(self) -> Path:
        """One folder a run: job, events, log, tuned model."""
        return self.root / "runs"

    @property
    def rendered_dir(self) -> Path:
        """Working directories of tasks printed by `run --render`."""
        return self.root / "rendered"

    @property
    def plans_dir(self) -> Path:
        """One JSON file a plan."""
        return self.root / "plans"

    @property
    def drafts_dir(self) -> Path:
        """Run files that are being edited and were not saved yet, one a process."""
        return self.root / "drafts"

    @property
    def watch_lock_file(self) -> Path:
        """Held by the one watcher of this folder while it lives."""
        return self.root / "watch.lock"

    @property
    def watch_file(self) -> Path:
        """JSON: when the watcher looked last, and what it found."""
        return self.root / "watch.json"

    @property
    def watch_log_file(self) -> Path:
        """What the watcher did; older ones beside it with a number."""
        return self.root / "watch.log"

    @property
    def tour_file(self) -> Path:
        """Empty; there once the first-run tour was seen or skipped."""
        return self.root / "tour-seen"

    @property
    def failures_dir(self) -> Path:
        """Details of defects of tunefare itself, a text file each; may be deleted at any time."""
        return self.root / "failures"

    @property
    def cache_dir(self) -> Path:
        """Measured data sets, copies of price catalogs, answers of clouds; may be deleted at any time."""
        return self.root / "cache"

    @property
    def prices_dir(self) -> Path:
        """The last good copy of each cloud's price catalog."""
        return self.cache_dir / "prices"

    @property
    def price_history_file(self) -> Path:
        """SQLite: when prices changed."""
        return self.cache_dir / "price-history.sqlite3"

    @property
    def answers_dir(self) -> Path:
        """What clouds answered about spot prices and quotas, dated."""
        return self.cache_dir / "clouds"

    def ensure(self) -> None:
        """Create the folder, readable by its owner only.

        Raises:
            StateError: it cannot be created or written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in (self.runs_dir, self.plans_dir, self.cache_dir):
                place.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"state folder {self.root} cannot be written: {error.strerror}",
                hint=f"choose another folder: export {HOME_VARIABLE}=/path/that/you/can/write",
            ) from error
        if not os.access(self.root, os.W_OK):
            raise StateError(
                f"state folder {self.root} is read-only",
                hint=f"choose another folder: export {HOME_VARIABLE}=/path/that/you/can/write",
            )


def find_home(environment: Mapping[str, str]) -> Home:
    """The state folder: `TUNEFARE_HOME`, else the user's data folder of the platform; nothing is created."""
    named = environment.get(HOME_VARIABLE)
    return Home(root=Path(named).expanduser().absolute() if named else user_data_path("tunefare", appauthor=False))
