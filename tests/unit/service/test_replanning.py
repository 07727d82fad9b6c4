"""A plan session: quick answers are the plan's first offers, and nothing is opened again that need not be."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import NothingFitsError, OverBudgetError, UsageError
from manager.planner.build import Planner
from manager.profiling import measure, worker
from manager.service import planning, replanning
from manager.service.context import open_context
from manager.service.inspection import open_ledger
from manager.service.planning import OpenJob
from manager.service.replanning import PlanSession
from manager.service.saved_plans import find_plan
from manager.service.starting import load_spec
from manager.spec.model import Budget, RunSpec, Where
from tests.support.cli import write_news, write_run_file
from tests.support.market_factory import open_job_of
from tests.support.plan_factory import make_gpu_offer, make_spec
from tests.support.price_stage import catalog, stage, write_catalog

D = Decimal
Calls = list[RunSpec]


@pytest.fixture(autouse=True)
def _planning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "transformers", "peft", "tokenizers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """A classifier of short news on rented machines."""
    file = write_run_file(
        tmp_path,
        model="google-bert/bert-base-uncased",
        data=write_news(tmp_path, rows=500),
        training={"precision": "bf16-mixed", "max_length": 128},
        where={"clouds": ["aws", "gcp", "lambda"]},
    )
    return load_spec(file)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The jobs that are opened from here on."""
    calls: Calls = []
    before = planning.open_job

    def counted(context: Any, spec: RunSpec, **rest: Any) -> OpenJob:
        calls.append(spec)
        return before(context, spec, **rest)

    monkeypatch.setattr(replanning, "open_job", counted)
    return calls


def of_limits(change: dict[str, Any]) -> Callable[[RunSpec], RunSpec]:
    """Changes budget or where."""
    names = {"budget": ("max_usd", "deadline_hours", "confidence")}

    def changed(spec: RunSpec) -> RunSpec:
        if set(change) <= set(names["budget"]):
            return replace(spec, budget=replace(spec.budget, **change))
        return replace(spec, where=replace(spec.where, **change))

    return changed


LIMITS = (
    {"max_usd": D("0.5")},
    {"deadline_hours": 0.25},
    {"max_usd": D(2), "confidence": 0.9},
    {"clouds": ("gcp",)},
    {"regions": ("us-east-1",)},
    {"accelerators": ("L4", "A100:8")},
    {"spot": True},
    {"max_nodes": 2},
    {"clouds": ()},
)


class TestLimits:
    @pytest.mark.parametrize("change", LIMITS)
    def test_the_quick_answer_is_the_beginning_of_the_plan(self, spec: RunSpec, change: dict[str, Any]) -> None:
        session = PlanSession(open_context())
        session.answer(spec)
        asked = of_limits(change)(spec)
        quick, whole = session.answer(asked, top=7), session.whole(asked)
        assert quick.offers == whole.offers[:7]
        assert quick.offers
        assert (quick.spec, whole.spec) == (asked, asked)
        assert (quick.is_whole, whole.is_whole) == (False, True)
        assert whole.plan is not None
        assert whole.plan.spec == asked
        assert whole.plan.plan_id == PlanSession(open_context()).plan(asked).plan_id

    def test_no_limit_opens_the_job_again(self, spec: RunSpec, opened: Calls) -> None:
        session = PlanSession(open_context())
        for change in LIMITS:
            session.answer(of_limits(change)(spec))
            session.whole(of_limits(change)(spec))
        session.answer(replace(spec, name="another"))
        assert opened == [of_limits(LIMITS[0])(spec)]

    def test_a_job_for_this_machine_alone_is_another(self, spec: RunSpec, opened: Calls) -> None:
        session = PlanSession(open_context())
        session.answer(spec)
        session.answer(replace(spec, where=Where(clouds=("local",))))
        assert len(opened) == 2

    def test_a_place_that_nobody_knows_is_refused_and_the_next_answer_comes(self, spec: RunSpec) -> None:
        session = PlanSession(open_context())
        session.answer(spec)
        with pytest.raises(UsageError, match="there is no cloud `awz`"):
            session.answer(of_limits({"clouds": ("awz",)})(spec))
        assert session.answer(spec).offers


