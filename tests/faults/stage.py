"""What an engine has to offer so that faults can be tried on it; the program knows no engine beyond this."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from manager.errors import StateError
from manager.runs.ledger_reader import LedgerReader
from manager.runs.records import RunRecord
from tests.faults.trials import Fault, Trial
from tests.support.cli import Cli


class Scene(Protocol):
    """A state folder of its own in which one run is launched and disturbed."""

    cli: Cli
    run_arguments: tuple[str, ...]
    """After `tunefare run`."""
    patience_s: float
    """For a command, a client that lives or a run that was adopted to come to its end."""
    most_late_s: float
    """By which the bill may end after the last sign of the machine."""

    @property
    def home(self) -> Path:
        """The state folder."""
        ...

    @property
    def deeds(self) -> Mapping[Fault, Callable[[Trial], bool]]:
        """Faults that only this engine knows how to do; False: the run was over before it could be done."""
        ...

    def trainers(self) -> list[int]:
        """Pids of the training program, where it is on this machine."""
        ...

    def last_seen_s(self) -> float | None:
        """Unix time at which the machine of the run was last seen alive; None: never."""
        ...

    def written_seqs(self, record: RunRecord) -> list[int]:
        """Numbers of the events that the trainer wrote, in their order."""
        ...

    def left(self) -> tuple[str, ...]:
        """Processes and machines of the run that are there now; empty: none."""
        ...


class Stage(Protocol):
    """An engine with all that a run on it needs."""

    name: str
    faults: Sequence[Fault]
    """That can be tried here."""

    def scene(self, trial: Trial) -> AbstractContextManager[Scene]:
        """A fresh scene; whatever is left of it at its end is removed."""
        ...


def read_run(home: Path) -> RunRecord | None:
    """The one run of a state folder; None: not yet, or the ledger cannot be read at this moment."""
    file = home / "ledger.sqlite3"
    if not file.exists():
        return None
    try:
        with LedgerReader.open_for_reading(file, busy_timeout_s=30.0) as ledger:
            runs = ledger.runs()
    except StateError:
        return None
    return runs[0] if runs else None


def seqs_of(text: str) -> list[int]:
    """Numbers of the events in an events file; a torn line is none, it was never whole."""
    seqs = []
    for line in text.splitlines():
        try:
            seqs.append(int(json.loads(line)["seq"]))
        except (ValueError, KeyError, TypeError):
            continue
    return seqs


def stored_seqs(home: Path, run_id: str) -> list[int]:
    """Numbers of the events that the ledger has of a run."""
    file = home / "ledger.sqlite3"
    with LedgerReader.open_for_reading(file, busy_timeout_s=30.0) as ledger:
        return [event.seq for event in ledger.events(run_id)]
