"""From the estimate to the bill: the steps add up, whatever a run came to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.reports.build import build_report
from manager.reports.model import PlannedPhase
from manager.reports.waterfall import REST, waterfall
from manager.runs.states import RunState
from tasks.protocol import EventType
from tests.support.report_factory import cut, make_events, make_run


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.RUNNING])
def test_the_steps_lead_exactly_from_the_estimate_to_the_bill(state: RunState) -> None:
    found = waterfall(build_report(make_run(state=state)))
    assert found.planned_usd is not None
    assert found.actual_usd is not None
    changes = [step.change_usd for step in found.steps]
    assert None not in changes
    assert found.planned_usd + sum(change for change in changes if change is not None) == found.actual_usd
    assert found.steps[-1].level_usd == found.actual_usd


def test_a_phase_that_was_planned_and_did_not_come_is_money_not_spent() -> None:
    report = build_report(make_run())
    planned = (*report.planned_phases, PlannedPhase(name="interruption", cost_usd=Decimal("0.5")))
    found = waterfall(replace(report, planned_phases=planned))
    step = next(step for step in found.steps if step.name == "interruption")
    assert (step.planned_usd, step.actual_usd, step.change_usd) == (Decimal("0.5"), Decimal(0), Decimal("-0.5"))
    assert found.steps[-1].level_usd == found.actual_usd


def test_what_no_phase_accounts_for_is_a_step_of_its_own() -> None:
    report = build_report(make_run())
    assert report.cost_usd is not None
    found = waterfall(replace(report, cost_usd=report.cost_usd + 1))
    assert found.steps[-1].name == REST
    assert found.steps[-1].actual_usd is not None
    assert found.steps[-1].actual_usd > Decimal("0.99")


def test_an_unknown_price_leaves_changes_unknown() -> None:
    found = waterfall(build_report(make_run(price=None)))
    assert (found.planned_usd, found.actual_usd) == (None, None)
    assert {(step.change_usd, step.level_usd) for step in found.steps} == {(None, None)}


def test_a_run_that_did_not_get_through_is_no_test_of_its_estimate() -> None:
    through = waterfall(build_report(make_run()))
    broken = make_run(state=RunState.FAILED, events=cut(make_events(), EventType.EVALUATION))
    assert (through.comparable, waterfall(build_report(broken)).comparable) == (True, False)
    assert not waterfall(build_report(make_run(state=RunState.RUNNING))).comparable


def test_a_run_that_was_never_launched_has_no_bill() -> None:
    record = make_run(state=RunState.PLANNED, events=()).record
    never = replace(record, billing_started_at_s=None, billing_ended_at_s=None, charges=(), offer=None)
    report = build_report(replace(make_run(events=()), record=never))
    found = waterfall(report)
    assert (found.planned_usd is None, found.actual_usd) == (False, report.cost_usd)
    assert not found.comparable
