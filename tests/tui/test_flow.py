"""From nothing to the report by keys alone, on this machine's engine; detach and come back; a run that fails."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from manager.service.inspection import find_run
from manager.service.nouns import FINAL, RunState
from manager.service.recovery import stop_run
from tests.support.cli import trainers_of, write_news, write_tiny_model
from tests.support.tui_stage import running, settled, text_of, tui_context, until
from tui.app import TunefareApp
from tui.screens.launch import LaunchDialog
from tui.screens.plan.screen import PlanScreen
from tui.screens.reports import ReportsScreen
from tui.screens.run import RunScreen
from tui.screens.runs import RunsScreen

RUN_LIMIT_S = 240.0
"""For a real run of a few seconds; machines that test are shared."""
pytestmark = [pytest.mark.torch, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TunefareApp:
    monkeypatch.chdir(tmp_path)
    # So cheap that nobody is asked whether a run goes on that a busy machine makes slower than was quoted.
    context = tui_context(tmp_path, clock=time.time, local_price_usd_per_hour="0.001")
    monkeypatch.setenv("TUNEFARE_HOME", str(context.home.root))
    return TunefareApp(context)


async def typed_job(pilot: Pilot[Any], app: TunefareApp, *, model: Path, data: Path, epochs: int) -> PlanScreen:
    """Fill in the form by keys, and wait for the plan."""
    screen = app.screen
    assert isinstance(screen, PlanScreen)
    await until(pilot, lambda: screen.form.is_read)
    assert isinstance(app.screen, PlanScreen), "the tour is offered once, and Esc skips it"
    await pilot.press("e")
    await settled(pilot)
    for text in (str(model), str(data)):
        await pilot.press("ctrl+u", *text, "tab")
    await settled(pilot)
    screen.form.set_value("training.epochs", str(epochs))
    screen.form.set_value("training.max_length", "64")
    screen.form.set_value("where.clouds", "local")
    await pilot.press("escape")
    await until(pilot, lambda: screen.offers.is_up_to_date and screen.offers.shown is not None)
    return screen


async def launched(pilot: Pilot[Any], app: TunefareApp) -> str:
    """Launch what is planned; the run's id, once its screen is there."""
    await pilot.press("ctrl+l")
    await until(pilot, lambda: isinstance(app.screen, LaunchDialog))
    await settled(pilot)
    assert "at most" in text_of(app)
    await pilot.press("y")
    await until(pilot, lambda: isinstance(app.screen, RunScreen))
    assert app.open_run_id is not None
    return app.open_run_id


async def test_from_nothing_to_the_report(tmp_path: Path, app: TunefareApp, model: Path) -> None:
    async with running(app, (120, 40)) as pilot:
        await typed_job(pilot, app, model=model, data=write_news(tmp_path), epochs=3)
        run_id = await launched(pilot, app)
        await until(pilot, lambda: find_run(app.context, run_id).state in FINAL, limit_s=RUN_LIMIT_S)
        assert find_run(app.context, run_id).state is RunState.SUCCEEDED
        await until(pilot, lambda: "succeeded" in text_of(app))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, ReportsScreen))
        await until(pilot, lambda: run_id[:12] in text_of(app) and "by Accuracy" in text_of(app))


async def test_detach_leave_and_come_back(tmp_path: Path, app: TunefareApp, model: Path) -> None:
    async with running(app, (120, 40)) as pilot:
        await typed_job(pilot, app, model=model, data=write_news(tmp_path), epochs=3000)
        run_id = await launched(pilot, app)
        await until(pilot, lambda: bool(trainers_of(tmp_path)), limit_s=RUN_LIMIT_S)
        await pilot.press("D")
        await until(pilot, lambda: app.open_run_id is None and run_id[:12] in text_of(app))
    assert find_run(app.context, run_id).state not in FINAL
    again = TunefareApp(app.context)
    async with running(again, (120, 40)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: isinstance(again.screen, RunsScreen) and run_id[:12] in text_of(again))
        again.screen.query_one("DataTable").focus()
        await pilot.press("g", "enter")
        await until(pilot, lambda: isinstance(again.screen, RunScreen) and again.open_run_id == run_id)
        await until(pilot, lambda: "training" in text_of(again))
    assert stop_run(app.context, run_id, on_update=lambda _: None).state is RunState.STOPPED
    assert trainers_of(tmp_path) == []


async def test_a_run_that_fails_says_why(
    tmp_path: Path, app: TunefareApp, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broken = write_tiny_model(tmp_path_factory.mktemp("broken"), not_a_number=True)
    async with running(app, (120, 40)) as pilot:
        await typed_job(pilot, app, model=broken, data=write_news(tmp_path), epochs=3)
        run_id = await launched(pilot, app)
        await until(pilot, lambda: find_run(app.context, run_id).state in FINAL, limit_s=RUN_LIMIT_S)
        assert find_run(app.context, run_id).state is RunState.FAILED
        await until(pilot, lambda: "failed" in text_of(app) and "not finite" in text_of(app))
