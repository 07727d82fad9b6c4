"""Ends carried out by a process of their own: they outlive hang-ups and whoever asked, and say what they learnt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import EngineError, UsageError
from manager.launch.engine import Evidence
from manager.runs.states import FINAL, RunState
from manager.service import ending
from manager.service.context import Context
from manager.service.ending import entry_from_json, entry_to_json, start_panic, start_stop
from manager.service.panic import panic_targets
from manager.service.panic_report import PanicEntry, PanicUpdate
from tests.support.contexts import make_context
from tests.unit.runs.client_stage import RUN, Home

ASKS_AND_DIES = """
import os, sys, time
from manager.service.context import open_context
from manager.service.ending import start_stop
start_stop(open_context(), sys.argv[1], now=True)
os._exit(0)
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    # Processes of their own look for an account there.
    monkeypatch.setenv("HOME", str(tmp_path))
    return make_context(tmp_path, clock=time.time)


@pytest.fixture
def home(context: Context) -> Iterator[Home]:
    opened = Home(context.home.runs_dir, context.home.ledger_file)
    yield opened
    opened.close()


def orphan(home: Home, run_id: str = RUN) -> None:
    """A task that trains; its client is dead."""
    client = home.start(run_id, steps=10_000, step_s=0.05)
    home.wait_for_events(3, run_id)
    home.kill(client)


def test_a_hang_up_does_not_stop_a_panic(context: Context, home: Home) -> None:
    orphan(home)
    begun = start_panic(context, panic_targets(context))
    told: list[PanicUpdate] = []

    def hang_up(update: PanicUpdate) -> None:
        if not told:
            os.kill(begun.process.pid, signal.SIGHUP)
        told.append(update)

    (entry,) = begun.follow(hang_up)
    assert (entry.run_id, entry.state, entry.is_gone) == (RUN, RunState.STOPPED, True)
    assert entry.evidence is not None
    assert entry.evidence.confirmed
    assert len(told) > 1
    assert home.processes() == 0


def test_a_run_without_a_client_is_ended_although_who_asked_is_gone(context: Context, home: Home) -> None:
    orphan(home)
    environment = {**os.environ, "TUNEFARE_HOME": str(context.home.root)}
    subprocess.run([sys.executable, "-P", "-c", ASKS_AND_DIES, RUN], env=environment, check=True, timeout=60)
    home.wait(lambda: home.ledger.state(RUN) in FINAL)
    assert home.ledger.run(RUN).evidence[-1].confirmed
    assert home.processes() == 0


def test_the_process_is_in_a_session_of_its_own(context: Context, home: Home) -> None:
    orphan(home)
    begun = start_stop(context, RUN, now=True)
    assert os.getsid(begun.process.pid) == begun.process.pid
    (entry,) = begun.follow(lambda _: None)
    assert entry.is_gone


def test_an_error_of_the_end_reaches_who_asked(context: Context) -> None:
    with pytest.raises(UsageError, match="no run is called 'nothing-like-it'") as caught:
        start_stop(context, "nothing-like-it", now=False).follow(lambda _: None)
    assert caught.value.hint == "List them with `tunefare runs`."


def test_a_process_that_is_killed_is_told_of(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(EngineError, match=r"exit status 3.*MAY STILL BE BILLED"):
        start_stop(context, RUN, now=False).follow(lambda _: None)


def test_no_process_is_told_of(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "COMMAND", ("/nowhere/python",))
    with pytest.raises(EngineError, match="no process can be started"):
        start_stop(context, RUN, now=False)


@pytest.mark.parametrize("is_known", [True, False])
def test_an_entry_travels_whole(is_known: bool) -> None:
    proof = Evidence(confirmed=False, asked_at_s=1.5, source="s", answer="a", left=("node-1",))
    entry = PanicEntry(
        run_id=RUN,
        state=RunState.UNCONFIRMED if is_known else None,
        is_gone=False,
        told="not gone",
        evidence=proof if is_known else None,
        cost_usd=Decimal("0.10") if is_known else None,
        commands=("one", "two"),
    )
    assert entry_from_json(entry_to_json(entry)) == entry
