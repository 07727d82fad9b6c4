"""Reports are right in their numbers, and exist for every state that a run can be in."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.reports.build import build_report
from manager.reports.html import render_html
from manager.reports.json import report_to_json
from manager.reports.terminal import render_report
from manager.reports.wording import summary
from manager.runs.records import RunEvents
from manager.runs.states import RunState
from tasks.protocol import Event, EventType, Outcome
from tests.support.report_factory import T0, cut, make_events, make_offer, make_run


def test_scores_are_baseline_against_tuned_in_points() -> None:
    report = build_report(make_run())
    score = report.score("accuracy")
    assert score is not None
    assert (score.baseline, score.tuned, score.points) == (0.191, 0.9686, 77.76)


def test_undefined_metric_stays_undefined() -> None:
    score = build_report(make_run()).score("roc_auc")
    assert score is not None
    assert score.baseline is None
    assert score.points is None


def test_cost_is_the_sum_of_charges_and_equals_price_times_time() -> None:
    report = build_report(make_run())
    assert report.cost_usd == sum(charge.amount_usd or 0 for charge in report.charges)
    assert report.billed_s == 812.0
    assert report.cost_usd == pytest.approx(Decimal("0.8048") * 812 / 3600, abs=Decimal("0.000003"))


def test_dollars_at_an_event_are_price_times_time_since_billing() -> None:
    point = build_report(make_run()).evaluations[0]
    assert point.since_billing_s is not None
    assert point.cost_usd == round(Decimal("0.8048") * Decimal(str(point.since_billing_s)) / 3600, 6)


def test_gauges_say_inside_outside_and_ratio() -> None:
    inside = build_report(make_run()).gauge("hours")
    outside = build_report(make_run(billed_s=3000.0)).gauge("hours")
    assert inside is not None
    assert outside is not None
    assert inside.inside is True
    assert inside.ratio == pytest.approx(812 / 3600 / 0.246)
    assert outside.inside is False


def test_memory_is_compared_with_the_peak_that_was_measured() -> None:
    gauge = build_report(make_run()).gauge("peak_memory")
    assert gauge is not None
    assert gauge.expected == 2_254_100_000 - 550_000_000, "the allocator does not see the CUDA context"
    assert gauge.actual == 2_184_000_000
    assert gauge.inside is None


def test_a_run_that_ended_early_is_no_test_of_its_estimate() -> None:
    events = make_events()
    finished = replace(events[-1], data={**events[-1].data, "outcome": "early_stopped", "steps": 84})
    report = build_report(make_run(events=(*events[:-1], finished)))
    gauge = report.gauge("cost")
    assert report.outcome is Outcome.EARLY_STOPPED
    assert report.steps_done == 84
    assert gauge is not None
    assert gauge.actual is not None
    assert gauge.inside is None


def test_earlier_stops_keep_the_best_weights_so_far() -> None:
    stops = build_report(make_run()).earlier_stops
    assert [stop.step for stop in stops] == [28, 56, 84, 112, 140]
    assert stops[-1].points_lost == 0
    assert stops[3].points_lost == pytest.approx(0.4, abs=0.01)
    saved = [stop.saved_usd for stop in stops if stop.saved_usd is not None]
    assert saved == sorted(saved, reverse=True)
    assert len(saved) == 5


def test_earlier_stops_never_cost_points_twice_when_the_metric_falls() -> None:
    events = list(make_events())
    intervals = [i for i, event in enumerate(events) if event.data.get("stage") == "interval"]
    worse = events[intervals[2]]
    events[intervals[2]] = replace(worse, data={**worse.data, "metrics": {"f1_macro": 0.1}})
    stops = build_report(make_run(events=tuple(events))).earlier_stops
    assert stops[2].value == stops[1].value


def test_unknown_price_gives_no_dollars_anywhere() -> None:
    report = build_report(make_run(price=None))
    assert report.cost_usd is None
    assert report.cost_per_point_usd is None
    assert {point.cost_usd for point in report.losses} == {None}
    assert {point.cost_usd for point in report.evaluations} == {None}
    assert all(phase.cost_usd is None for phase in report.phases)
    assert "price_unknown" in {notice.code for notice in report.warnings}
    assert "unknown" in render_report(report)


def test_failed_task_shows_its_own_message_and_hint() -> None:
    events = cut(make_events(), EventType.TRAIN)
    data = {"code": "out_of_memory", "message": "CUDA out of memory", "hint": "lower micro_batch"}
    failed = Event(seq=len(events), time_s=events[-1].time_s + 1, type=EventType.FAILED, data=data)
    report = build_report(make_run(state=RunState.FAILED, events=(*events, failed)))
    assert report.failure is not None
    assert (report.failure.code, report.failure.hint) == ("out_of_memory", "lower micro_batch")
    assert "hint: lower micro_batch" in render_report(report)


def test_failure_before_the_task_started_takes_the_reason_of_the_ledger() -> None:
    report = build_report(make_run(state=RunState.FAILED, events=()))
    assert report.failure is not None
    assert report.failure.message == "the task ended"
    assert [phase.name for phase in report.phases] == ["provisioning", "setup", "teardown"]
    assert report.scores == ()


def test_a_run_that_was_never_launched() -> None:
    run = make_run(state=RunState.PLANNED, events=())
    bare = replace(run.record, offer=None, billing_started_at_s=None, charges=(), failed_attempts=())
    report = build_report(RunEvents(record=bare, events=()))
    assert report.billed_s is None
    assert report.phases == ()
    assert "No machine was billed." in render_report(report)


def test_a_fall_back_is_compared_with_its_own_estimate_and_told() -> None:
    run = make_run()
    other = make_offer(price="2.0", cloud="gcp")
    plan = run.record.plan
    second = replace(plan.offers[0], offer=other, hours=None, cost_usd=None)
    record = replace(run.record, offer=other, plan=replace(plan, offers=(*plan.offers, second)))
    report = build_report(RunEvents(record=record, events=run.events))
    gauge = report.gauge("hours")
    assert gauge is not None
    assert gauge.expected is None
    assert "fall_back" in {notice.code for notice in report.warnings}


def test_cost_over_the_cap_is_told() -> None:
    run = make_run()
    report = build_report(RunEvents(record=replace(run.record, cap_usd=Decimal("0.1")), events=run.events))
    assert "over_cap" in {notice.code for notice in report.warnings}


def test_steps_seen_twice_after_a_resume_count_once() -> None:
    events = make_events()
    again = [event for event in events if event.type is EventType.TRAIN][3]
    repeated = replace(again, seq=999, data={**again.data, "loss": 9.0})
    report = build_report(make_run(events=(*events[:-1], repeated, events[-1])))
    steps = [point.step for point in report.losses]
    assert len(steps) == len(set(steps))
    assert next(point.loss for point in report.losses if point.step == again.data["step"]) == 9.0


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(make_events())), st.sampled_from(list(RunState)), st.sampled_from(["0.8048", "0", None]))
def test_any_broken_stream_in_any_state_has_a_report(length: int, state: RunState, price: str | None) -> None:
    report = build_report(make_run(state=state, events=make_events()[:length], price=price))
    assert render_report(report)
    assert report.run_id in render_html([report])
    assert report_to_json(report)["schema"] == 1
    if report.phases:
        end = make_run(state=state).record.billing_ended_at_s
        covered = sum(phase.duration_s for phase in report.phases)
        assert end is None or covered == pytest.approx(end - T0 - 5, abs=0.1)


def test_the_memory_of_a_run_on_a_cpu_is_that_of_the_process() -> None:
    run = make_run()
    plan = run.record.plan
    offer = replace(plan.offers[0].offer, accelerator=None, accelerator_count=0)
    plan = replace(plan, offers=(replace(plan.offers[0], offer=offer),))
    gauge = build_report(RunEvents(record=replace(run.record, plan=plan, offer=offer), events=run.events)).gauge(
        "peak_memory"
    )
    assert gauge is not None
    assert gauge.expected == 2_254_100_000


def _followed_by(events: tuple[Event, ...], *more: tuple[EventType, dict[str, Any]]) -> tuple[Event, ...]:
    found = list(events)
    for kind, data in more:
        found.append(Event(seq=len(found), time_s=found[-1].time_s + 1, type=kind, data=data))
    return tuple(found)


_FAILED = (EventType.FAILED, {"code": "out_of_memory", "message": "CUDA out of memory", "hint": None})


def test_the_later_of_finished_and_failed_tells_how_the_run_ended() -> None:
    failed_last = build_report(make_run(state=RunState.FAILED, events=_followed_by(make_events(), _FAILED)))
    assert failed_last.outcome is None
    assert failed_last.failure is not None
    finished = (EventType.FINISHED, make_events()[-1].data)
    finished_last = build_report(make_run(events=_followed_by(make_events()[:-1], _FAILED, finished)))
    assert finished_last.outcome is Outcome.COMPLETED
    assert finished_last.failure is None


def test_a_final_evaluation_of_other_weights_than_those_kept_is_not_shown() -> None:
    started = (EventType.STARTED, make_events()[0].data)
    kept_other = {
        **make_events()[-1].data,
        "outcome": "stopped",
        "best": {"metric": "f1_macro", "value": 1, "step": 168},
    }
    resumed = _followed_by(make_events()[:-1], started, (EventType.FINISHED, kept_other))
    report = build_report(make_run(events=resumed))
    assert report.score("accuracy") is not None
    assert {score.tuned for score in report.scores} == {None}
    assert report.confusion is not None
    assert report.confusion.stage == "baseline"
    same = build_report(
        make_run(events=_followed_by(make_events()[:-1], started, (EventType.FINISHED, make_events()[-1].data)))
    )
    assert same.score("accuracy") == build_report(make_run()).score("accuracy")


def test_a_run_that_goes_on_shows_no_final_evaluation_of_its_earlier_start() -> None:
    started = (EventType.STARTED, make_events()[0].data)
    report = build_report(make_run(state=RunState.RUNNING, events=_followed_by(make_events(), started)))
    assert {score.tuned for score in report.scores} == {None}


@pytest.mark.parametrize("change", [0.0, 0.0002, -0.0002])
def test_an_accuracy_that_did_not_move_stayed(change: float) -> None:
    sentence = summary(build_report(make_run(final=0.1910 + change)))
    assert sentence.startswith("Accuracy stayed at 19.1% for $0.18")
