"""The guard at home alone: a trainer that never stops by itself, on a clock that is moved by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import ExitCode
from manager.launch.engine import GuardName, Handle, Launched, LaunchRequest
from manager.runs.home_guard import MOST_SHARE, EndTimes, home_limit, teardown_s
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.runs.supervise import RunOutcome, supervise
from tasks.protocol import Event
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import PRICE, order
from tests.unit.runs.supervising_client import FAST

HEARTBEAT_S = 30.0
START_S = 1_000_000.0
CLOUD = EndTimes(teardown_s=45.0, fetch_s=120.0, grace_s=60.0)


class Endless(PlayedEngine):
    """A task that goes on until it is taken down; each line of its log is a second of the run's clock."""

    def __init__(self, *, obeys: bool) -> None:
        super().__init__()
        self.now_s = START_S
        self.obeys = obeys
        self.asked_at_s: float | None = None
        self.down_at_s: float | None = None
        self._over = threading.Event()

    def clock(self) -> float:
        return self.now_s

    def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
        return replace(super().submit(request, handle), billing_started_at_s=START_S)

    def stream(self, _handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        while not self._over.is_set():
            time.sleep(0.002)
            self.now_s += 1
            yield f"second {self.now_s - START_S:.0f}"

    def cancel(self, _handle: Handle, *, grace_s: float) -> None:
        self.asked_at_s = self.now_s
        self.grace_s = grace_s
        if self.obeys:
            self._over.set()

    def down(self, _handle: Handle) -> None:
        self._over.set()
        self.down_at_s = self.down_at_s or self.now_s


def run(
    folder: Path, engine: Endless, *, cap_usd: Decimal | None, guards: frozenset[GuardName], longest_s: float | None
) -> RunOutcome:
    asked = order(folder / "run", cap_usd=cap_usd, max_duration_s=longest_s, measured=False)
    asked = replace(asked, request=replace(asked.request, guards=guards))
    with Ledger.open(folder / "ledger.db") as ledger:
        return supervise(asked, engine, ledger, engine.clock, lambda _: None, replace(FAST, cancel_grace_s=60.0))


@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize(
    ("cap_usd", "longest_s"), [(Decimal("2.0"), None), (None, 2000.0), (Decimal("2.0"), 9000.0), (Decimal("9"), 2000.0)]
)
def test_alone_it_takes_the_machine_down_at_the_limit_at_the_latest(
    tmp_path: Path, cap_usd: Decimal | None, longest_s: float | None, obeys: bool
) -> None:
    engine = Endless(obeys=obeys)
    outcome = run(tmp_path, engine, cap_usd=cap_usd, guards=frozenset({GuardName.HOME}), longest_s=longest_s)
    assert outcome.exit_code is ExitCode.OVER_BUDGET
    assert outcome.record.state is RunState.STOPPED
    # 3.60 $/h is 0.001 $/s: 2 $ are 2000 s, as long as the longest duration.
    assert engine.asked_at_s is not None
    assert engine.down_at_s is not None
    assert engine.asked_at_s - START_S == pytest.approx(2000 - CLOUD.total_s - 0, abs=75)
    assert engine.down_at_s <= START_S + 2000
    assert outcome.record.cost_usd is not None
    assert outcome.record.cost_usd <= Decimal("2.0") + PRICE * Decimal(HEARTBEAT_S) / 3600
    # What the cap buys is used: the end takes no more than it needs.
    assert engine.asked_at_s >= START_S + 2000 * (1 - MOST_SHARE)


def test_a_drill_takes_it_away(tmp_path: Path) -> None:
    engine = Endless(obeys=True)
    threading.Timer(1.5, engine._over.set).start()
    outcome = run(tmp_path, engine, cap_usd=Decimal("0.1"), guards=frozenset({GuardName.MACHINE}), longest_s=100.0)
    assert engine.asked_at_s is None
    assert engine.now_s > START_S + 200
    assert outcome.record.handle is not None
    assert outcome.record.handle.details["home_guard"] is False


@pytest.mark.parametrize(
    ("cap", "hourly", "once", "longest_s", "down_s", "is_cap"),
    [
        ("2", "3.6", "0", None, 2000, True),
        ("2", "3.6", "0.5", None, 1500, True),
        ("2", "3.6", "0", 100.0, 100, False),
        ("2", "3.6", "3", None, 0, True),
        ("2", None, "0", 500.0, 500, False),
        (None, "3.6", "0", 500.0, 500, False),
    ],
)
def test_the_limit_that_comes_first(
    cap: str | None, hourly: str | None, once: str, longest_s: float | None, down_s: float, is_cap: bool
) -> None:
    limit = home_limit(
        billing_started_at_s=START_S,
        cap_usd=None if cap is None else Decimal(cap),
        usd_per_hour=None if hourly is None else Decimal(hourly),
        usd_once=Decimal(once),
        longest_s=longest_s,
        times=CLOUD,
    )
    assert limit is not None
    assert limit.down_at_s == pytest.approx(START_S + down_s)
    assert limit.is_cap is is_cap
    assert START_S <= limit.end_at_s <= limit.fetch_at_s <= limit.leave_at_s <= limit.down_at_s


@pytest.mark.parametrize(("cap", "hourly"), [("2", None), (None, "3.6"), ("2", "0")])
def test_no_limit_where_none_can_be_told(cap: str | None, hourly: str | None) -> None:
    found = home_limit(
        billing_started_at_s=START_S,
        cap_usd=None if cap is None else Decimal(cap),
        usd_per_hour=None if hourly is None else Decimal(hourly),
        usd_once=Decimal(0),
        longest_s=None,
        times=CLOUD,
    )
    assert found is None


@pytest.mark.parametrize("allowed_s", [0.0, 60.0, 200.0, 600.0, 1124.0, 1126.0, 1e6])
def test_the_end_takes_a_share_of_a_short_run_and_the_take_down_comes_first(allowed_s: float) -> None:
    times = CLOUD.within(allowed_s)
    assert times.total_s == pytest.approx(min(CLOUD.total_s, MOST_SHARE * allowed_s))
    assert times.teardown_s == min(CLOUD.teardown_s, MOST_SHARE * allowed_s)
    assert times.grace_s * CLOUD.fetch_s == pytest.approx(times.fetch_s * CLOUD.grace_s)


def test_a_cloud_takes_longer_than_processes_of_this_machine() -> None:
    assert teardown_s("local") < teardown_s("sky")
