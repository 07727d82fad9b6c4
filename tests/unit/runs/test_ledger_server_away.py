"""A ledger on a server that goes away: supervision goes on, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import ExitCode, StateError
from manager.launch.engine import Evidence, Handle
from manager.runs import postgres, steady
from manager.runs.clients import Client
from manager.runs.database import LedgerAwayError
from manager.runs.ledger import Ledger
from manager.runs.outbox import OUTBOX_FILE
from manager.runs.reconcile import ReconcileAction, reconcile
from manager.runs.states import FINAL, RunState
from manager.runs.supervise import supervise
from manager.runs.updates import LogUpdate, Update
from tasks.protocol import Event, EventType
from tests.support.postgres_stage import PostgresServer, new_server, new_url, postgres_server
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order, plan
from tests.unit.runs.supervising_client import FAST

pytestmark = pytest.mark.postgres
RUN = "job-20260101-aaaa"


@pytest.fixture
def url() -> str:
    return new_url()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    postgres_server()
    server = new_server()
    yield server
    server.thaw()
    server.remove()


def create(ledger: Ledger, run_id: str = RUN, client: Client | None = None, **who: str) -> None:
    ledger.create_run(run_id, plan(), Path("/runs") / run_id, "sky", Decimal(4), 1000.0, client, who.get("user"))


class Losing(PlayedEngine):
    """The server goes away while the task runs, and comes back when the machine is down, or not."""

    def __init__(self, server: PostgresServer, *, comes_back: bool) -> None:
        super().__init__()
        self.server = server
        self.comes_back = comes_back
        self.confirm_after = 2

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield event(0, EventType.STARTED)
        time.sleep(0.3)
        self.server.stop()
        yield event(1)
        time.sleep(1.5)
        yield event(2, EventType.FINISHED, outcome="completed", steps=5)
        self._call("stream")

    def evidence(self, handle: Handle) -> Evidence:
        if self.comes_back and "evidence" in self.calls:
            self.server.start()
        return super().evidence(handle)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "RETRY_S", 0.1)
    monkeypatch.setattr(steady, "SETTLE_S", 20.0)
    monkeypatch.setattr(postgres, "ANSWER_TIMEOUT_S", 1.0)


@pytest.mark.usefixtures("_impatient")
def test_a_run_goes_on_without_its_server(own_server: PostgresServer, tmp_path: Path) -> None:
    """Machine down, proof stored, each event and second in the ledger when the server is back."""
    told: list[Update] = []
    engine = Losing(own_server, comes_back=True)
    url = own_server.new_database()
    with Ledger.connect(url) as ledger:
        outcome = supervise(order(tmp_path / "run"), engine, ledger, time.time, told.append, FAST)
    with Ledger.connect(url) as again:
        record = again.run(RUN)
        assert [item.seq for item in again.events(RUN)] == [0, 1, 2]
        assert not again.client_lives(RUN, time.time())
    assert "down" in engine.calls
    assert outcome.exit_code is ExitCode.DONE
    assert record == outcome.record
    assert record.state is RunState.SUCCEEDED
    assert [answer.confirmed for answer in record.evidence] == [False, True]
    assert record.billing_started_at_s is not None
    assert record.billing_ended_at_s == record.charges[-1].to_s
    assert [one.from_s for one in record.charges] == [
        record.billing_started_at_s,
        *(one.to_s for one in record.charges[:-1]),
    ]
    assert not (tmp_path / "run" / OUTBOX_FILE).exists()
    notes = [update.text for update in told if isinstance(update, LogUpdate) and update.source == "manager"]
    assert any("does not answer" in note and "the run goes on" in note for note in notes)


@pytest.mark.usefixtures("_impatient")
def test_what_a_server_never_heard_is_written_by_reconcile(
    own_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steady, "SETTLE_S", 0.2)
    engine = Losing(own_server, comes_back=False)
    url = own_server.new_database()
    with Ledger.connect(url, runs_dir=tmp_path) as ledger:
        with pytest.raises(StateError, match=r"has ended \(succeeded\), and the ledger does not know it") as caught:
            supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, FAST)
        assert engine.calls[-1] == "evidence"
        assert caught.value.hint is not None
        assert OUTBOX_FILE in caught.value.hint
        outbox = tmp_path / "run" / OUTBOX_FILE
        kept = outbox.read_text()
        with pytest.raises(LedgerAwayError, match="does not answer"):
            ledger.run(RUN)
        # The process that supervised is gone; so is its thread that waits for the server.
        monkeypatch.setattr(steady.SteadyLedger, "_write_kept", lambda *_: True)
        time.sleep(0.3)
        own_server.start()
        time.sleep(0.3)
        monkeypatch.undo()
        outbox.write_text(kept + '{"kind": "torn')
        assert ledger.run(RUN).state not in FINAL
        gone = ledger.client(RUN)
        assert gone is not None
        ledger.release(RUN, 1.0)
        (result,) = reconcile(ledger, {"played": PlayedEngine()}, time.time, lambda _: None, settings=FAST)
        assert result.action is ReconcileAction.CLOSED
        assert result.outcome is not None
        assert result.outcome.record.state is RunState.SUCCEEDED
        assert [item.seq for item in ledger.events(RUN)] == [0, 1, 2]
        assert ledger.run(RUN).evidence[-1].confirmed
        assert not outbox.exists()


@pytest.mark.usefixtures("_impatient")
def test_a_server_that_says_nothing_is_given_up(own_server: PostgresServer) -> None:
    """It keeps its connections, as a machine does that is stopped: nobody waits for ever, and it may come back."""
    with Ledger.connect(own_server.new_database(), patience_s=0.1) as ledger:
        create(ledger)
        own_server.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(LedgerAwayError, match="does not answer: no answer in time"):
                ledger.request_stop(RUN, 1.0, "why")
            assert time.monotonic() - began < 10
        finally:
            own_server.thaw()
        ledger.request_stop(RUN, 2.0, "later")
        request = ledger.stop_request(RUN)
        assert request is not None


@pytest.mark.usefixtures("_impatient")
def test_nothing_is_launched_without_the_server(own_server: PostgresServer, tmp_path: Path) -> None:
    engine = PlayedEngine()
    with Ledger.connect(own_server.new_database()) as ledger:
        own_server.stop()
        try:
            with pytest.raises(LedgerAwayError, match="does not answer"):
                supervise(order(tmp_path / "run"), engine, ledger, time.time, lambda _: None, FAST)
        finally:
            own_server.start()
    assert engine.calls == []
