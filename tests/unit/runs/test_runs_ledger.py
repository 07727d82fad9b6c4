"""The ledger: what is stored comes back, rules hold, and nothing is ever changed."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import StateError, UsageError
from manager.launch.engine import Evidence, Handle, Launched
from manager.runs.changes import Marks
from manager.runs.charges import charge
from manager.runs.clients import Client, lives, nobody, this_client
from manager.runs.ids import new_run_id
from manager.runs.ledger import Ledger
from manager.runs.migrations import LEDGER_VERSION
from manager.runs.records import StopRequest
from manager.runs.requote_rows import RequoteRow, RequoteStep, answer_in, open_until_s
from manager.runs.states import FINAL, MAY_BILL, TRANSITIONS, RunState
from tasks.protocol import EventType
from tests.support.postgres_stage import KEEPERS, ledger_opener
from tests.unit.runs.samples import PRICE, event, offer, plan

RUN = "job-20260101-aaaa"
TABLES = (
    *("runs", "state_changes", "handles", "launches", "failed_attempts"),
    *("events", "charges", "evidence", "clients", "stop_requests"),
    *("run_facts", "estimates", "bills", "milestones", "requotes"),
)


@pytest.fixture(params=KEEPERS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with ledger_opener(request.param, tmp_path / "home" / "ledger.db")() as opened:
        yield opened


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "home" / "ledger.db") as opened:
        yield opened


def create(ledger: Ledger, run_id: str = RUN, at_s: float = 1000.0) -> None:
    ledger.create_run(run_id, plan(), Path("/runs") / run_id, "local", Decimal("1.25"), at_s, this_client(at_s))


def launch(ledger: Ledger) -> None:
    create(ledger)
    handle = Handle(engine="local", run_dir="/runs/x", name=RUN, details={"pid": 7})
    ledger.store_handle(RUN, Handle(engine="local", run_dir="/runs/x", name=RUN, details={}), 1000.5)
    ledger.transition(RUN, RunState.LAUNCHING, 1001.0)
    attempts = ("aws had none",)
    launched = Launched(handle=handle, offer=offer(), billing_started_at_s=1002.0, failed_attempts=attempts)
    ledger.store_launched(RUN, launched, 1003.0)
    ledger.transition(RUN, RunState.RUNNING, 1003.0)


def test_a_run_comes_back_as_it_was_stored(ledger: Ledger) -> None:
    launch(ledger)
    ledger.append_events(RUN, [event(0), event(1)])
    first = charge(from_s=1002.0, to_s=1032.5, price_usd_per_hour=PRICE, at_s=1033.0)
    second = charge(from_s=1032.5, to_s=1040.0, price_usd_per_hour=PRICE, at_s=1041.0)
    evidence = Evidence(confirmed=True, asked_at_s=1042.0, source="s", answer="nothing", left=())
    ledger.add_charge(RUN, first)
    ledger.transition(RUN, RunState.TEARING_DOWN, 1039.0, "task ended")
    ledger.add_charge(RUN, second)
    assert ledger.run(RUN).billing_ended_at_s is None
    ledger.add_evidence(RUN, evidence)
    ledger.transition(RUN, RunState.SUCCEEDED, 1043.0)
    record = ledger.run(RUN)
    assert record.plan == plan()
    assert record.state is RunState.SUCCEEDED
    assert [change.state for change in record.history] == [
        "planned",
        "launching",
        "running",
        "tearing_down",
        "succeeded",
    ]
    assert record.cap_usd == Decimal("1.25")
    assert record.offer == offer()
    assert record.handle is not None
    assert record.handle.details == {"pid": 7}
    assert (record.billing_started_at_s, record.billing_ended_at_s) == (1002.0, 1040.0)
    assert record.charges == (first, second)
    assert record.cost_usd == Decimal("0.038000")
    assert record.evidence == (evidence,)
    assert record.failed_attempts == ("aws had none",)
    assert record.last_seq == 1
    assert ledger.run_events(RUN).events == (event(0), event(1))
    assert ledger.events(RUN, after_seq=0) == (event(1),)


def test_every_table_refuses_update_and_delete(in_file: Ledger, tmp_path: Path) -> None:
    ledger = in_file
    launch(ledger)
    ledger.append_events(RUN, [event(0), event(1, EventType.FINISHED, steps=3)])
    ledger.add_charge(RUN, charge(from_s=1002.0, to_s=1003.0, price_usd_per_hour=PRICE, at_s=1033.0))
    ledger.add_evidence(RUN, Evidence(confirmed=False, asked_at_s=1.0, source="s", answer="a", left=("x",)))
    ledger.request_stop(RUN, 1.0, "why")
    ledger.add_requote(RUN, RequoteRow(step=RequoteStep.RENEWED, at_s=1.0, text="t"))
    raw = sqlite3.connect(tmp_path / "home" / "ledger.db")
    for table in TABLES:
        assert raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0, table
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(f"UPDATE {table} SET run_id = 'x'")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(f"DELETE FROM {table}")
    raw.close()


@pytest.mark.parametrize("state", list(RunState))
def test_only_the_table_of_transitions_holds(ledger: Ledger, state: RunState) -> None:
    create(ledger)
    if state in TRANSITIONS[RunState.PLANNED]:
        ledger.transition(RUN, state, 1.0)
        assert ledger.state(RUN) is state
    else:
        with pytest.raises(StateError, match=f"is planned and cannot become {state}"):
            ledger.transition(RUN, state, 1.0)
        assert ledger.state(RUN) is RunState.PLANNED


def test_doubled_events_are_ignored_and_gaps_refused(ledger: Ledger) -> None:
    create(ledger)
    assert ledger.append_events(RUN, [event(0), event(1)]) == (event(0), event(1))
    assert ledger.append_events(RUN, [event(1), event(2)]) == (event(2),)
    with pytest.raises(StateError, match=r"events 3 to 3 .* are missing"):
        ledger.append_events(RUN, [event(2), event(4)])
    with pytest.raises(StateError, match=r"event 1 .* differs"):
        ledger.append_events(RUN, [event(1, code="other", message="m")])
    assert [item.seq for item in ledger.events(RUN)] == [0, 1, 2]


def test_a_batch_with_a_gap_is_stored_up_to_the_gap(ledger: Ledger) -> None:
    create(ledger)
    with pytest.raises(StateError, match=r"events 2 to 2 .* are missing"):
        ledger.append_events(RUN, [event(0), event(1), event(3)])
    assert ledger.events(RUN) == (event(0), event(1))
    assert ledger.append_events(RUN, [event(2), event(3)]) == (event(2), event(3))


def test_charges_touch(ledger: Ledger) -> None:
    launch(ledger)
    with pytest.raises(StateError, match="the bill stands at 1002"):
        ledger.add_charge(RUN, charge(from_s=1001.0, to_s=1003.0, price_usd_per_hour=PRICE, at_s=1.0))
    ledger.add_charge(RUN, charge(from_s=1002.0, to_s=1003.0, price_usd_per_hour=PRICE, at_s=1.0))
    for from_s in (1002.5, 1003.5):
        with pytest.raises(StateError, match="the bill stands at 1003"):
            ledger.add_charge(RUN, charge(from_s=from_s, to_s=1009.0, price_usd_per_hour=PRICE, at_s=1.0))


def test_runs_are_found_by_a_unique_beginning(ledger: Ledger) -> None:
    create(ledger, "job-20260101-aaaa", 1.0)
    create(ledger, "job-20260101-abbb", 2.0)
    assert ledger.run("job-20260101-aa").run_id == "job-20260101-aaaa"
    with pytest.raises(UsageError, match="2 runs start with"):
        ledger.run("job")
    with pytest.raises(UsageError, match="no run is called 'jobs'"):
        ledger.run("jobs")
    with pytest.raises(UsageError, match="no run"):
        ledger.run("")
    assert [record.run_id for record in ledger.runs()] == ["job-20260101-abbb", "job-20260101-aaaa"]
    with pytest.raises(StateError, match="already has"):
        create(ledger)


def test_runs_by_state(ledger: Ledger) -> None:
    launch(ledger)
    create(ledger, "b")
    assert ledger.run_ids(MAY_BILL) == (RUN,)
    assert ledger.run_ids(MAY_BILL | {RunState.PLANNED}) == ("b", RUN)
    assert ledger.run_ids(FINAL) == ()


def test_a_run_is_claimed_once(ledger: Ledger) -> None:
    create(ledger)
    seen = ledger.client(RUN)
    assert ledger.claim(RUN, this_client(5.0), instead_of=seen)
    assert not ledger.claim(RUN, this_client(6.0), instead_of=seen)
    assert lives(ledger.client(RUN), last_activity_s=0.0, now_s=1e9)
    ledger.release(RUN, 7.0)
    assert not lives(ledger.client(RUN), last_activity_s=7.0, now_s=7.0)


def test_a_client_elsewhere_lives_while_it_writes() -> None:
    other = Client(row_id=1, at_s=0.0, host="elsewhere.invalid", pid=1, created_at_s=0.0)
    assert lives(other, last_activity_s=1000.0, now_s=1100.0)
    assert not lives(other, last_activity_s=1000.0, now_s=1000.0 + 3600)
    assert not lives(nobody(1.0), last_activity_s=1.0, now_s=1.0)
    assert not lives(None, last_activity_s=1.0, now_s=1.0)


def test_stop_requests_are_seen_by_another_connection(ledger: Ledger) -> None:
    create(ledger)
    with ledger.reopen() as other:
        assert other.stop_request(RUN) is None
        ledger.request_stop(RUN, 1.0, "enough")
        assert other.stop_request(RUN) == StopRequest(detail="enough", now=False)


def test_what_became_of_a_renewed_quote_is_seen_by_another_connection(ledger: Ledger) -> None:
    create(ledger)
    asked = RequoteRow(step=RequoteStep.ASKED, at_s=2.0, text="without an answer it goes on", until_s=122.0)
    rows = (
        RequoteRow(step=RequoteStep.RENEWED, at_s=1.0, text="now $2.00, quoted $1.00"),
        asked,
        RequoteRow(step=RequoteStep.ANSWERED, at_s=3.0, text="answered by ann: end", goes_on=False),
    )
    with ledger.reopen() as other:
        for row in rows[:2]:
            ledger.add_requote(RUN, row)
        assert open_until_s(other.requotes(RUN), 121.0) == 122.0
        assert open_until_s(other.requotes(RUN), 122.0) is None
        other.add_requote(RUN, rows[2])
    assert ledger.requotes(RUN) == rows
    assert answer_in(ledger.requotes(RUN)) is False
    assert open_until_s(ledger.requotes(RUN), 4.0) is None
    assert answer_in((*rows, asked)) is None
    changes = ledger.changes(RUN, Marks(), most_events=10)
    assert changes.requotes == rows
    assert ledger.changes(RUN, changes.marks, most_events=10).requotes == ()


def test_run_ids_carry_name_date_and_four_letters() -> None:
    run_id = new_run_id("bbc-news", 1_790_000_000.0, random.Random(1))
    assert re.fullmatch(r"bbc-news-20260921-[a-z2-7]{4}", run_id)
    assert run_id != new_run_id("bbc-news", 1_790_000_000.0, random.Random(2))


@pytest.mark.usefixtures("in_file")
def test_the_version_is_written(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "home" / "ledger.db")
    assert raw.execute("PRAGMA user_version").fetchone()[0] == LEDGER_VERSION
    assert raw.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    raw.close()
