"""Signs of life: a client that writes nothing else must not look dead to a watcher."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.launch.engine import Handle, MachineState
from manager.runs.beats import beating
from manager.runs.clients import this_client
from manager.runs.ledger import Ledger
from manager.runs.reconcile import reconcile
from manager.runs.session import Session, SuperviseSettings, Voice
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from tasks.protocol import Event
from tests.support.postgres_stage import KEEPERS, ledger_opener
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order, plan
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"
SETTINGS = replace(FAST, charge_interval_s=0.1)


@pytest.fixture(params=KEEPERS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with ledger_opener(request.param, tmp_path / "ledger.db")() as opened:
        yield opened


class Slow(PlayedEngine):
    """What it does takes time; how old the newest row of its run was meanwhile is kept."""

    def __init__(self, slow: str) -> None:
        super().__init__()
        self.slow = slow
        self.silences_s: list[float] = []
        self.ledger: Ledger | None = None

    def _call(self, name: str) -> None:
        super()._call(name)
        if name == self.slow:
            self.wait()

    def wait(self) -> None:
        assert self.ledger is not None
        with self.ledger.reopen() as other:
            for _ in range(12):
                time.sleep(0.1)
                self.silences_s.append(time.time() - other.last_activity_s(RUN))


class Billing(Slow):
    """A managed job whose provider is silent: nothing is billed while it runs."""

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield event(0)
        self.wait()
        self._call("stream")

    def machines(self, _handle: Handle) -> object:
        return _NoTimes()


class _NoTimes:
    machines = ()
    known_to_s = 0.0


def create(ledger: Ledger, tmp_path: Path) -> None:
    client = this_client(1000.0)
    ledger.create_run(RUN, plan(), tmp_path / "run", "played", Decimal(4), 1000.0, client)


def test_a_sign_of_life_is_of_the_client_that_supervises(ledger: Ledger, tmp_path: Path) -> None:
    create(ledger, tmp_path)
    ledger.beat(RUN, 2000.0)
    mine = ledger.client(RUN)
    assert mine is not None
    assert (mine.at_s, mine.pid) == (2000.0, this_client(0.0).pid)
    assert ledger.last_activity_s(RUN) == 2000.0
    assert ledger.claim(RUN, replace(this_client(3000.0), pid=1), instead_of=mine)
    taken = ledger.client(RUN)
    ledger.beat(RUN, 4000.0)
    assert ledger.client(RUN) == taken, "whoever lost a run does not take it back"
    ledger.release(RUN, 5000.0)
    ledger.beat(RUN, 6000.0)
    assert ledger.last_activity_s(RUN) == 5000.0


@pytest.mark.parametrize(("made", "slow"), [(Slow, "fetch"), (Slow, "submit"), (Billing, "nothing")])
def test_a_run_shows_life_while_nothing_is_charged(ledger: Ledger, tmp_path: Path, made: type[Slow], slow: str) -> None:
    engine = made(slow)
    engine.ledger = ledger
    supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, SETTINGS)
    assert len(engine.silences_s) == 12
    assert max(engine.silences_s) < 1.0


def test_an_adopter_shows_life_while_it_fetches_what_a_lost_machine_left(ledger: Ledger, tmp_path: Path) -> None:
    engine = Slow("fetch")
    engine.ledger, engine.machine = ledger, MachineState.GONE
    run = order(tmp_path / "run")
    launched = engine.submit(run.request, engine.reserve(run.request))
    ledger.create_run(RUN, run.plan, run.request.run_dir, engine.name, None, time.time())
    ledger.transition(RUN, RunState.LAUNCHING, time.time())
    ledger.store_launched(RUN, launched, time.time())
    ledger.transition(RUN, RunState.RUNNING, time.time())
    reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=SETTINGS)
    assert len(engine.silences_s) >= 12
    assert max(engine.silences_s) < 1.0


def session_of(ledger: Ledger, tmp_path: Path, settings: SuperviseSettings) -> Session:
    return Session.resume(
        ledger.run(RUN),
        engine=PlayedEngine(),
        ledger=ledger,
        clock=time.time,
        tell=Voice(lambda _: None),
        settings=settings,
    )


def test_a_call_that_hangs_shows_no_life_for_ever(ledger: Ledger, tmp_path: Path) -> None:
    create(ledger, tmp_path)
    session = session_of(ledger, tmp_path, replace(SETTINGS, charge_interval_s=0.05))
    with beating(session, most_s=0.4):
        time.sleep(0.3)
        assert time.time() - ledger.last_activity_s(RUN) < 0.25
        time.sleep(0.9)
        assert time.time() - ledger.last_activity_s(RUN) > 0.4
    assert "signs-of-life" not in {thread.name for thread in threading.enumerate()}
