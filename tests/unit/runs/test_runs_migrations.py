"""A ledger of an older version: nothing of it is lost, and lists find what they need of its runs."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from manager.planner.codec import plan_to_text
from manager.runs import rows
from manager.runs.bills import bill_of
from manager.runs.charges import charge
from manager.runs.ledger import Ledger
from manager.runs.migrations import LEDGER_VERSION, MIGRATIONS
from manager.runs.states import RunState
from tasks.protocol import EventType
from tests.unit.runs.samples import PRICE, event, offer, plan

RUN = "job-20260101-aaaa"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def ledger_of_version_1(path: Path, plan_json: str) -> sqlite3.Connection:
    """As the first version wrote it: a run with two charges, four events and a stop request."""
    db = sqlite3.connect(path, isolation_level=None)
    MIGRATIONS[0](db)
    db.execute("PRAGMA user_version = 1")
    db.execute("INSERT INTO runs VALUES (?, 1000.0, ?, '/runs/x', 'local', '1.25')", (RUN, plan_json))
    for state in (RunState.PLANNED, RunState.LAUNCHING, RunState.RUNNING):
        db.execute("INSERT INTO state_changes (run_id, state, at_s) VALUES (?, ?, 1001.0)", (RUN, str(state)))
    db.execute("INSERT INTO launches VALUES (?, 1003.0, ?, 1002.0)", (RUN, rows.offer_to_json(offer())))
    for from_s, to_s in ((1002.0, 1032.0), (1032.0, 1062.0)):
        add_old_charge(db, from_s, to_s)
    scores = {"stage": "baseline", "split": "test", "step": 0, "metrics": {"accuracy": 0.5, "roc_auc": None}}
    told = (
        event(0, EventType.STARTED, resumed_from_step=None),
        event(1, EventType.EVALUATION, **scores),
        event(2, EventType.TRAIN, step=1, loss=0.5),
        event(3, EventType.FINISHED, steps=5, best={"metric": "accuracy", "value": 0.75, "step": 4}),
    )
    for item in told:
        db.execute("INSERT INTO events VALUES (?, ?, ?)", (RUN, item.seq, item.to_line()))
    db.execute("INSERT INTO stop_requests (run_id, at_s, detail) VALUES (?, 1.0, 'why')", (RUN,))
    return db


def add_old_charge(db: sqlite3.Connection, from_s: float, to_s: float) -> None:
    """As a client of the first version adds it."""
    row = rows.charge_to_row(charge(from_s=from_s, to_s=to_s, price_usd_per_hour=PRICE, at_s=to_s))
    db.execute(
        "INSERT INTO charges (run_id, at_s, from_s, to_s, price_usd_per_hour, amount_usd, what)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (RUN, *row),
    )


def rows_of(path: Path, table: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        db.close()


def test_old_runs_get_what_lists_need(path: Path) -> None:
    ledger_of_version_1(path, plan_to_text(plan())).close()
    with Ledger.open(path) as ledger:
        assert ledger.run(RUN).plan == plan()
        assert ledger.stop_request(RUN) is not None
    assert rows_of(path, "run_facts") == [
        (RUN, 1000.0, "local", "1.25", "job", None, "text-classification", "m", "full", 100, None)
    ]
    figures = ("1.8", "3.6", "7.2", "3.6", 0.5, 1.0, 2.0, 1.0)
    assert rows_of(path, "estimates") == [(1, RUN, rows.offer_to_json(offer()), "local CPU", "3.60", *figures)]
    assert rows_of(path, "bills") == [(RUN, 2, 60.0, "0.060000")]
    assert rows_of(path, "milestones") == [
        (RUN, 0, "started", None, None, None),
        (RUN, 1, "evaluation", "baseline", 0, '{"accuracy":0.5,"roc_auc":null}'),
        (RUN, 3, "finished", None, 4, '{"metric":"accuracy","value":0.75,"step":4}'),
    ]
    assert rows_of(path, "stop_requests") == [(1, RUN, 1.0, "why", 0)]


@pytest.mark.parametrize("plan_json", ["{}", "[]", "no JSON", '{"spec": 3, "profile": {"steps": "x"}, "chosen": 7}'])
def test_a_plan_that_cannot_be_read_any_more_does_not_keep_the_ledger_closed(path: Path, plan_json: str) -> None:
    ledger_of_version_1(path, plan_json).close()
    with Ledger.open(path) as ledger:
        assert ledger.state(RUN) is RunState.RUNNING
    assert rows_of(path, "run_facts") == [(RUN, 1000.0, "local", "1.25", *([None] * 7))]
    assert rows_of(path, "estimates") == [(1, RUN, rows.offer_to_json(offer()), "local CPU", "3.60", *([None] * 8))]


def test_a_client_of_the_old_version_may_go_on(path: Path) -> None:
    old = ledger_of_version_1(path, plan_to_text(plan()))
    with Ledger.open(path) as ledger:
        add_old_charge(old, 1062.0, 1092.0)
        last = event(4, EventType.FAILED, code="internal", message="m", hint=None)
        old.execute("INSERT INTO events VALUES (?, ?, ?)", (RUN, 4, last.to_line()))
        assert bill_of(ledger._db, RUN).cost_usd == Decimal("0.09")
        ledger.add_charge(RUN, charge(from_s=1092.0, to_s=1122.0, price_usd_per_hour=PRICE, at_s=1.0))
        bill = bill_of(ledger._db, RUN)
    old.close()
    assert (bill.billed_s, bill.cost_usd) == (120.0, Decimal("0.12"))
    assert rows_of(path, "bills")[-1] == (RUN, 4, 120.0, "0.120000")
    assert rows_of(path, "milestones")[-1] == (RUN, 4, "failed", None, None, None)


def test_the_migration_is_done_once(path: Path) -> None:
    ledger_of_version_1(path, plan_to_text(plan())).close()
    for _ in range(2):
        Ledger.open(path).close()
    assert len(rows_of(path, "run_facts")) == 1
    assert LEDGER_VERSION == len(MIGRATIONS) == 4


def test_many_old_runs_are_told_a_few_at_a_time(path: Path) -> None:
    """Each of them once, and also those that a client of the old version adds later."""
    old = ledger_of_version_1(path, plan_to_text(plan()))
    text = plan_to_text(plan())
    for number in range(60):
        old.execute("INSERT INTO runs VALUES (?, 1.0, ?, '/runs/x', 'local', NULL)", (f"old-{number}", text))
        old.execute("INSERT INTO state_changes (run_id, state, at_s) VALUES (?, 'planned', 1.0)", (f"old-{number}",))
    Ledger.open(path).close()
    old.execute("INSERT INTO runs VALUES ('late', 1.0, ?, '/runs/x', 'local', NULL)", (text,))
    old.close()
    assert len(rows_of(path, "run_facts")) == 61
    Ledger.open(path).close()
    told = [str(row[0]) for row in rows_of(path, "run_facts")]
    assert sorted(told) == sorted([RUN, "late", *(f"old-{number}" for number in range(60))])
    assert len(rows_of(path, "estimates")) == 62
