"""A run whose machine is replaced: one run in the ledger, its machines told and each billed by its own price."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.launch.engine import Handle, Launched, LaunchRequest, MachineNews, MachineState, MachineTime, MachineTimes
from manager.runs.ledger import Ledger
from manager.runs.machine_pieces import pieces
from manager.runs.records import RunRecord
from manager.runs.session import Meter
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from tasks.protocol import Event
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"
START_S = time.time() - 1000


def machine(from_s: float, to_s: float | None, price: str) -> MachineTime:
    return MachineTime(
        from_s=START_S + from_s,
        to_s=None if to_s is None else START_S + to_s,
        price_usd_per_hour=Decimal(price),
        cloud="aws",
        region="us-east-1",
        zone=None,
        instance_type="g6.xlarge",
    )


class TwoMachines(PlayedEngine):
    """An engine whose first machine was taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = MachineState.SUCCEEDED
        self.items: list[Event | str] = []
        self.told = MachineTimes(
            machines=(machine(0, 300, "0.36"), machine(400, 700, "0.72")), known_to_s=START_S + 900
        )

    def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
        return replace(super().submit(request, handle), billing_started_at_s=START_S)

    def stream(self, _handle: Handle, *, after_seq: int) -> Iterator[Event | str | MachineNews]:  # type: ignore[override]
        yield event(0)
        yield MachineNews(words="preempted: the machine is gone")
        yield MachineNews(words="recovered: goes on with another")
        yield event(1)

    def machines(self, _handle: Handle) -> MachineTimes:
        return self.told


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        return supervise(order(tmp_path / "run"), TwoMachines(), ledger, time.time, lambda _: None, FAST).record


def test_its_history_tells_of_the_machines(record: RunRecord) -> None:
    told = [change.detail for change in record.history if change.state is RunState.RUNNING]
    assert told[1:] == ["preempted: the machine is gone", "recovered: goes on with another"]


def test_its_bill_is_the_sum_over_them(record: RunRecord) -> None:
    assert record.cost_usd == Decimal("0.03") + Decimal("0.06")
    billed = [(round(one.to_s - one.from_s), one.price_usd_per_hour, one.what) for one in record.charges]
    assert billed == [
        (300, Decimal("0.36"), "machine"),
        (100, Decimal(0), "no machine"),
        (300, Decimal("0.72"), "machine"),
        (200, Decimal(0), "no machine"),
    ]


def test_between_two_machines_what_is_ahead_costs_as_before(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        made = order(tmp_path / "run")
        ledger.create_run(RUN, made.plan, made.request.run_dir, "sky", None, START_S)
        meter = Meter(ledger, RUN, price_usd_per_hour=Decimal("0.36"), billing_started_at_s=START_S)
        for piece in pieces([machine(0, 300, "0.36")], from_s=START_S, to_s=START_S + 400):
            meter.charge_to(piece.to_s, now_s=piece.to_s, piece=piece)
        assert meter.cost_usd() == Decimal("0.03")
        assert meter.price_usd_per_hour == Decimal("0.36")
