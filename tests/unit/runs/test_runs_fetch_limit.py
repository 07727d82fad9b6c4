"""How long results may take to come home: as the plan says, within the cap and the longest duration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import EngineError
from manager.launch.engine import Handle
from manager.planner.plan import CostLine
from manager.runs.ledger import Ledger
from manager.runs.supervise import RunOrder, SuperviseSettings, supervise
from manager.runs.updates import LogUpdate, Update
from manager.units import Interval, MoneyInterval
from tasks.protocol import EVENTS_FILE, MODEL_DIR, Event, EventType
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, order
from tests.unit.runs.supervising_client import FAST

IMPATIENT = replace(FAST, fetch_limit_s=0.2)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


class Slow(PlayedEngine):
    """Hands the model over after `fetch_s` seconds, and the small files at once."""

    fetch_s = 1.0

    def __init__(self, **fail: BaseException) -> None:
        super().__init__(**fail)
        self.returned = False

    def stream(self, _handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield from ()

    def fetch(self, handle: Handle) -> None:
        super().fetch(handle)
        saved = event(0, EventType.CHECKPOINT, step=40, path="checkpoints/step-00000040", bytes=9, duration_s=1.0)
        folder = Path(handle.run_dir)
        (folder / MODEL_DIR).mkdir(parents=True)
        (folder / EVENTS_FILE).write_text(saved.to_line() + "\n")
        time.sleep(self.fetch_s)
        self.returned = True


def planned(made: RunOrder, *, fetch_s: float) -> RunOrder:
    """The order with a plan whose fetch takes so long at most."""
    hours = fetch_s / 3600
    line = CostLine(
        name="fetch",
        quantity=Interval(low=0.0, expected=hours / 2, high=hours),
        unit="h",
        unit_price_usd=Decimal(1),
        total_usd=MoneyInterval(low=Decimal(0), expected=Decimal(0), high=Decimal(0)),
        assumption=None,
    )
    estimate = replace(made.plan.offers[0], lines=(line,))
    return replace(made, plan=replace(made.plan, offers=(estimate,)))


def _run(ledger: Ledger, made: RunOrder, settings: SuperviseSettings = IMPATIENT) -> tuple[Slow, str]:
    engine, told = Slow(), list[Update]()
    supervise(made, engine, ledger, time.time, told.append, settings)
    assert engine.calls[-2:] == ["down", "evidence"]
    return engine, " | ".join(item.text for item in told if isinstance(item, LogUpdate))


def test_a_fetch_has_the_time_that_the_plan_gives_it(ledger: Ledger, tmp_path: Path) -> None:
    engine, said = _run(ledger, planned(order(tmp_path / "run"), fetch_s=30.0))
    assert engine.returned
    assert "fetched" not in said


def test_without_a_plan_of_the_fetch_the_setting_holds(ledger: Ledger, tmp_path: Path) -> None:
    engine, said = _run(ledger, order(tmp_path / "run"))
    assert not engine.returned
    assert "did not hand them over" in said


@pytest.mark.parametrize(
    ("orders", "reason"), [({"cap_usd": Decimal("0.01")}, "are spent"), ({"max_duration_s": 60.0}, "is longer than")]
)
def test_the_planned_time_does_not_go_over_the_cap_or_the_longest_duration(
    ledger: Ledger, tmp_path: Path, orders: dict[str, object], reason: str
) -> None:
    # PlayedEngine is billed since an hour; its stream ends at once, so that the run itself is not over its limits.
    made = planned(order(tmp_path / "run", **orders), fetch_s=30.0)  # type: ignore[arg-type]
    engine, said = _run(ledger, made)
    assert not engine.returned
    assert reason in said


def test_a_fetch_that_is_cut_off_says_what_is_missing_and_where_the_checkpoint_was(
    ledger: Ledger, tmp_path: Path
) -> None:
    _, said = _run(ledger, order(tmp_path / "run"))
    assert "missing here: manifest.json, a part of model/" in said
    assert "the last checkpoint, of step 40, was checkpoints/step-00000040 on the machine" in said


def test_a_fetch_that_fails_says_what_is_missing(ledger: Ledger, tmp_path: Path) -> None:
    told: list[Update] = []
    engine = PlayedEngine(fetch=EngineError("no route"))
    supervise(order(tmp_path / "run"), engine, ledger, time.time, told.append, FAST)
    said = " | ".join(item.text for item in told if isinstance(item, LogUpdate))
    assert "missing here: events.jsonl, manifest.json, model/; no checkpoint was told of" in said
