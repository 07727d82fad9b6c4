"""The quote renewed by a probe, and what the user's rule makes of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import ExitCode
from manager.launch.engine import Handle, MachineState
from manager.planner.plan import CostLine, Plan
from manager.runs.ledger import Ledger
from manager.runs.projection import PROBE_SPREAD, Progress, project_hours
from manager.runs.requote import Requote, requote
from manager.runs.states import RunState
from manager.runs.supervise import RunOutcome, supervise
from manager.runs.updates import LogUpdate, RequoteUpdate, Update, update_to_json
from manager.units import Interval, MoneyInterval
from tasks.job import TargetChoice
from tasks.protocol import Event, EventType
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import event, offer, order, plan, profile
from tests.unit.runs.supervising_client import FAST

HOUR = 3600.0


def probe(remaining_s: float, seq: int = 1) -> Event:
    return event(
        seq,
        EventType.PROBE,
        micro_batch=4,
        accumulation=2,
        longest_batch_step_s=1.0,
        step_s=0.5,
        evaluation_batch_s=0.1,
        save_s=1.0,
        peak_memory_bytes=None,
        remaining_s=remaining_s,
        attempts=[8],
    )


def renewed(remaining_s: float, *, of: Plan | None = None, cap: str | None = None, **changes: Any) -> Requote:
    known: dict[str, Any] = {"billed_s": 360.0, "price_usd_per_hour": Decimal("3.60"), **changes}
    return requote(probe(remaining_s), of or plan(), offer(), cap_usd=None if cap is None else Decimal(cap), **known)


def test_hours_and_dollars_of_the_rest_as_measured() -> None:
    found = renewed(HOUR)
    assert found.projected_hours == Interval(low=0.1 + (1 - PROBE_SPREAD), expected=1.1, high=0.1 + (1 + PROBE_SPREAD))
    assert found.projected_usd is not None
    assert found.projected_usd.expected == Decimal("3.96")
    # Planned were 3.60 $.
    assert found.above == pytest.approx(0.1)
    assert not found.is_above
    assert "10 % above" in found.text
    assert "0.5 s a step with micro-batches of 4" in found.text


def test_what_a_probe_cannot_see_is_as_planned() -> None:
    hour = Interval(low=0.1, expected=0.2, high=0.4)
    machine = {"unit": "h", "unit_price_usd": Decimal("3.60"), "assumption": None}
    lines = (
        CostLine(name="training", quantity=hour, total_usd=MoneyInterval.of(hour, Decimal("3.60")), **machine),  # type: ignore[arg-type]
        CostLine(name="teardown", quantity=hour, total_usd=MoneyInterval.of(hour, Decimal("3.60")), **machine),  # type: ignore[arg-type]
        CostLine(
            name="egress",
            quantity=hour,
            unit="GiB",
            unit_price_usd=Decimal("1"),
            total_usd=MoneyInterval(low=Decimal(1), expected=Decimal(2), high=Decimal(3)),
            assumption=None,
        ),
    )
    made = plan()
    made = replace(made, offers=(replace(made.offers[0], lines=lines),))
    found = renewed(HOUR, of=made)
    assert found.projected_hours.expected == pytest.approx(1.3)
    assert found.projected_usd is not None
    # Traffic home counts at its high end, as for the cap.
    assert found.projected_usd.expected == pytest.approx(Decimal("4.68") + 3)


def test_a_run_that_may_end_early_may_end_now() -> None:
    made = plan()
    made = replace(made, spec=replace(made.spec, target=TargetChoice(metric="accuracy", value=0.9)))
    assert renewed(HOUR, of=made).projected_hours.low == pytest.approx(0.1)


def test_an_unknown_price_decides_nothing() -> None:
    found = renewed(100 * HOUR, price_usd_per_hour=None, cap="1")
    assert (found.projected_usd, found.above, found.is_above, found.breaks_cap) == (None, None, False, False)
    assert "unknown" in found.text


def test_above_and_over_the_cap() -> None:
    assert renewed(2 * HOUR).is_above
    assert not renewed(2 * HOUR).breaks_cap
    assert renewed(2 * HOUR, cap="5").breaks_cap
    assert not renewed(HOUR, cap="5").breaks_cap
    assert "over the cap of $5.00" in renewed(2 * HOUR, cap="5").text


def test_a_projection_before_the_first_step_is_the_probes() -> None:
    seen = Progress().after(probe(HOUR), now_s=1000.0)
    known = {"billing_started_at_s": 640.0, "may_end_early": False}
    hours = project_hours(seen, profile(), now_s=1000.0, **known)  # type: ignore[arg-type]
    assert hours == Interval(low=0.1 + 0.75, expected=1.1, high=0.1 + 1.25)
    # Time that passes without a step comes off what is ahead.
    later = project_hours(seen, profile(), now_s=1000.0 + 1800.0, **known)  # type: ignore[arg-type]
    assert later is not None
    assert later.expected == pytest.approx(1.1)


class ProbedEngine(PlayedEngine):
    """A task that goes on until it is told to stop, or for as long as the test lets it."""

    def __init__(self, remaining_s: float, *, lasts_s: float = 20.0) -> None:
        super().__init__()
        self.items = [event(0), probe(remaining_s)]
        self._stopped = threading.Event()
        self._lasts_s = lasts_s
        self.machine = MachineState.SUCCEEDED

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str]:
        yield from super().stream(handle, after_seq=after_seq)
        was_stopped = self._stopped.wait(self._lasts_s)
        outcome = "stopped" if was_stopped else "completed"
        yield event(2, EventType.FINISHED, outcome=outcome, steps=0 if was_stopped else 5, best=None, training_s=0.0)

    def cancel(self, handle: Handle, *, grace_s: float) -> None:
        super().cancel(handle, grace_s=grace_s)
        self._stopped.set()


class Answer:
    """Somebody who says so; None never answers."""

    def __init__(self, says: bool | None) -> None:
        self.says = says
        self.asked: list[Requote] = []
        self.is_withdrawn = False

    def __call__(self, found: Requote, patience_s: float) -> Answer:
        self.asked.append(found)
        return self

    def answer(self) -> bool | None:
        return self.says

    def withdraw(self) -> None:
        self.is_withdrawn = True


def supervised(
    tmp_path: Path, engine: ProbedEngine, rule: str, *, cap: str | None = None, ask: Answer | None = None
) -> tuple[RunOutcome, list[Update]]:
    asked = order(tmp_path / "run", cap_usd=None if cap is None else Decimal(cap))
    spec = replace(asked.plan.spec, budget=replace(asked.plan.spec.budget, requote=rule))
    told: list[Update] = []
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        run = replace(asked, plan=replace(asked.plan, spec=spec), ask=ask)
        settings = replace(FAST, requote_answer_s=0.5)
        return supervise(run, engine, ledger, time.time, told.append, settings), told


def said(told: list[Update]) -> str:
    return " ".join(update.text for update in told if isinstance(update, LogUpdate) and update.source == "manager")


def was_ended(outcome: RunOutcome) -> bool:
    if outcome.record.state is RunState.SUCCEEDED:
        return False
    assert outcome.record.state is RunState.STOPPED
    assert outcome.exit_code is ExitCode.OVER_BUDGET
    assert outcome.error is not None
    assert "above" in outcome.error.message
    return True


def test_a_run_within_its_quote_is_told_and_goes_on(tmp_path: Path) -> None:
    # An hour is on the bill of a played machine before anything runs.
    outcome, told = supervised(tmp_path, ProbedEngine(600.0, lasts_s=0.5), "abort")
    assert not was_ended(outcome)
    (update,) = [update for update in told if isinstance(update, RequoteUpdate)]
    line = update_to_json(update)
    assert json.loads(json.dumps(line)) == line
    assert (line["type"], line["is_above"], line["breaks_cap"]) == ("requote", False, False)
    assert line["projected_usd"]["expected"] == pytest.approx(4.2, abs=0.05)


def test_abort_ends_it_in_good_order_and_says_why(tmp_path: Path) -> None:
    engine = ProbedEngine(2 * HOUR)
    outcome, _ = supervised(tmp_path, engine, "abort")
    assert was_ended(outcome)
    assert outcome.error is not None
    assert "as budget.requote says" in outcome.error.message
    assert engine.calls.index("cancel") < engine.calls.index("down")
    stopping = next(change for change in outcome.record.history if change.state is RunState.STOPPING)
    assert stopping.detail is not None
    assert stopping.detail.startswith("quote exceeded: now $10.8")


def test_continue_goes_on(tmp_path: Path) -> None:
    outcome, told = supervised(tmp_path, ProbedEngine(2 * HOUR, lasts_s=0.5), "continue", cap="5")
    assert not was_ended(outcome)
    assert "goes on" in said(told)


@pytest.mark.parametrize(("cap", "ends"), [(None, False), ("50", False), ("5", True)])
def test_without_anybody_to_ask_only_the_cap_ends_it(cap: str | None, ends: bool, tmp_path: Path) -> None:
    outcome, told = supervised(tmp_path, ProbedEngine(2 * HOUR, lasts_s=1.0), "ask", cap=cap)
    assert was_ended(outcome) is ends
    if ends:
        assert outcome.error is not None
        assert "nobody is there to ask, and the cap would be broken" in outcome.error.message
    else:
        assert "nobody is there to ask" in said(told)


@pytest.mark.parametrize(("says", "ends"), [(True, False), (False, True)])
def test_an_answer_decides(says: bool, ends: bool, tmp_path: Path) -> None:
    asked = Answer(says)
    outcome, _ = supervised(tmp_path, ProbedEngine(2 * HOUR, lasts_s=1.0), "ask", cap="5", ask=asked)
    assert was_ended(outcome) is ends
    assert len(asked.asked) == 1
    assert asked.is_withdrawn


@pytest.mark.parametrize(("cap", "ends"), [(None, False), ("5", True)])
def test_without_an_answer_in_time_the_safe_choice_is_made(cap: str | None, ends: bool, tmp_path: Path) -> None:
    outcome, _ = supervised(tmp_path, ProbedEngine(2 * HOUR, lasts_s=3.0), "ask", cap=cap, ask=Answer(None))
    assert was_ended(outcome) is ends


def test_nobody_is_asked_about_less_than_a_cent(tmp_path: Path) -> None:
    # An hour at 3.60 $ is on the bill, 3.60 $ was quoted: a second more is a tenth of a cent.
    asked = Answer(False)
    engine = ProbedEngine(1.0, lasts_s=0.5)
    run = order(tmp_path / "run")
    budget = replace(run.plan.spec.budget, requote="ask", requote_above=0.0)
    made = replace(run.plan, spec=replace(run.plan.spec, budget=budget))
    told: list[Update] = []
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        outcome = supervise(replace(run, plan=made, ask=asked), engine, ledger, time.time, told.append, FAST)
    assert not was_ended(outcome)
    assert asked.asked == []
    assert "by less than $0.01" in said(told)


def rows_of(tmp_path: Path) -> list[tuple[str, str]]:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        (run_id,) = ledger.run_ids(RunState)
        return [(str(row.step), row.text) for row in ledger.requotes(run_id)]


@pytest.mark.parametrize(
    ("rule", "remaining_s", "told"),
    [
        ("abort", 600.0, "within what is tolerated; the run goes on"),
        ("abort", 2 * HOUR, "ended as budget.requote says"),
        ("continue", 2 * HOUR, "the quote is exceeded; the run goes on, as budget.requote says"),
        ("ask", 2 * HOUR, "the quote is exceeded; nobody is there to ask, and the run goes on: it keeps its cap"),
    ],
)
def test_the_ledger_has_the_renewed_quote_and_what_was_decided(
    rule: str, remaining_s: float, told: str, tmp_path: Path
) -> None:
    supervised(tmp_path, ProbedEngine(remaining_s, lasts_s=0.5), rule)
    (step, text), settled = rows_of(tmp_path)
    assert step == "renewed"
    assert "quoted $" in text
    assert settled == ("settled", told)
