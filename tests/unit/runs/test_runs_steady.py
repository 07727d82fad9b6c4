"""What a ledger refuses that was away for a while is told, whoever swallows it on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import StateError
from manager.runs import steady
from manager.runs.clients import this_client
from manager.runs.database import LedgerAwayError
from manager.runs.ledger import Ledger
from manager.runs.outbox import Entry, write_entry
from manager.runs.session import Session, Voice
from manager.runs.states import RunState
from manager.runs.steady import SteadyLedger
from manager.runs.teardown import release
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import plan
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        opened.create_run(RUN, plan(), tmp_path / "run", "played", Decimal(4), 1000.0, this_client(1000.0))
        yield opened


class Server:
    """Is away for a while; then it refuses what was kept."""

    def __init__(self) -> None:
        self.is_away = False
        self.refuses = False

    def write(self, ledger: Ledger, run_id: str, entry: Entry, *, again: bool) -> None:
        if self.is_away:
            raise LedgerAwayError("the server does not answer")
        if again and self.refuses:
            raise StateError("another machine went on")
        write_entry(ledger, run_id, entry, again=again)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    played = Server()
    monkeypatch.setattr(steady, "write_entry", played.write)
    monkeypatch.setattr(steady, "RETRY_S", 0.05)
    monkeypatch.setattr(steady, "SETTLE_S", 5.0)
    return played


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refused(ledger: Ledger, server: Server, tmp_path: Path) -> SteadyLedger:
    """A ledger that was away when the run entered a state, and has refused it since."""
    known = SteadyLedger(ledger, RUN, tmp_path / "run", lambda _: None)
    server.is_away = True
    known.transition(RUN, RunState.LAUNCHING, 1001.0)
    server.refuses, server.is_away = True, False
    wait(lambda: known._away is None)
    return known


def test_a_refusal_that_the_end_swallows_is_raised_when_the_run_is_settled(
    ledger: Ledger, server: Server, tmp_path: Path
) -> None:
    known = refused(ledger, server, tmp_path)
    session = Session.resume(
        ledger.run(RUN),
        engine=PlayedEngine(),
        ledger=known,
        clock=time.time,
        tell=Voice(lambda _: None),
        settings=FAST,
    )
    release(session)
    with pytest.raises(StateError, match="refuses what was kept: another machine went on"):
        known.settle()


def test_after_a_refusal_the_end_of_the_run_is_written_all_the_same(
    ledger: Ledger, server: Server, tmp_path: Path
) -> None:
    known = refused(ledger, server, tmp_path)
    with pytest.raises(StateError, match="refuses"):
        known.transition(RUN, RunState.TEARING_DOWN, 1002.0)
    ledger.transition(RUN, RunState.LAUNCHING, 1001.0)
    known.transition(RUN, RunState.TEARING_DOWN, 1003.0)
    assert ledger.state(RUN) is RunState.TEARING_DOWN
    with pytest.raises(StateError, match="refuses"):
        known.settle()


def test_a_sign_of_life_is_not_kept_for_a_server_that_is_away(ledger: Ledger, server: Server, tmp_path: Path) -> None:
    known = SteadyLedger(ledger, RUN, tmp_path / "run", lambda _: None)
    server.is_away = True
    known.transition(RUN, RunState.LAUNCHING, 1001.0)
    known.beat(RUN, 2000.0)
    server.is_away = False
    known.settle()
    assert ledger.last_activity_s(RUN) == 1001.0
    known.beat(RUN, 3000.0)
    assert ledger.last_activity_s(RUN) == 3000.0
