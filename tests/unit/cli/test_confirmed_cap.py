"""The cap that `tunefare run` launches with is the one that was confirmed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.cli import launch_view, run_command
from manager.planner.plan import Plan
from manager.service.budgets import set_budget
from manager.service.context import Context
from manager.service.launch_terms import LaunchTerms
from tests.support.report_factory import make_offer, make_plan, make_spec
from tests.support.tui_stage import tui_context


@pytest.mark.parametrize(("own", "confirmed"), [(None, Decimal(3)), (Decimal(2), Decimal(2))])
def test_the_cap_that_was_confirmed_is_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Decimal | None, confirmed: Decimal
) -> None:
    context = tui_context(tmp_path)
    set_budget(context, "month", None, Decimal(3))
    spec = make_spec()
    plan = make_plan(offer=make_offer(), spec=replace(spec, budget=replace(spec.budget, max_usd=own)))
    asked: list[Decimal | None] = []
    launched: list[Decimal | None] = []

    def ask(terms: LaunchTerms) -> None:
        asked.append(terms.cap_usd)

    def start(_: Context, made: Plan, *, cap_usd: Decimal | None, as_json: bool) -> int:
        launched.append(cap_usd)
        return 0

    monkeypatch.setattr(run_command, "open_context", lambda: context)
    monkeypatch.setattr(run_command, "_planned", lambda *_, **__: plan)
    monkeypatch.setattr(run_command, "run_detached", start)
    monkeypatch.setattr(launch_view, "confirm", ask)
    run_command.run(detach=True)
    assert asked == launched == [confirmed]
