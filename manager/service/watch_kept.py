"""What a watcher keeps for those after it and for whoever asks: the file `watch.json` of the state folder, schema 1.

Its content is the last look, what providers told, attempts that are tried again later, and how the system starts it.
Who writes one part leaves the others as they are; a file that cannot be written keeps nobody from watching.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from manager.service.context import Context
from manager.service.starting import write_whole

LATE_LOOKS = 3
"""A watcher that has not looked for so many times its interval is not at work."""
RAREST_S = 59 * 60.0
"""The longest interval of a line of crontab: of one that an older version has installed nothing shorter is known."""


@dataclass(slots=True, kw_only=True)
class Tries:
    """Attempts on a run that could not be brought to its end."""

    count: int = 0
    next_at_s: float = 0.0
    """Unix time before which it is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One look at the providers."""

    at_s: float
    """Unix time in seconds."""
    left: tuple[str, ...]
    """Machines that no run uses and that were not ended, places that did not answer; a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStatus:
    """Whether somebody watches, and what was seen last."""

    is_running: bool
    """A watcher lives, on this host or another one that shares the folder."""
    pid: int | None
    """Of the watcher that looked last."""
    every_s: float | None
    """Between two looks of that watcher; None: it looked once."""
    looked_at_s: float | None
    """Unix time of the last look; None: never."""
    error: str | None
    """Why the last look failed."""
    last: dict[str, Any] | None
    """The last round, as `round_to_json` gives it."""
    providers: Asked | None
    """The last look at the providers; None: there was none."""
    installed_every_s: float | None
    """Between two looks of the watcher that the system starts; None: it starts none, or an older version had it do
    so."""
    installed_at_s: float | None
    """Unix time since which it does; None as above."""

    def is_late(self, now_s: float, *, is_installed: bool) -> bool:
        """Whether it should have looked by now.

        Args:
            now_s: Unix time in seconds.
            is_installed: the system is to start it.
        """
        every_s = self.every_s if self.is_running else None
        if every_s is None and is_installed:
            every_s = self.installed_every_s or RAREST_S
        since_s = max(self.looked_at_s or 0.0, self.installed_at_s or 0.0)
        return every_s is not None and since_s > 0 and now_s - since_s > LATE_LOOKS * every_s


def read_status(context: Context, *, is_running: bool) -> WatchStatus:
    """What is kept; a file that is not there or not whole tells nothing."""
    kept, installed = _read(context), _part(context, "installed")
    return WatchStatus(
        is_running=is_running,
        pid=kept.get("pid"),
        every_s=kept.get("every_s"),
        looked_at_s=kept.get("looked_at_s"),
        error=kept.get("error"),
        last=kept.get("last"),
        providers=read_asked(context),
        installed_every_s=installed.get("every_s"),
        installed_at_s=installed.get("at_s"),
    )


def keep_look(context: Context, look: Mapping[str, Any], asked: Asked | None, tries: Mapping[str, Tries]) -> None:
    """Keep what a watcher knows after a look.

    Args:
        context: surroundings.
        look: pid, every_s, looked_at_s, error, last.
        asked: the last look at the providers.
        tries: what is to be tried again, by run.
    """
    providers = {} if asked is None else {"asked_at_s": asked.at_s, "left": list(asked.left)}
    again = {run_id: [one.count, one.next_at_s] for run_id, one in tries.items()}
    _write(context, {**look, "providers": providers, "tries": again})


def read_asked(context: Context) -> Asked | None:
    """The last look at the providers."""
    kept = _part(context, "providers")
    return Asked(at_s=float(kept["asked_at_s"]), left=tuple(kept["left"])) if kept else None


def read_tries(context: Context) -> dict[str, Tries]:
    """When runs are tried again, by name."""
    kept = _part(context, "tries").items()
    return {run_id: Tries(count=int(count), next_at_s=float(next_at_s)) for run_id, (count, next_at_s) in kept}


def keep_installed(context: Context, every_s: float | None) -> None:
    """Keep how often the watcher that the system starts looks; None: it starts none any more."""
    installed = {} if every_s is None else {"every_s": every_s, "at_s": context.clock()}
    if every_s is not None or context.home.watch_file.exists():
        _write(context, {"installed": installed})


def _read(context: Context) -> dict[str, Any]:
    kept: Any = None
    with suppress(OSError, ValueError):
        kept = json.loads(context.home.watch_file.read_text(encoding="utf-8"))
    return kept if isinstance(kept, dict) else {}


def _part(context: Context, name: str) -> dict[str, Any]:
    part = _read(context).get(name)
    return part if isinstance(part, dict) else {}


def _write(context: Context, part: Mapping[str, Any]) -> None:
    content = {**_read(context), "schema": 1, **part}
    with suppress(OSError):
        write_whole(context.home.watch_file, json.dumps(content) + "\n")
