"""Lines of `run --json`: published, so each field is spelled out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from manager.launch.engine import Evidence
from manager.runs.charges import charge
from manager.runs.records import StateChange
from manager.runs.states import RunState
from manager.runs.updates import (
    ChargeUpdate,
    EventUpdate,
    EvidenceUpdate,
    LogUpdate,
    StateUpdate,
    Update,
    update_to_json,
)
from manager.units import MoneyInterval
from tasks.protocol import EventType
from tests.unit.runs.samples import PRICE, event

PROJECTED = MoneyInterval(low=Decimal("0.5"), expected=Decimal("1.000001"), high=Decimal(2))
PROJECTED_JSON = {"low": 0.5, "expected": 1.000001, "high": 2.0}
HEAD = {"schema": 1, "run_id": "r"}


@pytest.mark.parametrize(
    ("update", "line"),
    [
        (
            StateUpdate(run_id="r", change=StateChange(state=RunState.RUNNING, at_s=1.5, detail=None)),
            {"type": "state", "at_s": 1.5, "state": "running", "detail": None},
        ),
        (
            EventUpdate(
                run_id="r",
                event=event(3, EventType.TRAIN, step=1),
                cost_usd=Decimal("0.25"),
                projected_usd=PROJECTED,
            ),
            {
                "type": "metric",
                "at_s": 1003.0,
                "seq": 3,
                "event": "train",
                "data": {"step": 1},
                "cost_usd": 0.25,
                "projected_usd": PROJECTED_JSON,
            },
        ),
        (
            EventUpdate(run_id="r", event=event(0), cost_usd=None, projected_usd=None),
            {
                "type": "event",
                "at_s": 1000.0,
                "seq": 0,
                "event": "warning",
                "data": {"code": "c", "message": "m0"},
                "cost_usd": None,
                "projected_usd": None,
            },
        ),
        (
            ChargeUpdate(
                run_id="r",
                charge=charge(from_s=0.0, to_s=10.0, price_usd_per_hour=PRICE, at_s=11.0),
                cost_usd=Decimal("0.01"),
                projected_usd=None,
            ),
            {
                "type": "charge",
                "at_s": 11.0,
                "from_s": 0.0,
                "to_s": 10.0,
                "price_usd_per_hour": 3.6,
                "amount_usd": 0.01,
                "cost_usd": 0.01,
                "projected_usd": None,
            },
        ),
        (
            EvidenceUpdate(
                run_id="r",
                evidence=Evidence(confirmed=False, asked_at_s=2.0, source="s", answer="a", left=("i-1",)),
            ),
            {"type": "evidence", "at_s": 2.0, "confirmed": False, "source": "s", "answer": "a", "left": ["i-1"]},
        ),
        (LogUpdate(run_id="r", text="hello"), {"type": "log", "source": "task", "text": "hello"}),
    ],
)
def test_each_update_as_a_line(update: Update, line: dict[str, object]) -> None:
    assert update_to_json(update) == {**HEAD, **line}
