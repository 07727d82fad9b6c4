"""What money buys: each answer is a plan within the money, from shipped traces."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.cli.buys_view import print_purchase, purchase_to_json
from manager.cli.output import console
from manager.errors import NothingFitsError, OverBudgetError, UsageError
from manager.planner.plan import Plan
from manager.service.alternatives import models_of_task
from manager.service.buying import Purchase, what_buys
from manager.service.context import open_context
from manager.service.planning import open_job
from manager.service.saved_plans import find_plan
from manager.service.starting import load_spec
from manager.spec.model import RunSpec
from tests.support.cli import write_news, write_run_file

D = Decimal


@pytest.fixture(autouse=True)
def _planning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "transformers", "peft", "tokenizers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """A classifier of short news on rented machines."""
    file = write_run_file(
        tmp_path,
        model="google-bert/bert-large-uncased",
        data=write_news(tmp_path, rows=2000),
        training={"precision": "bf16-mixed", "max_length": 128},
        where={"clouds": ["aws", "gcp"]},
    )
    return load_spec(file)


def bought(spec: RunSpec, usd: str) -> Purchase:
    """For that much."""
    return what_buys(open_context(), spec, D(usd))


def test_the_longest_training_is_a_plan_within_the_money(spec: RunSpec) -> None:
    purchase = bought(spec, "5")
    cost = purchase.choice.cost_usd
    assert cost is not None
    assert D("4.85") <= cost.expected <= 5
    assert purchase.plan.profile.steps == purchase.amount.steps
    # 1,600 training samples in batches of 16; each is 100 steps.
    assert purchase.amount.epochs == pytest.approx(purchase.amount.steps / 100)
    kept = find_plan(open_context(), purchase.plan.plan_id)
    assert kept.spec.training.max_steps == purchase.amount.steps
    longer = replace(
        spec,
        training=replace(spec.training, max_steps=round(purchase.amount.steps * 1.05)),
        budget=replace(spec.budget, max_usd=D(5)),
    )
    assert open_job(open_context(), longer).plan().choice is None


def test_the_first_offer_bought_is_the_one_of_the_plan(spec: RunSpec) -> None:
    purchase = bought(spec, "5")
    assert purchase.bought[0].estimate.offer == purchase.choice.offer
    assert purchase.bought[0].steps == pytest.approx(purchase.amount.steps, rel=0.02)
    assert all(one.steps_surely <= one.steps for one in purchase.bought)
    assert len(purchase.bought) > 3


def test_more_money_buys_more(spec: RunSpec) -> None:
    steps = [bought(spec, usd).amount.steps for usd in ("1", "3", "9")]
    assert steps == sorted(set(steps))


def test_with_confidence_the_high_end_is_within_the_money(spec: RunSpec) -> None:
    sure = bought(replace(spec, budget=replace(spec.budget, confidence=0.9)), "5")
    cost = sure.choice.cost_usd
    assert cost is not None
    assert D("4.5") <= cost.high <= 5
    assert sure.amount.steps < bought(spec, "5").amount.steps


def test_a_deadline_holds(spec: RunSpec) -> None:
    hurried = replace(spec, budget=replace(spec.budget, deadline_hours=1.0))
    purchase = bought(hurried, "100")
    hours = purchase.choice.hours
    assert hours is not None
    assert 0.9 <= hours.expected <= 1.0
    with pytest.raises(OverBudgetError, match=r"within the deadline of 30 s buy no training"):
        bought(replace(spec, budget=replace(spec.budget, deadline_hours=1 / 120)), "100")


def test_the_largest_model_is_the_last_within_the_money(spec: RunSpec) -> None:
    planned: list[Plan] = []

    def planner(job: RunSpec) -> Plan:
        made = open_job(open_context(), job).plan()
        if job.training.max_steps is None and job.budget.max_usd is not None:
            planned.append(made)
        return made

    asked = open_job(open_context(), spec).plan()
    assert asked.choice is not None
    assert asked.choice.cost_usd is not None
    # A little less than the job as asked: the largest model is smaller than its own.
    largest = what_buys(open_context(), spec, asked.choice.cost_usd.expected * D("0.999"), planner=planner).largest
    assert largest.plan is not None
    assert largest.planned == len(planned)
    assert largest.known == len(models_of_task(spec))
    within = [plan.profile.parameters for plan in planned if plan.choice is not None]
    beyond = [plan.profile.parameters for plan in planned if plan.choice is None]
    assert largest.plan.profile.parameters == max(within) < asked.profile.parameters
    assert all(size > max(within) for size in beyond)
    assert beyond
    assert not largest.is_end


def test_the_end_of_the_table_is_told_from_the_end_of_the_money(spec: RunSpec) -> None:
    largest = bought(spec, "5000").largest
    assert largest.is_end
    assert largest.plan is not None
    assert largest.plan.choice is not None


def test_too_little_money_is_said_with_what_the_job_costs(spec: RunSpec) -> None:
    with pytest.raises(OverBudgetError, match=r"\$0.010 buy no training of this job: as asked it costs \$0"):
        bought(spec, "0.01")


@pytest.mark.parametrize("usd", ["0", "-5", "NaN", "Infinity", "1e13"])
def test_an_impossible_amount_is_refused(spec: RunSpec, usd: str) -> None:
    with pytest.raises(UsageError, match="is no amount to spend"):
        bought(spec, usd)


def test_a_job_that_fits_nowhere_is_refused_as_in_a_plan(spec: RunSpec) -> None:
    # The card computes no bfloat16.
    with pytest.raises(NothingFitsError):
        bought(replace(spec, where=replace(spec.where, accelerators=("T4",))), "50")


def test_what_is_printed(spec: RunSpec, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    purchase = bought(spec, "5")
    print_purchase(purchase, console(), top=2)
    shown = capsys.readouterr().out
    assert shown.startswith("$5.00 buy ")
    assert f"plan {purchase.plan.plan_id}" in " ".join(shown.split())
    assert f"... and {len(purchase.bought) - 2} more: --top {len(purchase.bought)}" in shown
    assert all(len(row) <= 80 for row in shown.splitlines())
    told = purchase_to_json(purchase, top=2)
    assert told["steps"] == purchase.amount.steps
    assert len(told["offers"]) == 2
    assert told["largest_model"]["models_planned"] == purchase.largest.planned
