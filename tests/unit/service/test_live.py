"""Following a run: what is billed, what is ahead, which phase it is in, and what is said when something is wrong."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.cli import runs_command
from manager.launch.engine import LOG_FILE
from manager.reports.build import build_report
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.service.live import Follower, live_run
from manager.service.live_phases import PhaseState
from manager.service.live_run import LiveRun, live_to_json
from manager.service.live_series import Axis, Curve
from manager.service.live_words import ahead_words, live_lines
from manager.units import usd
from tasks.protocol import Event, EventType
from tests.support.followed_run import BILLED_FROM, FollowedRun
from tests.support.report_factory import STEPS, T0, cut, make_events

EVENTS = make_events()
PRICE = Decimal("0.8048")


@pytest.fixture
def followed(tmp_path: Path) -> FollowedRun:
    return FollowedRun(folder=tmp_path)


def _phase(live: LiveRun, name: str) -> PhaseState:
    return next(phase.state for phase in live.phases if phase.name == name)


def test_before_the_launch_nothing_is_billed_and_the_plan_is_ahead(followed: FollowedRun) -> None:
    live = Follower(followed.context, "bbc").poll()
    assert (live.state, live.cost_usd, live.projected_basis) == (RunState.PLANNED, Decimal(0), "the plan")
    assert live.left_s is not None
    assert live.left_s.low < live.left_s.expected < live.left_s.high
    assert live.active is None


def test_while_it_is_launched_the_bill_is_unknown_not_zero(followed: FollowedRun) -> None:
    followed.launch()
    live = Follower(followed.context, "bbc").poll()
    assert live.cost_usd is None
    assert live.active is not None
    assert live.active.name == "provisioning"


def test_a_plan_that_the_run_has_gone_beyond_promises_nothing(followed: FollowedRun) -> None:
    followed.run()
    follower = Follower(followed.context, "bbc")
    followed.clock.now_s = T0 + 1000
    live = follower.poll()
    assert live.projected_usd is not None
    assert live.cost_usd is not None
    assert live.projected_usd.low >= live.cost_usd
    followed.clock.now_s = T0 + 7200
    live = follower.poll()
    assert (live.projected_usd, live.left_s) == (None, None)
    assert "longer than planned" in ahead_words(live)


def test_each_poll_takes_what_is_new(followed: FollowedRun) -> None:
    followed.run()
    follower = Follower(followed.context, "bbc")
    assert follower.poll().step == 0
    half = cut(EVENTS, EventType.TRAIN, count=20)
    followed.say(half)
    live = follower.poll()
    assert live.step == 80
    assert live.latest["training loss"] == half[-1].data["loss"]
    assert live.projected_basis == "80 steps so far"
    followed.say(EVENTS[len(half) :])
    assert follower.poll().step == STEPS


def test_a_run_that_is_followed_from_its_middle_stands_as_one_that_was_followed_all_along(
    followed: FollowedRun,
) -> None:
    followed.run()
    early = Follower(followed.context, "bbc")
    early.poll()
    for count in (1, 10, 30):
        followed.say(cut(EVENTS, EventType.TRAIN, count=count))
        early.poll()
    assert live_to_json(early.poll()) == live_to_json(Follower(followed.context, "bbc").poll())


def test_dollars_go_on_between_charges_at_the_launch_price(followed: FollowedRun) -> None:
    followed.run()
    followed.charge_to(BILLED_FROM + 300)
    followed.clock.now_s = BILLED_FROM + 450
    live = Follower(followed.context, "bbc").poll()
    assert live.cost_usd is not None
    assert live.cost_usd == pytest.approx(usd(PRICE * 450 / 3600), abs=Decimal("0.000002"))
    assert live.cap_share == pytest.approx(float(live.cost_usd / 2))


def test_an_unknown_price_is_unknown_everywhere(tmp_path: Path) -> None:
    followed = FollowedRun(folder=tmp_path, price=None)
    followed.run()
    followed.say(EVENTS[:40])
    live = Follower(followed.context, "bbc").poll()
    assert (live.cost_usd, live.projected_usd, live.cap_share) == (None, None, None)
    assert live.axes == (Axis.STEPS, Axis.SECONDS)


def test_the_projection_narrows_to_what_it_costs(followed: FollowedRun) -> None:
    followed.run()
    follower = Follower(followed.context, "bbc")
    widths = []
    for count in (2, 20, 40):
        followed.say(cut(EVENTS, EventType.TRAIN, count=count))
        projected = follower.poll().projected_usd
        assert projected is not None
        widths.append(projected.high - projected.low)
    assert widths[0] > widths[1] > widths[2]


def test_phases_take_as_long_as_the_report_says(followed: FollowedRun) -> None:
    followed.run()
    followed.say(EVENTS)
    followed.charge_to(BILLED_FROM + 812)
    followed.enter(RunState.TEARING_DOWN, EVENTS[-1].time_s + 1, "task ended")
    followed.answer(confirmed=True, at_s=BILLED_FROM + 812)
    followed.enter(RunState.SUCCEEDED, BILLED_FROM + 812)
    live = Follower(followed.context, "bbc").poll()
    with Ledger.open(followed.context.home.ledger_file) as ledger:
        report = build_report(ledger.run_events(followed.run_id))
    told = {phase.name: phase.duration_s for phase in report.phases}
    mine = {phase.name: phase.duration_s for phase in live.phases}
    assert mine["training"] == pytest.approx(told["training"], abs=0.01)
    assert mine["evaluation"] == pytest.approx(told["baseline"] + told["evaluation"] + told["final"], abs=0.01)
    assert mine["saving"] == pytest.approx(told["checkpoints"] + told["saving"], abs=0.01)
    assert mine["teardown"] == pytest.approx(told["teardown"], abs=0.01)
    assert {phase.state for phase in live.phases} == {PhaseState.DONE}
    assert live.error is None
    assert live.evidence is not None
    assert live.evidence.confirmed


def test_a_phase_at_a_time_is_active(followed: FollowedRun) -> None:
    followed.run()
    follower = Follower(followed.context, "bbc")
    followed.clock.now_s = T0 + 200
    live = follower.poll()
    assert live.active is not None
    assert (live.active.name, live.active.duration_s) == ("set-up", 35.0)
    followed.say(cut(EVENTS, EventType.DATA))
    assert _phase(follower.poll(), "download") is PhaseState.ACTIVE
    followed.say(cut(EVENTS, EventType.TRAIN, count=3))
    live = follower.poll()
    assert _phase(live, "training") is PhaseState.ACTIVE
    assert _phase(live, "evaluation") is PhaseState.DONE  # the baseline
    assert _phase(live, "teardown") is PhaseState.WAITING


def test_a_clock_that_is_wrong_moves_no_point_beyond_the_bill(followed: FollowedRun) -> None:
    followed.run()
    followed.say(replace(event, time_s=event.time_s - 90_000) for event in EVENTS)
    followed.clock.now_s = T0 + 600
    live = Follower(followed.context, "bbc").poll()
    seconds = live.series[0].across(Axis.SECONDS)
    assert seconds is not None
    assert 160 <= seconds[0] < seconds[-1] < 600


def test_curves_lie_at_steps_seconds_and_dollars(followed: FollowedRun) -> None:
    followed.run()
    followed.say(EVENTS)
    live = Follower(followed.context, "bbc").poll()
    loss = live.series[0]
    assert [(one.name, one.split) for one in live.series[:5]] == [
        ("loss", "training"),
        ("loss", "validation"),
        ("loss", "test"),
        ("f1_macro", "validation"),
        ("f1_macro", "test"),
    ]
    seconds, dollars = loss.across(Axis.SECONDS), loss.across(Axis.DOLLARS)
    assert loss.across(Axis.STEPS) == [float(step) for step in range(4, STEPS + 1, 4)]
    assert seconds is not None
    assert dollars is not None
    assert dollars[-1] == pytest.approx(seconds[-1] * float(PRICE) / 3600)
    assert live.axes == (Axis.STEPS, Axis.SECONDS, Axis.DOLLARS)


def test_a_failure_is_told_with_its_hint_before_the_teardown_is_through(followed: FollowedRun) -> None:
    followed.run()
    begun = cut(EVENTS, EventType.TRAIN, count=3)
    failed = Event(
        seq=begun[-1].seq + 1,
        time_s=begun[-1].time_s + 1,
        type=EventType.FAILED,
        data={"code": "out_of_memory", "message": "The device is full.", "hint": "Lower training.micro_batch."},
    )
    followed.say([*begun, failed])
    follower = Follower(followed.context, "bbc")
    live = follower.poll()
    assert live.error is not None
    assert (live.error.message, live.error.hint) == ("The device is full.", "Lower training.micro_batch.")
    followed.enter(RunState.TEARING_DOWN, failed.time_s + 2, "task ended")
    followed.enter(RunState.FAILED, failed.time_s + 9, "The device is full.")
    live = follower.poll()
    assert live.error is not None
    assert (live.error.message, live.error.hint) == ("The device is full.", "Lower training.micro_batch.")


def test_no_capacity_is_an_error_that_names_what_was_tried(followed: FollowedRun) -> None:
    followed.launch()
    followed.enter(RunState.TEARING_DOWN, T0 + 60, "no capacity: none of 2 offers had capacity")
    followed.enter(RunState.NO_CAPACITY, T0 + 61, "none of 2 offers had capacity")
    live = Follower(followed.context, "bbc").poll()
    assert live.error is not None
    assert live.error.message == "none of 2 offers had capacity"
    assert _phase(live, "training") is PhaseState.SKIPPED


def test_what_the_user_ended_is_no_error(followed: FollowedRun) -> None:
    followed.run()
    followed.enter(RunState.STOPPING, T0 + 300, "stop requested: tunefare stop")
    followed.enter(RunState.TEARING_DOWN, T0 + 330, "stop requested: tunefare stop")
    followed.enter(RunState.STOPPED, T0 + 340, "the run was stopped on request")
    live = live_run(followed.context, "bbc")
    assert not live.is_failure
    assert "ended: the run was stopped on request" in live_lines(live)


def test_an_end_that_is_not_confirmed_is_an_alarm_with_what_to_type(followed: FollowedRun) -> None:
    followed.run()
    followed.say(EVENTS)
    followed.charge_to(BILLED_FROM + 812)
    followed.enter(RunState.TEARING_DOWN, BILLED_FROM + 800, "task ended")
    followed.answer(confirmed=False, at_s=BILLED_FROM + 805)
    follower = Follower(followed.context, "bbc")
    alarm = follower.poll().alarm
    assert alarm is not None
    assert alarm.text.startswith("NOT CONFIRMED YET")
    followed.enter(RunState.UNCONFIRMED, BILLED_FROM + 812)
    followed.clock.now_s = BILLED_FROM + 812 + 3600
    live = follower.poll()
    assert live.alarm is not None
    assert "MAY STILL BE BILLED" in live.alarm.text
    assert "tf-bbc-news-minilm" in live.alarm.text
    assert live.alarm.commands[0] == f"tunefare reconcile {followed.run_id}"
    assert live.unconfirmed_usd == PRICE
    assert live.cost_usd == usd(PRICE * 812 / 3600)


def test_a_run_without_a_client_is_an_alarm(followed: FollowedRun) -> None:
    followed.run()
    follower = Follower(followed.context, "bbc")
    assert follower.poll().alarm is None
    followed.lose_client()
    live = follower.poll()
    assert not live.has_client
    assert live.alarm is not None
    assert "NOBODY SUPERVISES" in live.alarm.text


def test_the_log_is_told_without_events_and_searched(followed: FollowedRun) -> None:
    followed.run()
    follower = Follower(followed.context, "bbc")
    follower.poll()
    followed.print_lines("loading weights", "10%\r55%\r100%", events=EVENTS[:3])
    followed.print_lines("Loading \x1b[31mdata")
    assert follower.poll().log_version == 3
    assert follower.log_since(0)[1][-2:] == ("100%", "Loading data")
    assert follower.log_since(0, "LOADING")[1] == ("loading weights", "Loading data")
    followed.enter(RunState.TEARING_DOWN, T0 + 300, "task ended")
    log = followed.run_dir / LOG_FILE
    fetched = log.with_suffix(".fetched")
    fetched.write_text("all of it\n", encoding="utf-8")
    fetched.replace(log)
    follower.poll()
    assert follower.log_since(0)[1][-1:] == ("all of it",)


def test_a_long_log_is_begun_near_its_end(followed: FollowedRun) -> None:
    followed.print_lines(*(f"line {number:07d} {'x' * 100}" for number in range(20_000)))
    follower = Follower(followed.context, "bbc")
    follower.poll()
    tail = follower.log_since(0)[1]
    assert len(tail) == 5000
    assert tail[-1].startswith("line 0019999")
    assert all(line.startswith("line ") for line in tail)


@pytest.mark.parametrize("trouble", ["gone", "garbage", "another", "locked"])
def test_a_ledger_that_cannot_be_read_for_a_while_leaves_what_was_known(followed: FollowedRun, trouble: str) -> None:
    followed.run()
    followed.say(EVENTS[:60])
    follower = Follower(followed.context, "bbc")
    before = follower.poll()
    file = followed.context.home.ledger_file
    away = file.with_name("away")
    locker: sqlite3.Connection | None = None
    if trouble == "locked":
        follower.close()
        locker = sqlite3.connect(file, isolation_level=None)
        locker.execute("PRAGMA locking_mode = EXCLUSIVE")
        locker.execute("BEGIN EXCLUSIVE")
    else:
        os.rename(file, away)
        if trouble == "garbage":
            file.write_bytes(b"not a ledger at all, for sure" * 200)
        elif trouble == "another":
            Ledger.open(file).close()
    followed.clock.now_s += 60
    stale = follower.poll()
    assert stale.stale_since_s == followed.clock.now_s
    assert stale.stale_reason is not None
    assert (stale.step, stale.state) == (before.step, before.state)
    followed.clock.now_s += 60
    assert follower.poll().stale_since_s == followed.clock.now_s - 60
    if locker is not None:
        locker.close()
    else:
        os.replace(away, file)
    followed.say(EVENTS[60:])
    live = follower.poll()
    assert (live.stale_since_s, live.stale_reason, live.step) == (None, None, STEPS)


def test_a_run_is_found_while_another_process_writes(followed: FollowedRun) -> None:
    writer = sqlite3.connect(followed.context.home.ledger_file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        assert Follower(followed.context, "bbc").poll().run_id == followed.run_id
    finally:
        writer.close()


def test_a_curve_of_any_length_stays_small_and_keeps_its_peaks() -> None:
    curve = Curve(most_points=200)
    for step in range(100_000):
        curve.add(step, float(step), 9.0 if step == 77_777 else 1.0 + 1e-6 * (step % 7))
    points = curve.points()
    assert len(points) <= 201
    assert curve.seen == 100_000
    assert max(point[2] for point in points) == 9.0
    assert points[0][0] < 1000
    assert points[-1][0] == 99_999
    assert [point[0] for point in points] == sorted({point[0] for point in points})


def test_the_words_of_a_run_begin_with_what_may_be_lost_then_money(followed: FollowedRun) -> None:
    followed.run()
    followed.say(cut(EVENTS, EventType.TRAIN, count=30))
    followed.charge_to(BILLED_FROM + 300)
    lines = live_lines(live_run(followed.context, "bbc"))
    assert lines[0] == "$0.14 so far, 7% of the cap of $2.00"
    assert lines[1].startswith("will cost $0.15")
    assert "▶ training" in lines[3]
    followed.lose_client()
    assert "NOBODY SUPERVISES" in live_lines(live_run(followed.context, "bbc"))[0]


def test_what_a_run_is_now_is_a_command_too(followed: FollowedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    followed.run()
    followed.say(EVENTS)
    told: list[object] = []
    monkeypatch.setattr(runs_command, "open_context", lambda: followed.context)
    monkeypatch.setattr(runs_command, "emit_json", told.append)
    runs_command.show("bbc", live=True, as_json=True)
    found = json.loads(json.dumps(told[0], allow_nan=False))
    assert (found["schema"], found["step"], found["state"]) == (1, STEPS, "running")
    assert found["projected_usd"]["low"] <= found["projected_usd"]["expected"] <= found["projected_usd"]["high"]
