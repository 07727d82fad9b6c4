"""The first-run tour: it begins by itself once, can be left and repeated, and ends in a planned run."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Static

from manager.errors import SpecError
from manager.service import tour as tour_service
from manager.service.context import Context
from manager.service.first_start import end_tour, is_first_start
from manager.service.planning import plan_job
from manager.service.tour import tour_example
from tests.support.tui_stage import running, settled, text_of, tui_context, until
from tui.actions import ACTIONS
from tui.app import TunefareApp
from tui.screens.plan.form import RunForm
from tui.screens.plan.offers import OfferPane
from tui.screens.tour import Tour, TourScreen
from tui.screens.tour_steps import STEPS


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Of a machine without the packages of the demo, in a folder without a run file."""

    def absent(name: str) -> dict[str, object]:
        raise SpecError(f"example `{name}` needs a package")

    monkeypatch.setattr(tour_service, "example_values", absent)
    monkeypatch.chdir(tmp_path)
    return tui_context(tmp_path)


def said(app: TunefareApp) -> str:
    return str(app.screen.query_one("#said", Static).render())


def test_a_first_start_is_one_where_nothing_was_done_before(context: Context) -> None:
    assert is_first_start(context)
    end_tour(context)
    assert not is_first_start(context)


@pytest.mark.parametrize("done", ["ledger", "draft"])
def test_whoever_has_worked_here_is_not_toured(context: Context, done: str) -> None:
    if done == "ledger":
        context.home.ledger_file.touch()
    else:
        context.home.drafts_dir.mkdir()
        (context.home.drafts_dir / "1.json").touch()
    assert not is_first_start(context)


def test_a_state_folder_that_cannot_be_written_is_no_error(tmp_path: Path, context: Context) -> None:
    (tmp_path / "file").touch()
    end_tour(replace(context, home=type(context.home)(root=tmp_path / "file" / "home")))
    assert (tmp_path / "file").is_file()


def test_the_example_can_be_planned_without_the_demos_packages(context: Context) -> None:
    example = tour_example(context)
    assert example.draft.problems() == {}
    plan = plan_job(context, example.draft.spec())
    assert plan.offers
    assert plan.profile.num_labels == 3
    assert not example.draft.is_changed


def test_each_step_names_keys_that_exist() -> None:
    known = {"example", "offer", *(action.id for action in ACTIONS)}
    named = {name for step in STEPS for name in step.text.replace("}", "{").split("{")[1::2]}
    assert named - known == set()
    assert 4 <= len(STEPS) <= 6
    assert {"offer", "offers.launch"} <= {name for name in named if name in STEPS[-1].text}


async def test_it_ends_in_a_planned_run(context: Context) -> None:
    app = TunefareApp(context, has_tour=True)
    async with running(app) as pilot:
        await until(pilot, lambda: isinstance(app.screen, TourScreen))
        for number, step in enumerate(STEPS):
            assert isinstance(app.screen, TourScreen)
            assert app.current_mode == step.mode
            assert f"{number + 1} of {len(STEPS)}" in text_of(app)
            if step is not STEPS[-1]:
                await pilot.press("enter")
                await settled(pilot)
        await until(pilot, lambda: "The cheapest: " in said(app))
        assert " expected in " in said(app)
        assert "^l opens the launch dialog" in said(app)
        await pilot.press("enter")
        await settled(pilot)
        assert not isinstance(app.screen, TourScreen)
        pane = app.screen.query_one(OfferPane)
        assert pane.shown is not None
        assert pane.shown.choice is not None
        assert not app.screen.query(".-pointed")
        assert not context.home.ledger_file.exists()
        assert not is_first_start(context)


async def test_looking_at_the_plan_reads_no_file(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads: list[str] = []

    def example(of: Context) -> tour_service.TourExample:
        in_threads.append(threading.current_thread().name)
        return tour_example(of)

    monkeypatch.setattr("tui.screens.tour.tour_example", example)
    app = TunefareApp(context, has_tour=True)
    async with running(app) as pilot:
        await until(pilot, lambda: isinstance(app.screen, TourScreen))
        reads: list[object] = []
        monkeypatch.setattr("manager.service.keys.read_keys", lambda *read: reads.append(read))
        monkeypatch.setattr("tui.keymap.read_keys", lambda *read: reads.append(read))
        for _ in range(3):
            await pilot.press("enter")
            await settled(pilot)
        await until(pilot, lambda: "Opened for you" in said(app))
        assert in_threads == ["example"]
        assert reads == []


async def test_it_can_be_left_and_begun_again(context: Context) -> None:
    app = TunefareApp(context, has_tour=True)
    async with running(app) as pilot:
        await until(pilot, lambda: isinstance(app.screen, TourScreen))
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, TourScreen)
        assert not is_first_start(context)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, TourScreen))
        await pilot.press("enter")
        await settled(pilot)
        assert app.current_mode == "runs"
        await pilot.press("left")
        await until(pilot, lambda: app.current_mode == "plan" and isinstance(app.screen, TourScreen))
        assert "1 of" in text_of(app)


async def test_it_does_not_begin_by_itself_where_it_was_not_asked_to(context: Context) -> None:
    app = TunefareApp(context)
    async with running(app):
        assert not isinstance(app.screen, TourScreen)


async def test_left_while_it_comes_up_there_is_no_error(context: Context) -> None:
    app = TunefareApp(context)
    async with running(app):
        app.exit()
        await Tour(app).go(0)
    assert app.return_code == 0


async def test_what_was_typed_stays(context: Context) -> None:
    app = TunefareApp(context)
    async with running(app) as pilot:
        form = app.screen.query_one(RunForm)
        form.set_value("name", "mine")
        await settled(pilot)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, TourScreen))
        for _ in range(3):
            await pilot.press("enter")
            await settled(pilot)
        await until(pilot, lambda: "your own run file" in said(app))
        assert form.draft.get("name") == "mine"
