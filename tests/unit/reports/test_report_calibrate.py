"""What runs teach the planner."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import shipped_assumptions
from manager.planner.calibration import Calibration
from manager.planner.estimate import priced
from manager.planner.plan import OLD_ESTIMATOR
from manager.reports.build import build_report
from manager.reports.calibrate import calibration_from
from manager.runs.records import RunEvents
from manager.runs.states import RunState
from tasks.protocol import EventType
from tests.support.plan_factory import make_traces
from tests.support.planning import judge_machine
from tests.support.report_factory import cut, make_events, make_run


def _trained_s(run: RunEvents) -> float:
    return next(phase.duration_s for phase in build_report(run).phases if phase.name == "training")


def _calibrated(run: RunEvents, factor: float) -> RunEvents:
    plan = run.record.plan
    offers = (replace(plan.offers[0], calibration_factor=factor),)
    return RunEvents(record=replace(run.record, plan=replace(plan, offers=offers)), events=run.events)


def test_factors_are_measured_over_estimated() -> None:
    run = make_run()
    found = {calibration.device: calibration for calibration in calibration_from([run, run])}
    assert set(found) == {"aws/L4", "*/L4"}
    one = found["aws/L4"]
    assert one.runs == 2
    assert one.time_factor == pytest.approx(_trained_s(run) / (0.08 * 3600))
    assert one.memory_factor == pytest.approx(2_184_000_000 / (2_254_100_000 - 550_000_000))
    assert one.basis.startswith("2 runs")


def test_runs_that_differ_widen_the_band_of_the_next() -> None:
    run = make_run()
    half = replace(run.events[-1], data={**run.events[-1].data, "steps": run.events[-1].data["steps"] // 3})
    equal = calibration_from([run, run])[0]
    apart = calibration_from([run, make_run(events=(*run.events[:-1], half))])[0]
    assert equal.spread == pytest.approx(0.0)
    assert apart.spread == pytest.approx(math.log(3) / math.sqrt(2), rel=0.02)
    low, high = (apart.time_factor / math.sqrt(3), apart.time_factor * math.sqrt(3))
    assert apart.band().low < low < high < apart.band().high, "both runs lie inside"
    assert equal.band().high / equal.time_factor == pytest.approx(1 + 0.35 / math.sqrt(2))


def test_a_factor_that_had_been_applied_is_divided_out() -> None:
    plain = calibration_from([make_run()])[0].time_factor
    again = calibration_from([_calibrated(make_run(), 0.5)])[0].time_factor
    assert again == pytest.approx(plain / 2)


def test_the_planners_own_factor_is_read() -> None:
    run = make_run()
    plan = run.record.plan
    offer, l4 = plan.offers[0].offer, accelerator("L4")
    applied = Calibration(device="aws/L4", time_factor=0.25, memory_factor=None, runs=1, basis="1 run")
    found = []
    for calibration in (None, applied):
        estimate = priced(
            offer, judge_machine(plan.profile, make_traces(), offer, l4, shipped_assumptions(), calibration)
        )
        record = replace(run.record, plan=replace(plan, offers=(estimate,)))
        found.append(calibration_from([RunEvents(record=record, events=run.events)])[0].time_factor)
    # Hours in a plan are rounded to a billionth.
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_runs_of_another_estimator_teach_nothing() -> None:
    run = make_run()
    plan = run.record.plan
    offers = (replace(plan.offers[0], estimator=OLD_ESTIMATOR),)
    older = RunEvents(record=replace(run.record, plan=replace(plan, offers=offers)), events=run.events)
    assert calibration_from([older]) == ()
    assert [one.runs for one in calibration_from([older, run])] == [1, 1]


def test_a_run_too_short_to_time_teaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    monkeypatch.setattr("manager.reports.calibrate.MIN_TRAINING_S", _trained_s(run) + 1)
    assert calibration_from([run]) == ()


def test_a_run_that_stopped_early_counts_by_its_steps() -> None:
    events = make_events()
    half = replace(events[-1], data={**events[-1].data, "outcome": "early_stopped", "steps": 84})
    early = calibration_from([make_run(events=(*events[:-1], half))])[0]
    assert early.time_factor == pytest.approx(2 * calibration_from([make_run()])[0].time_factor)


@pytest.mark.parametrize("last", [EventType.STARTED, EventType.TRAIN])
def test_runs_that_did_not_finish_teach_nothing(last: EventType) -> None:
    events = cut(make_events(), last)
    assert calibration_from([make_run(state=RunState.FAILED, events=events)]) == ()


def test_one_processor_says_nothing_about_others() -> None:
    run = make_run()
    offer = replace(run.record.plan.offers[0].offer, accelerator=None, accelerator_count=0, cloud="local")
    plan = replace(run.record.plan, offers=(replace(run.record.plan.offers[0], offer=offer),))
    here = RunEvents(record=replace(run.record, plan=plan, offer=offer), events=run.events)
    assert [calibration.device for calibration in calibration_from([here])] == ["local/cpu"]
