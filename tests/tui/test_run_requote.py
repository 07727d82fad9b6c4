"""The renewed quote, preemptions and guards on the screen Run; the question that the ledger carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from manager.runs.ledger import Ledger
from manager.runs.requote_rows import RequoteRow, RequoteStep, answer_in
from manager.runs.states import RunState
from tasks.protocol import Event, EventType
from tests.support.followed_run import BILLED_FROM, FollowedRun
from tests.support.report_factory import cut, make_events
from tests.support.tui_stage import SIZES, app_of, assert_snapshot, drawn_behind, press, running, settled, shown, until
from tui.app import TunefareApp
from tui.screens.requote_dialog import RequoteDialog
from tui.screens.run import RunScreen

HALF = cut(make_events(), EventType.TRAIN, count=30)
TEXT = (
    "now $0.31 ($0.27 to $0.36) in 23 min (20 min to 27 min), quoted $0.20 ($0.13 to $0.31): 55 % above "
    "(measured on the machine: 0.42 s a step with micro-batches of 8; 25 % either way of what remains)"
)


@pytest.fixture
def followed(tmp_path: Path) -> FollowedRun:
    """A run in the middle of its training, whose probe has renewed the quote."""
    followed = FollowedRun(folder=tmp_path)
    followed.run()
    followed.say(HALF)
    followed.charge_to(BILLED_FROM + 300)
    note(followed, RequoteStep.RENEWED, TEXT)
    return followed


def note(followed: FollowedRun, step: RequoteStep, words: str, *, until_s: float | None = None) -> None:
    row = RequoteRow(step=step, at_s=followed.clock.now_s, text=words, until_s=until_s)
    with Ledger.open(followed.context.home.ledger_file) as ledger:
        ledger.add_requote(followed.run_id, row)


def ask(followed: FollowedRun) -> None:
    until_s = followed.clock.now_s + 120
    note(followed, RequoteStep.ASKED, "without an answer it goes on, and keeps its cap", until_s=until_s)


def answer(followed: FollowedRun) -> bool | None:
    with Ledger.open(followed.context.home.ledger_file) as ledger:
        return answer_in(ledger.requotes(followed.run_id))


async def open_run(pilot: Pilot[None], followed: FollowedRun) -> RunScreen:
    app = app_of(pilot)
    await app.open_run(followed.run_id)
    screen = app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: screen.live is not None)
    await settled(pilot)
    return screen


@pytest.mark.parametrize("size", SIZES)
async def test_renewed_and_quoted_dollars_and_what_was_decided(followed: FollowedRun, size: tuple[int, int]) -> None:
    note(followed, RequoteStep.SETTLED, "the quote is exceeded; the run goes on, as budget.requote says")
    async with running(TunefareApp(followed.context), size) as pilot:
        await open_run(pilot, followed)
        told = shown(pilot)
        assert "quote renewed: now $0.31 ($0.27 to $0.36)" in told
        if size != (80, 24):
            flat = " ".join(told.split())
            assert "quoted $0.20 ($0.13 to $0.31): 55 % above" in flat
            assert "as budget.requote says" in flat
        assert not isinstance(app_of(pilot).screen, RequoteDialog)


@pytest.mark.parametrize(("key", "goes_on"), [("y", True), ("n", False)])
async def test_the_question_comes_by_itself_and_its_answer_goes_into_the_ledger(
    followed: FollowedRun, key: str, goes_on: bool
) -> None:
    ask(followed)
    app = TunefareApp(followed.context)
    async with running(app) as pilot:
        await app.open_run(followed.run_id)
        await until(pilot, lambda: isinstance(app.screen, RequoteDialog))
        told = shown(pilot)
        assert "costs more than quoted. Go on?" in told
        assert "120 s left; without an answer it goes on" in told
        await press(pilot, key)
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
    assert answer(followed) is goes_on


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES[:2])
async def test_picture_of_the_question(followed: FollowedRun, size: tuple[int, int], theme: str) -> None:
    app = TunefareApp(followed.context, background=theme)
    async with running(app, size) as pilot:
        await app.open_run(followed.run_id)
        # The screen behind is part of the picture, its keys too.
        await until(pilot, lambda: bool(app.screen.query("FooterKey")))
        ask(followed)
        await until(pilot, lambda: isinstance(app.screen, RequoteDialog))
        await until(pilot, lambda: "120 s left" in shown(pilot) and bool(app.screen_stack[-2].query("PlotWidget")))
        await drawn_behind(pilot, RequoteDialog)
        assert_snapshot(app, f"requote-{size[0]}x{size[1]}-{theme}")


async def test_left_open_it_can_be_asked_for_again_until_its_time_is_up(followed: FollowedRun) -> None:
    ask(followed)
    app = TunefareApp(followed.context)
    async with running(app) as pilot:
        await app.open_run(followed.run_id)
        await until(pilot, lambda: isinstance(app.screen, RequoteDialog))
        await press(pilot, "escape")
        assert isinstance(app.screen, RunScreen)
        assert "ASKED whether it goes on (a answers)" in shown(pilot)
        await press(pilot, "a")
        assert isinstance(app.screen, RequoteDialog)
        followed.clock.now_s += 121
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until(pilot, lambda: "ASKED" not in shown(pilot))
        await press(pilot, "a")
        assert isinstance(app.screen, RunScreen)
    assert answer(followed) is None


async def test_an_answer_from_elsewhere_closes_the_dialog(followed: FollowedRun) -> None:
    ask(followed)
    app = TunefareApp(followed.context)
    async with running(app) as pilot:
        await app.open_run(followed.run_id)
        await until(pilot, lambda: isinstance(app.screen, RequoteDialog))
        note(followed, RequoteStep.SETTLED, "ended as you answered")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until(pilot, lambda: "ended as you answered" in " ".join(shown(pilot).split()))


@pytest.mark.parametrize("size", SIZES)
async def test_preemptions_and_guards_are_loud_at_each_size(followed: FollowedRun, size: tuple[int, int]) -> None:
    last = HALF[-1]
    told: tuple[tuple[EventType, dict[str, Any]], ...] = (
        (EventType.PREEMPTED, {"source": "aws spot/instance-action", "seconds_left": 120.0}),
        (EventType.WARNING, {"code": "dead_man", "message": "The dead-man timer ended it: cap reached."}),
        (EventType.WARNING, {"code": "slow_data", "message": "Reading is slow."}),
    )
    followed.say(
        Event(seq=last.seq + n, time_s=last.time_s + n, type=kind, data=data)
        for n, (kind, data) in enumerate(told, start=1)
    )
    app = TunefareApp(followed.context)
    async with running(app, size) as pilot:
        await open_run(pilot, followed)
        flat = " ".join(shown(pilot).split())
        assert "PREEMPTED once; it goes on from its last checkpoint" in flat
        assert "DEAD-MAN TIMER: The dead-man timer ended it: cap reached." in flat
        await until(pilot, lambda: bool(app.screen.query("PlotWidget")))
        await settled(pilot)
        assert_snapshot(app, f"run-preempted-{size[0]}x{size[1]}-dark")


async def test_an_end_that_is_not_confirmed_is_the_loudest_line(followed: FollowedRun) -> None:
    followed.enter(RunState.TEARING_DOWN, BILLED_FROM + 790, "quote exceeded")
    followed.answer(confirmed=False, at_s=BILLED_FROM + 800)
    followed.enter(RunState.UNCONFIRMED, BILLED_FROM + 812)
    app = TunefareApp(followed.context)
    async with running(app, (80, 24)) as pilot:
        await open_run(pilot, followed)
        assert shown(pilot).splitlines()[2].startswith(" ! MAY STILL BE BILLED")
        assert "tunefare reconcile" in shown(pilot)
