"""What is said before a launch is what the launch would do, and the most that it can cost is an upper bound."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import typer

from manager.cli.launch_view import confirm
from manager.config import Value, find_setting
from manager.errors import NothingFitsError
from manager.planner.plan import Plan
from manager.prices.offer import Offer
from manager.runs.session import SuperviseSettings
from manager.service import launch_terms as terms_module
from manager.service.budgets import set_budget
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.launch_terms import detail_lines, launch_terms, money_lines
from manager.service.running import prepare
from manager.spec.model import Budget, Where
from manager.units import usd
from tests.support.contexts import make_context
from tests.support.plan_factory import make_gpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan

CHEAP = make_gpu_offer("T4", price="0.1", cloud="azure", spot=True)
DEAR = make_gpu_offer("T4", price="0.4", cloud="aws", spot=True)
PATIENCE = SuperviseSettings()


def plan_of(*offers: Offer, cap: str | None = "2") -> Plan:
    budget = Budget(max_usd=None if cap is None else Decimal(cap))
    spec = replace(make_spec(where=Where(spot=True)), budget=budget)
    spec = replace(spec, data=replace(spec.data, source="org/data"))
    return make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=offers or (CHEAP, DEAR),
        created_at_s=1.0,
        notes=[],
    )


def with_setting(context: Context, name: str, text: str) -> Context:
    setting = find_setting(name)
    values = [value for value in context.config.values if value.setting.name != name]
    changed = (*values, Value(setting=setting, text=text, origin="test"))
    return replace(context, config=replace(context.config, values=changed))


def test_terms_name_the_offers_that_are_tried_in_their_order(tmp_path: Path) -> None:
    terms = launch_terms(make_context(tmp_path), plan_of())
    assert terms.where == f"{CHEAP.title}, $0.10/h"
    assert terms.fallbacks == (f"{DEAR.title}, $0.40/h",)
    assert terms.expected_usd is not None
    assert terms.range_usd is not None
    assert terms.range_usd.low <= terms.expected_usd <= terms.range_usd.high


def test_with_a_cap_the_most_is_the_cap_and_one_heartbeat_at_the_dearest_price(tmp_path: Path) -> None:
    plan = plan_of(cap="2")
    context = make_context(tmp_path)
    terms = launch_terms(context, plan)
    request, _ = prepare(context, plan, cap_usd=Decimal("2"))
    assert terms.worst[0].usd == 2
    dearest = Decimal("0.4") + request.beside[DEAR.key].usd_per_hour
    beat = usd(dearest * Decimal(str(request.job.guard.heartbeat_s)) / 3600)
    assert beat > 0
    assert terms.worst_usd == terms.alone.usd == 2 + beat


@pytest.mark.parametrize(("off", "is_bounded", "is_bounded_alone"), [("machine", True, False), ("all", False, False)])
def test_guards_that_a_drill_takes_away_bound_nothing(
    tmp_path: Path, off: str, is_bounded: bool, is_bounded_alone: bool
) -> None:
    names = "machine,trainer,home" if off == "all" else off
    context = replace(make_context(tmp_path), environment={"TUNEFARE_WITHOUT_GUARDS": names})
    terms = launch_terms(context, plan_of(cap="2"))
    assert (terms.worst_usd is not None) == is_bounded
    assert (terms.alone.usd is not None) == is_bounded_alone
    assert terms.alone.usd is not None or "OFF" in terms.alone.text


def test_without_a_cap_the_longest_duration_bounds_it(tmp_path: Path) -> None:
    context = with_setting(make_context(tmp_path), "longest_run_hours", "10")
    terms = launch_terms(context, plan_of(cap=None))
    assert terms.cap_usd is None
    assert "10.0 h" in terms.worst[0].text
    assert terms.worst[0].usd is not None
    assert terms.worst[0].usd >= 4
    assert any("no cap" in guard for guard in terms.guards)


def test_a_machine_that_does_not_take_itself_down_has_no_bound_without_this_one(tmp_path: Path) -> None:
    lasting = make_gpu_offer("T4", price="0.1", cloud="verda", spot=True)
    terms = launch_terms(make_context(tmp_path), plan_of(lasting))
    assert terms.alone.usd is None
    assert "verda" in terms.alone.text
    bounded = launch_terms(make_context(tmp_path), plan_of())
    assert bounded.alone.usd is not None
    assert bounded.worst_usd is not None
    assert bounded.alone.usd > 2


@pytest.mark.parametrize(("threshold", "is_asked"), [("1", True), ("100", False)])
def test_a_name_is_typed_above_the_users_threshold(tmp_path: Path, threshold: str, is_asked: bool) -> None:
    context = with_setting(make_context(tmp_path), "confirm_above_usd", threshold)
    plan = plan_of(cap="2")
    terms = launch_terms(context, plan)
    assert terms.needs_typed_confirmation == (plan.spec.name if is_asked else None)
    assert (terms.typed_because is not None) == is_asked


def test_a_budget_is_named_with_what_is_left_of_it(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert launch_terms(context, plan_of()).budget is None
    open_ledger(context).close()
    set_budget(context, "month", None, Decimal("50"))
    told = launch_terms(context, plan_of(cap="2")).budget
    assert told is not None
    assert "$50.00" in told
    assert "up to $2.00" in told


def test_what_cannot_be_launched_has_no_terms(tmp_path: Path) -> None:
    huge = replace(CHEAP, accelerator_memory_bytes=1)
    plan = plan_of(huge)
    assert plan.choice is None
    with pytest.raises(NothingFitsError):
        launch_terms(make_context(tmp_path), plan)


def test_the_lines_begin_with_money_and_leave_nothing_out(tmp_path: Path) -> None:
    terms = launch_terms(make_context(tmp_path), plan_of())
    expected, cap, most = money_lines(terms)
    assert expected.startswith("expected  $")
    assert cap == "cap       $2.00"
    assert most.startswith("at most   $2.")
    details = "\n".join(detail_lines(terms))
    for told in (terms.where, *terms.fallbacks, *terms.guards, *terms.teardown, terms.basis, terms.alone.text):
        assert told in details
    assert all(line.text in details for line in terms.worst)


def test_the_guard_at_home_says_how_often_it_charges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    often = replace(PATIENCE, charge_interval_s=10.0)
    monkeypatch.setattr(terms_module, "supervise_settings", lambda _: often)
    assert any("charges each 10 s" in guard for guard in launch_terms(make_context(tmp_path), plan_of()).guards)


def test_the_command_asks_with_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = launch_terms(make_context(tmp_path), plan_of())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: True)
    confirm(terms)
    told = capsys.readouterr().err
    assert all(line in told for line in (*money_lines(terms), *detail_lines(terms)))