class TestTraining:
    def test_another_training_opens_the_job_on_the_market_that_is_there(
        self, spec: RunSpec, opened: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = PlanSession(open_context())
        session.answer(spec)
        monkeypatch.setattr(replanning, "open_market", _never)
        longer = replace(spec, training=replace(spec.training, epochs=spec.training.epochs * 2))
        shown = session.whole(longer)
        assert opened == [spec, longer]
        assert shown.choice is not None
        fresh = session.cheapest_with(spec)[0]
        assert shown.choice.cost_usd is not None
        assert fresh.cost_usd is not None
        assert shown.choice.cost_usd.expected > fresh.cost_usd.expected

    def test_another_batch_size_is_answered_before_the_data_is_measured_for_it(
        self, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def counted(request: dict[str, Any], **rest: Any) -> dict[str, Any]:
            asked.append(request["batch_size"])
            return worker.ask_worker(request, **rest)

        monkeypatch.delitem(sys.modules, "tokenizers")
        monkeypatch.setattr(measure, "ask_worker", counted)
        told: list[str] = []
        session = PlanSession(open_context(), tell=told.append)
        session.answer(spec)
        first = spec.training.batch_size
        assert asked == [first]
        larger = replace(spec, training=replace(spec.training, batch_size=first * 2))
        quick = session.answer(larger)
        assert quick.offers
        assert quick.notes[-1].startswith("padding is taken from another batch size")
        assert asked == [first]
        whole = session.whole(larger)
        assert asked == [first, first * 2]
        assert not [note for note in whole.notes if note.startswith("padding")]
        # Known by now, so that nothing is left open.
        assert not [note for note in session.answer(larger).notes if note.startswith("padding")]
        assert session.answer(spec).notes == whole.notes
        assert [text for text in told if text.startswith("measuring")] == [told[1], told[2]]
        assert told[0] == "reading prices ..."

    def test_questions_aside_leave_the_open_job(self, spec: RunSpec, opened: Calls) -> None:
        session = PlanSession(open_context())
        session.answer(spec)
        longer = replace(spec, training=replace(spec.training, epochs=9.0))
        best = session.cheapest_with(longer)[0]
        assert session.find(longer, best.offer.key) == best
        session.answer(spec)
        assert opened == [spec, longer, longer]


class TestNothing:
    def test_what_rules_all_out_is_told_with_what_to_change(self, spec: RunSpec) -> None:
        session = PlanSession(open_context())
        poor = of_limits({"max_usd": D("0.000001")})(spec)
        quick, whole = session.answer(poor), session.whole(poor)
        assert (quick.offers, quick.refusal, quick.choice) == ((), None, None)
        assert isinstance(whole.refusal, OverBudgetError)
        assert "raise budget.max_usd" in (whole.refusal.hint or "")
        assert any(note.startswith("without budget.max_usd $0.0000010 the cheapest is") for note in whole.notes)
        assert whole.plan is not None
        with pytest.raises(OverBudgetError):
            session.to_launch(whole.plan)

    def test_steps_that_were_left_out_are_traced_where_nothing_is_chosen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = make_spec()
        offers = [make_gpu_offer("L4", price="0.80")]
        calls: list[Budget] = []

        def opened(context: Any, spec: RunSpec, **_: Any) -> OpenJob:
            calls.append(spec.budget)
            return replace(open_job_of(offers, spec), left_out=() if spec.budget.max_usd else ("one was left out",))

        monkeypatch.setattr(replanning, "open_job", opened)
        monkeypatch.setattr(PlanSession, "_data", lambda *_, **__: (None, True))
        session = PlanSession(open_context())
        assert session.whole(job).choice is not None
        poor = replace(job, budget=Budget(max_usd=D("0.0001")))
        assert session.answer(poor).offers == ()
        assert len(calls) == 1
        assert isinstance(session.whole(poor).refusal, NothingFitsError | OverBudgetError)
        assert calls == [job.budget, poor.budget]
        session.whole(poor)
        assert len(calls) == 2


def test_one_offer_in_full(spec: RunSpec) -> None:
    session = PlanSession(open_context())
    spotty = of_limits({"spot": True})(spec)
    plan = session.plan(spotty)
    spot = next(estimate for estimate in plan.offers if estimate.offer.use_spot)
    told = session.explain(spotty, spot, choice=plan.choice)
    assert told.key == spot.offer.key
    assert told.verdict.startswith("can be chosen")
    assert told.break_even is not None
    unwanted = next(one for one in session.plan(spec).rejected if one.offer.use_spot)
    assert unwanted.lines == ()
    full = session.explain(spec, unwanted)
    assert full.verdict == "rejected: spot not allowed: where.spot is false"
    assert full.bill is not None
    assert full.memory


def test_what_is_launched_is_saved(spec: RunSpec) -> None:
    context = open_context()
    session = PlanSession(context)
    plan = session.plan(spec)
    assert not list(context.home.plans_dir.glob("*.json"))
    assert session.to_launch(plan).plan_id == plan.plan_id
    assert find_plan(context, plan.plan_id).choice == plan.choice


def test_what_has_changed_is_read_again(spec: RunSpec, opened: Calls, tmp_path: Path) -> None:
    context = stage(tmp_path, catalogs=str(tmp_path / "catalogs"))
    write_catalog(tmp_path / "catalogs", "aws", catalog("0.80"))
    session = PlanSession(context)
    assert session.offers() == ()
    assert not session.refresh()
    aws = of_limits({"clouds": ("aws",)})(spec)
    before = session.answer(aws).offers[0]
    assert len(session.offers()) > 7
    open_ledger(context).close()
    writer = sqlite3.connect(context.home.ledger_file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert not session.refresh(), "a process that writes holds nobody up"
    writer.close()
    session.answer(aws)
    assert len(opened) == 1
    write_catalog(tmp_path / "catalogs", "aws", catalog("1.60", rows=3))
    assert session.refresh()
    after = session.answer(aws).offers[0]
    assert (before.offer.price_usd_per_hour, after.offer.price_usd_per_hour) == (D("0.80"), D("1.60"))
    # Other settings are other surroundings.
    dear = stage(tmp_path, catalogs=str(tmp_path / "catalogs"), local_price_usd_per_hour="3")
    assert session.refresh(dear)
    assert not session.refresh()
    context.home.assumptions_file.write_text("", encoding="utf-8")
    session.answer(aws)
    assert not session.refresh()
    context.home.assumptions_file.write_text("# another one", encoding="utf-8")
    assert session.refresh()


def test_threads_are_answered_one_after_the_other(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    session = PlanSession(open_context())
    session.answer(spec)
    inside: list[int] = []
    most: list[int] = []
    before = Planner.verdict

    def watched(planner: Planner, *rest: Any, **more: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        found = before(planner, *rest, **more)
        inside.pop()
        return found

    monkeypatch.setattr(Planner, "verdict", watched)
    asked = [of_limits({"max_usd": D(number)})(spec) for number in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        shown = list(pool.map(session.answer, asked))
    assert [one.spec for one in shown] == asked
    assert max(most) == 1


def _never(*_: object, **__: object) -> None:
    raise AssertionError("the market was read again")
