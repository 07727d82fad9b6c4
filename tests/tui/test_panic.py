"""Panic and the ends of one run: nothing happens by mistake, what is left is loud, what is gone has its evidence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path

import pytest
from textual.screen import Screen

from manager.launch.engine import Evidence, Handle, Launched
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from manager.runs.supervise import supervise
from manager.service.context import Context
from manager.service.leftovers_report import Leftover, Leftovers
from manager.service.panic import panic
from manager.service.panic_end import end_and_tell
from manager.service.panic_report import PanicEntry, PanicReport, PanicTargets, PanicUpdate
from tests.support.tui_stage import SIZES, assert_snapshot, running, settled, text_of, tui_context, until
from tests.tui.test_leftovers import MACHINE
from tests.unit.runs.client_stage import Home
from tests.unit.runs.played_engine import PlayedEngine
from tests.unit.runs.samples import offer, order, plan
from tests.unit.runs.supervising_client import FAST
from tui.app import TunefareApp
from tui.screens import panic as panic_screen
from tui.screens.panic import Follow, PanicDialog
from tui.screens.stop_dialog import FollowOne, StopDialog, ask_end_now, ask_stop

RUN, OTHER = "job-20260101-aaaa", "job-20260101-bbbb"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return tui_context(tmp_path)


def running_run(context: Context, run_id: str, price: str | None) -> None:
    """A run that the ledger has as running, whose client and processes are gone."""
    now_s = context.clock()
    taken = offer(None if price is None else Decimal(price))
    run_dir = context.home.runs_dir / run_id
    with Ledger.open(context.home.ledger_file) as ledger:
        ledger.create_run(run_id, plan(price=taken.price_usd_per_hour), run_dir, "local", None, now_s - 60)
        ledger.transition(run_id, RunState.LAUNCHING, now_s - 60)
        handle = Handle(engine="local", run_dir=str(run_dir), name=run_id, details={})
        launched = Launched(handle=handle, offer=taken, billing_started_at_s=now_s - 60, failed_attempts=())
        ledger.store_launched(run_id, launched, now_s - 50)
        ledger.transition(run_id, RunState.RUNNING, now_s - 50)


def unconfirmed_run(context: Context, run_id: str) -> None:
    engine = PlayedEngine()
    engine.confirm_after = 1000
    with Ledger.open(context.home.ledger_file) as ledger:
        run = order(context.home.runs_dir / run_id, run_id=run_id)
        supervise(run, engine, ledger, time.time, lambda _: None, FAST)


def within_this_process(app: TunefareApp, found: PanicTargets) -> Follow:
    """At the time of the test, and with what the test puts in the place of engines."""
    return lambda tell: panic(app.context, found, on_update=tell)


async def over_nothing(app: TunefareApp) -> None:
    """So that a picture of a dialog does not change with the screens below it."""
    await app.push_screen(Screen[None]())


@pytest.mark.parametrize("size", SIZES)
async def test_panic_lists_the_dearest_first_and_ends_all(context: Context, size: tuple[int, int]) -> None:
    running_run(context, RUN, "0.10")
    running_run(context, OTHER, "3.06")
    app = TunefareApp(context)
    async with running(app, size) as pilot:
        await over_nothing(app)
        app.push_screen(PanicDialog(begin=within_this_process))
        await settled(pilot)
        shown = text_of(app)
        assert "2 runs may be billed: $3.16/h" in shown
        assert shown.index(OTHER) < shown.index(RUN)
        assert "running on local, CPU; not supervised" in shown
        assert_snapshot(app, f"panic-{size[0]}x{size[1]}-dark")
        await pilot.press(*"panic", "enter")
        await settled(pilot)
        shown = text_of(app)
        assert "all 2 GONE, confirmed" in shown
        assert shown.count("GONE: no process of") == 2
        if size == (80, 24):
            assert_snapshot(app, "panic-gone-80x24-dark")
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, PanicDialog)
    with Ledger.open(context.home.ledger_file) as ledger:
        assert {ledger.state(RUN), ledger.state(OTHER)} == {RunState.STOPPED}


@pytest.mark.parametrize("typed", ["", "yes", "y", "panik"])
async def test_any_other_word_ends_nothing(context: Context, typed: str) -> None:
    running_run(context, RUN, "0.10")
    app = TunefareApp(context)
    async with running(app) as pilot:
        await pilot.press("exclamation_mark")
        await settled(pilot)
        await pilot.press(*typed, "enter")
        await settled(pilot)
        assert "Nothing was ended: type panic" in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
    with Ledger.open(context.home.ledger_file) as ledger:
        assert ledger.state(RUN) is RunState.RUNNING
        assert ledger.stop_request(RUN) is None


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_what_is_not_confirmed_is_loud_and_says_what_to_type(context: Context, theme: str) -> None:
    unconfirmed_run(context, RUN)
    app = TunefareApp(context)
    async with running(app, (80, 24)) as pilot:
        app.theme = f"tunefare-{theme}"
        await over_nothing(app)
        await pilot.press("exclamation_mark")
        await settled(pilot)
        await pilot.press(*"panic", "enter")
        await settled(pilot)
        shown = text_of(app)
        assert "1 of 1 NOT CONFIRMED to be gone: MAY STILL BE BILLED" in shown
        assert f"tunefare reconcile {RUN} --end" in shown
        assert "copy commands" in shown
        assert_snapshot(app, f"panic-unconfirmed-80x24-{theme}")
        await pilot.press("c")
        assert app.clipboard == f"tunefare reconcile {RUN} --end"


async def test_nothing_to_end(context: Context) -> None:
    app = TunefareApp(context)
    async with running(app, (80, 24)) as pilot:
        await pilot.press("exclamation_mark")
        await settled(pilot)
        assert "nothing to end: no run may be billed" in text_of(app)
        assert "copy commands" not in text_of(app)
        await pilot.press("escape")
        assert not isinstance(app.screen, PanicDialog)


def known_to_providers_alone(monkeypatch: pytest.MonkeyPatch, found: Leftovers) -> None:
    monkeypatch.setattr(panic_screen, "asks_providers", lambda _: True)
    monkeypatch.setattr(panic_screen, "find_orphans", lambda _: found)


def orphans(*items: Leftover, **silent: str) -> Leftovers:
    return Leftovers(
        items=items,
        asked=("aws",),
        not_asked={},
        silent=silent,
        silent_of_runs=tuple(silent),
        prices_as_of="2026-10-01",
    )


async def test_a_machine_that_only_the_provider_knows_is_ended_too(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_to_providers_alone(monkeypatch, orphans(MACHINE))
    begun: list[PanicTargets] = []
    name = MACHINE.rented.run_id or ""

    def begin(app: TunefareApp, found: PanicTargets) -> Follow:
        begun.append(found)
        entry = PanicEntry(
            run_id=name,
            state=None,
            is_gone=True,
            told="instance i-0def: gone",
            evidence=None,
            cost_usd=None,
            commands=(),
        )
        return lambda tell: PanicReport(entries=(entry,), ledger_error=None)

    app = TunefareApp(context)
    async with running(app, (80, 24)) as pilot:
        await over_nothing(app)
        app.push_screen(PanicDialog(begin=begin))
        await settled(pilot)
        shown = text_of(app)
        assert "no run may be billed, but 1 machine that no run uses IS BILLED" in shown
        assert "aws us-east-1 i-0def (running): g5.xlarge, used by no run" in shown
        assert begun == []
        assert_snapshot(app, "panic-orphan-80x24-dark")
        await pilot.press(*"panic", "enter")
        await settled(pilot)
        assert "GONE, confirmed" in text_of(app)
        assert "GONE: instance i-0def: gone" in text_of(app)
    (found,) = begun
    assert found.targets == ()


async def test_a_provider_that_is_silent_where_runs_were_is_no_reassurance(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_to_providers_alone(monkeypatch, orphans(aws="no answer within 60 s"))
    app = TunefareApp(context)
    async with running(app, (80, 24)) as pilot:
        await pilot.press("exclamation_mark")
        await settled(pilot)
        assert "a machine of ours MAY BE BILLED there" in " ".join(text_of(app).split()).replace("│ │ ", "")
        assert "Type panic" in text_of(app)


async def test_providers_that_have_nothing_leave_nothing_to_end(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_to_providers_alone(monkeypatch, orphans())
    app = TunefareApp(context)
    async with running(app) as pilot:
        await pilot.press("exclamation_mark")
        await settled(pilot)
        assert "nothing to end: no run may be billed, and aws has no machine of ours" in text_of(app)
        assert "Type panic" not in text_of(app)


async def test_a_damaged_ledger_is_told_of(context: Context) -> None:
    context.home.ledger_file.write_bytes(b"no ledger" * 1000)
    app = TunefareApp(context)
    async with running(app) as pilot:
        app.push_screen(PanicDialog())
        await settled(pilot)
        shown = text_of(app)
        assert "damaged" in shown
        assert "in their folders instead" in shown


async def test_progress_is_told_of_each_run_and_the_dialog_may_be_left(context: Context) -> None:
    running_run(context, RUN, "0.10")
    goes_on = threading.Event()

    def slowly(tell: Callable[[PanicUpdate], None]) -> PanicReport:
        tell(PanicUpdate(run_id=RUN, text="tearing down"))
        goes_on.wait(30)
        evidence = Evidence(confirmed=True, asked_at_s=1.0, source="s", answer="a", left=())
        entry = PanicEntry(
            run_id=RUN, state=None, is_gone=True, told="a", evidence=evidence, cost_usd=None, commands=()
        )
        return PanicReport(entries=(entry,), ledger_error=None)

    app = TunefareApp(context)
    async with running(app) as pilot:
        app.push_screen(PanicDialog(begin=lambda _app, _found: slowly))
        await settled(pilot)
        await pilot.press(*"panic", "enter")
        await until(pilot, lambda: "tearing down" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: any("still being ended" in told.message for told in app._notifications))
        assert not isinstance(app.screen, PanicDialog)
        goes_on.set()
        await settled(pilot)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[Context, Home]]:
    """Real tasks with real clients."""
    context = tui_context(tmp_path, clock=time.time)
    opened = Home(context.home.runs_dir, context.home.ledger_file)
    yield context, opened
    opened.close()


async def test_stop_asks_the_client_and_shows_the_evidence(home: tuple[Context, Home]) -> None:
    context, stage = home
    stage.start(RUN, steps=10_000, step_s=0.05)
    stage.wait_for_events(3)
    ended: list[PanicEntry | None] = []
    app = TunefareApp(context)
    async with running(app) as pilot:
        ask_stop(app, RUN, on_end=ended.append)
        await settled(pilot)
        assert "saves a checkpoint" in text_of(app)
        await pilot.press("enter")
        await settled(pilot)
        assert f"GONE: no process of {RUN} is left (process table)" in text_of(app)
        await pilot.press("escape")
        await settled(pilot)
    (entry,) = ended
    assert entry is not None
    assert (entry.state, entry.is_gone) == (RunState.STOPPED, True)
    assert RunState.STOPPING in [change.state for change in stage.ledger.run(RUN).history]


async def test_an_end_at_once_wants_the_end_of_the_name(home: tuple[Context, Home]) -> None:
    context, stage = home
    stage.start(RUN, steps=10_000, step_s=0.05, trick="ignore_term")
    stage.wait_for_events(3)
    app = TunefareApp(context)
    async with running(app) as pilot:
        ask_end_now(app, RUN)
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert "Nothing was done: type aaaa" in text_of(app)
        assert stage.ledger.stop_request(RUN) is None
        await pilot.press(*"aaaa", "enter")
        await settled(pilot)
        assert "GONE: no process of" in text_of(app)
    assert RunState.STOPPING not in [change.state for change in stage.ledger.run(RUN).history]
    assert stage.processes() == 0


async def test_leaving_the_question_leaves_the_run_alone(context: Context) -> None:
    running_run(context, RUN, "0.10")
    ended: list[PanicEntry | None] = []
    app = TunefareApp(context)
    async with running(app, (80, 24)) as pilot:
        await over_nothing(app)
        ask_end_now(app, RUN, on_end=ended.append)
        await settled(pilot)
        assert_snapshot(app, "end-now-80x24-dark")
        await pilot.press("escape")
        await settled(pilot)
        ask_stop(app.screen, RUN, on_end=ended.append)
        await settled(pilot)
        assert_snapshot(app, "stop-80x24-dark")
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, StopDialog)
    assert ended == [None, None]
    with Ledger.open(context.home.ledger_file) as ledger:
        assert ledger.stop_request(RUN) is None


async def test_an_end_that_is_not_confirmed_says_what_to_type(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    unconfirmed_run(context, RUN)
    silent = PlayedEngine()
    silent.confirm_after = 1000
    monkeypatch.setattr("manager.service.panic_end.engines", lambda: nullcontext({"played": silent}))
    monkeypatch.setattr("manager.service.panic_end.supervise_settings", lambda _context: FAST)

    def begin(app: TunefareApp, run_id: str, is_now: bool) -> FollowOne:
        return lambda tell: end_and_tell(app.context, run_id, now=is_now, on_update=tell)

    app = TunefareApp(context)
    async with running(app) as pilot:
        app.push_screen(StopDialog(RUN, is_now=False, begin=begin))
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        shown = text_of(app)
        assert "MAY STILL BE BILLED: type these commands." in shown
        assert f"tunefare reconcile {RUN} --end" in shown
        await pilot.press("c")
        assert app.clipboard.splitlines()[0] == f"tunefare reconcile {RUN} --end"


async def test_a_run_that_is_not_there_is_an_error_in_the_dialog(context: Context) -> None:
    app = TunefareApp(context)
    async with running(app) as pilot:
        ask_stop(app, "nothing-like-it")
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        shown = text_of(app)
        assert "error: no run is called 'nothing-like-it'" in shown
        assert "hint: List them with `tunefare runs`." in shown
