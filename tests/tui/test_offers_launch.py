"""Launching from the pane of offers: the whole plan is saved, and only the answer to the last question is launched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.pilot import Pilot

from manager.service.context import Context
from manager.service.replanning import PlanSession
from manager.spec.model import RunSpec
from tests.support.offers_stage import GatedSession, OffersApp, offers_context, offers_spec, plan_only
from tests.support.tui_stage import running, settled, text_of, until


@pytest.fixture(autouse=True)
def _planning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_only(monkeypatch)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return offers_spec(tmp_path)


async def planned(pilot: Pilot[None], app: OffersApp, spec: RunSpec) -> None:
    """The whole answer is there and the list has the focus."""
    app.pane.ask(spec)
    await until(pilot, lambda: app.pane.is_up_to_date)
    app.pane.view.table.rows.focus()
    await settled(pilot)


async def test_launch_saves_the_plan_and_asks_for_the_dialog(tmp_path: Path, spec: RunSpec) -> None:
    app = OffersApp(offers_context(tmp_path))
    async with running(app) as pilot:
        await planned(pilot, app, spec)
        await pilot.press("ctrl+l")
        await settled(pilot)
        (asked,) = app.host.posted
        assert asked.plan.choice is not None
        assert (app.context.home.plans_dir / f"{asked.plan.plan_id}.json").exists()
        assert "saving" not in text_of(app)


async def test_a_plan_that_was_overtaken_while_it_was_saved_is_not_launched(tmp_path: Path, spec: RunSpec) -> None:
    context = offers_context(tmp_path)
    session = GatedSession(context)
    session.launch_gate = Event()
    longer = replace(spec, training=replace(spec.training, epochs=40.0))
    app = OffersApp(context, session)
    async with running(app) as pilot:
        await planned(pilot, app, spec)
        await pilot.press("ctrl+l")
        app.pane.ask(longer)
        session.launch_gate.set()
        await settled(pilot)
        assert app.host.posted == []
        assert any("nothing is launched" in told.message for told in app._notifications)
        await until(pilot, lambda: app.pane.is_up_to_date)
        await pilot.press("ctrl+l")
        await settled(pilot)
        (asked,) = app.host.posted
        assert asked.plan.spec == longer


async def test_before_the_first_answer_nothing_is_launched_and_one_session_is_opened(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Context] = []
    begin = PlanSession.__init__

    def counted(self: PlanSession, context: Context, **given: Any) -> None:
        opened.append(context)
        begin(self, context, **given)

    monkeypatch.setattr(PlanSession, "__init__", counted)
    app = OffersApp(offers_context(tmp_path))
    async with running(app) as pilot:
        app.pane.ask(spec)
        app.pane.action_launch()
        assert opened == []
        await until(pilot, lambda: app.pane.is_up_to_date)
        assert len(opened) == 1
        assert app.host.posted == []
