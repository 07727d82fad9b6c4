"""The cap of a run, one of whose machines has no known price: it ends the run in good order all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from manager.errors import ExitCode
from manager.launch.engine import Handle, MachineState
from manager.runs.charges import charge
from manager.runs.ledger import Ledger
from manager.runs.reconcile import reconcile
from manager.runs.states import RunState
from tasks.protocol import Event
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order
from tests.unit.runs.supervising_client import FAST

RUN = "job-20260101-aaaa"


class Endless(PlayedEngine):
    """A task that goes on until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = MachineState.RUNNING
        self.items = [event(0)]
        self.stopped = threading.Event()

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield from super().stream(handle, after_seq=after_seq)
        self.stopped.wait(20.0)

    def cancel(self, handle: Handle, *, grace_s: float) -> None:
        super().cancel(handle, grace_s=grace_s)
        self.stopped.set()


def test_the_cap_ends_a_run_whose_bill_is_not_known(tmp_path: Path) -> None:
    engine, run = Endless(), order(tmp_path / "run")
    # An hour ago, at 3.60 $; a machine without a price came instead.
    launched = engine.submit(run.request, engine.reserve(run.request))
    began_s = launched.billing_started_at_s
    unknown = charge(from_s=began_s, to_s=began_s + 3000, price_usd_per_hour=None, at_s=began_s + 3000)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.create_run(RUN, run.plan, run.request.run_dir, engine.name, Decimal(1), began_s)
        ledger.transition(RUN, RunState.LAUNCHING, began_s)
        ledger.store_launched(RUN, launched, began_s)
        ledger.transition(RUN, RunState.RUNNING, began_s)
        ledger.add_charge(RUN, unknown)
        (result,) = reconcile(ledger, {engine.name: engine}, time.time, lambda _: None, settings=FAST)
    assert result.outcome is not None, result.error
    assert result.outcome.exit_code is ExitCode.OVER_BUDGET
    assert result.outcome.record.cost_usd is None
    assert result.outcome.error is not None
    assert result.outcome.error.message.startswith("an unknown part spent of $1.00")
    assert engine.calls.index("cancel") < engine.calls.index("down"), "the task was given its time"
