"""The screen Run: one run as it goes on, its end, its troubles; the list where none is open."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Static

from manager.errors import StateError
from manager.runs.states import RunState
from manager.service.run_list import run_summaries
from tasks.protocol import Event, EventType
from tests.support.followed_run import BILLED_FROM, FollowedRun
from tests.support.report_factory import T0, cut, make_events
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, until
from tui.app import TunefareApp
from tui.screens.run import RunScreen
from tui.screens.run_choice import choice_row
from tui.screens.run_rows import run_row
from tui.threads import Failed
from tui.widgets.run_log import RunLog
from tui.widgets.run_panels import bar_text

EVENTS = make_events()
HALF = cut(EVENTS, EventType.TRAIN, count=30)


@pytest.fixture
def followed(tmp_path: Path) -> FollowedRun:
    """A run in the middle of its training."""
    followed = FollowedRun(folder=tmp_path)
    followed.run()
    followed.say(HALF)
    followed.charge_to(BILLED_FROM + 300)
    followed.print_lines(*(f"line {number} of the log" for number in range(40)))
    return followed


def app_of(followed: FollowedRun) -> TunefareApp:
    return TunefareApp(followed.context)


async def open_run(pilot: Pilot[None], followed: FollowedRun) -> RunScreen:
    """The screen with this run on it, drawn."""
    app = pilot.app
    assert isinstance(app, TunefareApp)
    await app.open_run(followed.run_id)
    screen = app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: screen.live is not None and screen.live.run_id == followed.run_id)
    await settled(pilot)
    return screen


def text(pilot: Pilot[None]) -> str:
    app = pilot.app
    assert isinstance(app, TunefareApp)
    return text_of(app)


def finish(followed: FollowedRun, *, confirmed: bool = True) -> None:
    """To its end."""
    followed.say(EVENTS[len(HALF) :])
    followed.charge_to(BILLED_FROM + 812)
    followed.enter(RunState.TEARING_DOWN, BILLED_FROM + 790, "task ended")
    followed.answer(confirmed=confirmed, at_s=BILLED_FROM + 800)
    followed.enter(RunState.SUCCEEDED if confirmed else RunState.UNCONFIRMED, BILLED_FROM + 812)


@pytest.mark.parametrize("size", SIZES)
async def test_money_comes_first_at_each_size(followed: FollowedRun, size: tuple[int, int]) -> None:
    async with running(app_of(followed), size) as pilot:
        await open_run(pilot, followed)
        shown = text(pilot)
    assert "$0.14 so far, 7% of the cap of $2.00" in shown.splitlines()[2]
    assert "will cost $0.15" in shown
    assert "▶ training 3.1 min of about 4.8 min" in shown
    assert "line 39 of the log" in shown


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES)
async def test_picture_of_a_run(followed: FollowedRun, size: tuple[int, int], theme: str) -> None:
    app = TunefareApp(followed.context, background=theme)
    async with running(app, size) as pilot:
        await open_run(pilot, followed)
        await until(pilot, lambda: bool(app.screen.query("PlotWidget")))
        await settled(pilot)
        assert_snapshot(app, f"run-{size[0]}x{size[1]}-{theme}")


async def test_what_happens_is_drawn_until_the_end_and_its_report_is_a_key_away(followed: FollowedRun) -> None:
    async with running(app_of(followed)) as pilot:
        screen = await open_run(pilot, followed)
        assert "step 120 of 168" in text(pilot)
        finish(followed)
        await until(pilot, lambda: screen.live is not None and screen.live.is_over)
        shown = text(pilot)
        assert "succeeded; its machine is confirmed gone" in shown
        assert "step 168 of 168" in shown
        await pilot.press("r")
        await until(pilot, lambda: pilot.app.current_mode == "reports")
        app = pilot.app
        assert isinstance(app, TunefareApp)
        assert app.report_run_ids == (followed.run_id,)


async def test_a_run_that_goes_on_has_no_report_yet(followed: FollowedRun) -> None:
    async with running(app_of(followed)) as pilot:
        await open_run(pilot, followed)
        await pilot.press("r")
        await settled(pilot)
        assert pilot.app.current_mode == "run"


async def test_the_x_axis_goes_from_steps_to_time_to_dollars_and_back(followed: FollowedRun) -> None:
    titles = []
    async with running(app_of(followed)) as pilot:
        await open_run(pilot, followed)
        for _ in range(4):
            titles.append(str(pilot.app.screen.query_one("#chart-loss #chart-title", Static).render()))
            await pilot.press("x")
            await settled(pilot)
    assert "optimizer steps" in titles[0]
    assert "min since billing began" in titles[1]
    assert "dollars" in titles[2]
    assert titles[3] == titles[0]


async def test_a_chart_says_in_words_what_it_draws(followed: FollowedRun) -> None:
    async with running(app_of(followed)) as pilot:
        screen = await open_run(pilot, followed)
        words = str(screen.query_one("#chart-metric #chart-words", Static).render())
    assert "validation 96.17% at step 112" in words
    assert "test 18.99% at step 0" in words


async def test_the_log_is_searched_and_grows_on(followed: FollowedRun) -> None:
    async with running(app_of(followed)) as pilot:
        screen = await open_run(pilot, followed)
        log = screen.query_one(RunLog)
        await pilot.press("slash", *"line 3")
        await until(pilot, lambda: log.line_count == 11)
        followed.print_lines("a Line 3 in capitals", "nothing of it")
        await until(pilot, lambda: log.line_count == 12)
        await pilot.press("enter", "escape")
        await until(pilot, lambda: log.line_count == 42)
        assert not screen.query_one("#search").has_class("-open")


async def test_detach_leaves_the_run_and_opening_it_again_finds_it(followed: FollowedRun) -> None:
    async with running(app_of(followed)) as pilot:
        screen = await open_run(pilot, followed)
        await pilot.press("D")
        await settled(pilot)
        assert screen.has_class("-choosing")
        await until(pilot, lambda: followed.run_id in text(pilot))
        followed.say(EVENTS[len(HALF) : len(HALF) + 4])
        await pilot.press("enter")
        await until(pilot, lambda: screen.live is not None)
        assert screen.live is not None
        assert screen.live.step > 120


async def test_a_run_that_is_only_planned_is_not_told_as_over(tmp_path: Path) -> None:
    planned = FollowedRun(folder=tmp_path)
    async with running(app_of(planned)) as pilot:
        await open_run(pilot, planned)
        await pilot.press("r")
        await settled(pilot)
        assert pilot.app.current_mode == "run"
        assert "its report comes when it has ended" in [note.message for note in pilot.app._notifications]
        await pilot.press("D")
        await settled(pilot)
        assert any("it goes on" in note.message for note in pilot.app._notifications)


async def test_a_run_watched_before_that_fails_late_throws_nobody_out(followed: FollowedRun) -> None:
    async with running(app_of(followed)) as pilot:
        screen = await open_run(pilot, followed)
        late = StateError("the ledger is gone", hint="Put it back.")
        screen.post_message(Failed(late, "poll another-run"))
        await settled(pilot)
        assert not screen.has_class("-choosing")
        screen.post_message(Failed(late, f"poll {followed.run_id}"))
        await until(pilot, lambda: screen.has_class("-choosing"))
        assert "error: the ledger is gone" in text(pilot)


async def test_the_list_puts_what_may_be_billed_first(followed: FollowedRun) -> None:
    app = app_of(followed)
    async with running(app) as pilot:
        await pilot.press("2")
        await settled(pilot)
        shown = text(pilot)
    assert followed.run_id in shown
    assert "running" in shown


async def test_without_a_run_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    empty = FollowedRun(folder=tmp_path)
    empty.context.home.ledger_file.unlink()
    async with running(app_of(empty)) as pilot:
        await pilot.press("2")
        await settled(pilot)
        assert "no run yet" in text(pilot)


async def test_a_failed_run_says_why_and_what_to_do_with_its_last_lines(followed: FollowedRun) -> None:
    followed.print_lines("torch.OutOfMemoryError: CUDA out of memory")
    followed.say(
        [
            Event(
                seq=HALF[-1].seq + 1,
                time_s=HALF[-1].time_s + 1,
                type=EventType.FAILED,
                data={"code": "out_of_memory", "message": "The device is full.", "hint": "Lower micro_batch."},
            )
        ]
    )
    followed.enter(RunState.TEARING_DOWN, HALF[-1].time_s + 2, "task ended")
    followed.answer(confirmed=True, at_s=HALF[-1].time_s + 4)
    followed.enter(RunState.FAILED, HALF[-1].time_s + 5, "The device is full.")
    async with running(app_of(followed), (80, 24)) as pilot:
        await open_run(pilot, followed)
        shown = text(pilot)
    assert "error: The device is full." in shown
    assert "hint: Lower micro_batch." in shown
    assert "CUDA out of memory" in shown


@pytest.mark.parametrize("size", SIZES)
async def test_an_end_that_is_not_confirmed_comes_before_all_else(followed: FollowedRun, size: tuple[int, int]) -> None:
    finish(followed, confirmed=False)
    followed.clock.now_s += 3600
    async with running(app_of(followed), size) as pilot:
        await open_run(pilot, followed)
        lines = text(pilot).splitlines()
    assert "MAY STILL BE BILLED" in lines[2]
    assert any(f"tunefare reconcile {followed.run_id}" in line for line in lines[3:8])


async def test_a_run_that_nobody_supervises_says_so(followed: FollowedRun) -> None:
    async with running(app_of(followed)) as pilot:
        screen = await open_run(pilot, followed)
        assert "NOBODY SUPERVISES" not in text(pilot)
        followed.lose_client()
        await until(pilot, lambda: screen.live is not None and not screen.live.has_client)
        assert "NOBODY SUPERVISES" in text(pilot)


async def test_a_ledger_that_is_gone_for_a_while_leaves_what_was_known(followed: FollowedRun) -> None:
    file = followed.context.home.ledger_file
    async with running(app_of(followed)) as pilot:
        screen = await open_run(pilot, followed)
        os.rename(file, file.with_name("away"))
        await until(pilot, lambda: screen.live is not None and screen.live.stale_since_s is not None)
        shown = text(pilot)
        assert "! OLD since" in shown
        assert "step 120 of 168" in shown
        os.rename(file.with_name("away"), file)
        await until(pilot, lambda: screen.live is not None and screen.live.stale_since_s is None)
        assert "! OLD since" not in text(pilot)


async def test_a_run_that_is_not_there_leads_to_the_list_with_the_reason(followed: FollowedRun) -> None:
    app = app_of(followed)
    async with running(app) as pilot:
        await app.open_run("no-such-run")
        await settled(pilot)
        assert "no run is called 'no-such-run'" in text(pilot)
        assert app.open_run_id is None


@pytest.mark.parametrize(
    ("spent", "ahead", "width", "bar"),
    [
        (0.5, None, 40, f"{'█' * 10}{'░' * 11} 50% of the cap now"),
        (0.0, 0.25, 60, f"{'▒' * 5}{'░' * 15} 0% of the cap now, about 25% at its end"),
        (1.4, 2.0, 80, f"{'█' * 22} 140% of the cap now, about 200% at its end - OVER THE CAP"),
        (0.1, None, 20, "10% of the cap now"),
        (None, None, 40, f"{'░' * 14} share of the cap: unknown"),
    ],
)
def test_the_bar_is_told_in_numbers_too(spent: float | None, ahead: float | None, width: int, bar: str) -> None:
    assert bar_text(spent, ahead, width) == bar


def test_rows_say_in_words_what_their_colour_says(followed: FollowedRun) -> None:
    followed.lose_client()
    row = choice_row(run_summaries(followed.context)[0], T0 + 3600)
    assert row.cells[1] == "running, not supervised"
    assert row.style == "error"


def test_a_run_of_an_old_plan_stands_in_the_list_without_its_model(followed: FollowedRun) -> None:
    summary = replace(run_summaries(followed.context)[0], model=None, machine=None)
    row = choice_row(summary, T0 + 3600)
    assert row.cells[4:] == ("-", "-")
    assert row.cells[3].startswith("2026-09-21 14:13 (")
    assert all(cell_len(cell) for cell in row.cells)


@pytest.mark.parametrize("has_client", [True, False])
def test_a_supervised_run_looks_the_same_on_all_screens(followed: FollowedRun, has_client: bool) -> None:
    summary = replace(run_summaries(followed.context)[0], has_client=has_client)
    styles = {choice_row(summary, T0).style, run_row(summary).style}
    assert styles == {"success" if has_client else "error"}
    words = choice_row(summary, T0).cells[1]
    assert words in run_row(summary).cells[1]
