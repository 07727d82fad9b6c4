"""Event times come onto the bill, and phases share all of the billed time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manager.reports.build import build_report
from manager.reports.model import Report
from manager.runs.records import RunEvents
from manager.runs.states import RunState
from tasks.protocol import Event, EventType
from tests.support.report_factory import T0, cut, make_events, make_run


def _seconds(report: Report, name: str) -> float:
    return next((phase.duration_s for phase in report.phases if phase.name == name), 0.0)


def test_phases_add_up_to_the_billed_time() -> None:
    report = build_report(make_run())
    assert sum(phase.duration_s for phase in report.phases) == pytest.approx(812.0)


def test_phases_are_where_history_and_events_put_them() -> None:
    report = build_report(make_run())
    assert _seconds(report, "provisioning") == 160.0
    assert _seconds(report, "setup") == 230.0
    assert _seconds(report, "evaluation") == pytest.approx(6 * 2.9)
    assert _seconds(report, "checkpoints") == pytest.approx(6 * 1.3)
    assert _seconds(report, "interruption") == 0


def test_phases_stand_beside_the_lines_of_the_plan() -> None:
    setup = next(phase for phase in build_report(make_run()).phases if phase.name == "setup")
    assert setup.estimated_s == pytest.approx(0.08 * 3600)
    assert setup.estimated_usd is not None


def test_clocks_that_agree_are_left_alone() -> None:
    report = build_report(make_run())
    assert report.losses[0].since_billing_s == pytest.approx(make_events()[7].time_s - T0 - 5, abs=30)
    assert report.clock is not None
    assert "agrees" in report.clock


@pytest.mark.parametrize("shift_s", [-7200.0, 86400.0])
def test_a_clock_that_is_off_is_moved_to_the_ledgers(shift_s: float) -> None:
    report = build_report(make_run(clock_shift_s=shift_s))
    first = report.evaluations[0]
    assert first.since_billing_s is not None
    assert 160 <= first.since_billing_s <= 200
    assert report.clock is not None
    assert "moved" in report.clock
    assert sum(phase.duration_s for phase in report.phases) == pytest.approx(812.0)


def test_a_task_that_vanished_ends_when_the_ledger_began_teardown() -> None:
    events = cut(make_events(), EventType.TRAIN, count=3)
    report = build_report(make_run(state=RunState.FAILED, events=events))
    assert _seconds(report, "teardown") == pytest.approx(55.0)


def test_time_between_two_starts_is_an_interruption() -> None:
    events = list(cut(make_events(), EventType.TRAIN, count=10))
    again = Event(seq=len(events), time_s=events[-1].time_s + 40, type=EventType.STARTED, data=dict(events[0].data))
    report = build_report(make_run(state=RunState.RUNNING, events=(*events, again)))
    assert _seconds(report, "interruption") == pytest.approx(40.0)


def test_running_longer_than_charged_is_not_billed_yet() -> None:
    run = make_run(state=RunState.RUNNING)
    report = build_report(RunEvents(record=replace(run.record, charges=run.record.charges[:1]), events=run.events))
    assert report.billed_s == 300.0
    assert report.still_billing
