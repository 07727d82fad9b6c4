"""Which guards a launch has, what they are told, and how loudly a missing one is said."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import UsageError
from manager.launch.engine import GuardName, LaunchRequest
from manager.launch.guarding import deadman_environment
from manager.service.context import Context
from manager.service.guards import guards_at_work, missing_guards
from manager.service.launch_terms import launch_terms
from manager.service.running import prepare
from tests.support.contexts import make_context
from tests.unit.service.test_launch_terms import plan_of


def without(context: Context, names: str) -> Context:
    return replace(context, environment={**context.environment, "TUNEFARE_WITHOUT_GUARDS": names})


def prepared(context: Context, cap: str = "2") -> LaunchRequest:
    return prepare(context, plan_of(cap=cap), cap_usd=Decimal(cap))[0]


def test_all_guards_are_at_work_and_nothing_is_said(tmp_path: Path) -> None:
    request = prepared(make_context(tmp_path))
    assert request.guards == frozenset(GuardName)
    assert missing_guards(request) is None
    assert request.job.guard.heartbeat_s == 30
    assert request.job.guard.hang_s == 1800


def test_a_drill_takes_guards_away_and_says_so(tmp_path: Path) -> None:
    context = without(make_context(tmp_path), "machine, home")
    request = prepared(context)
    assert request.guards == {GuardName.TRAINER}
    assert missing_guards(request) == (
        "WARNING: TUNEFARE_WITHOUT_GUARDS: the guards are OFF: home, machine. Nothing else may keep the cap."
    )
    told = launch_terms(context, plan_of(cap="2")).guards
    assert [guard.endswith("OFF, as the environment says") for guard in told] == [False, True, True]


def test_an_unknown_guard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names dog"):
        guards_at_work(without(make_context(tmp_path), "machine,dog"))


def test_the_trainer_ends_before_home_and_timer_and_the_timer_at_the_cap(tmp_path: Path) -> None:
    request = prepared(make_context(tmp_path))
    (offer, *_) = request.offers
    limit_s = request.limit_s(offer)
    assert limit_s is not None
    guard = request.guard_on(offer)
    assert guard.max_usd is not None
    assert guard.price_usd_per_hour is not None
    trainer_s = guard.max_usd / guard.price_usd_per_hour * 3600
    assert trainer_s == pytest.approx(limit_s - request.end_s(limit_s))
    told = deadman_environment(request, [offer], billing_started_s=1000.0)
    assert told["TUNEFARE_END_AT"] == f"{int(1000 + limit_s)}"
    assert float(told["TUNEFARE_ALLOWED_S"]) == pytest.approx(limit_s, abs=0.01)
    # Half of what is kept is the time in which the timer lets a trainer save that should have ended by then.
    assert float(told["TUNEFARE_WRAP_UP_S"]) == pytest.approx(request.end_s(limit_s), abs=0.01)


def test_of_several_offers_the_timer_has_the_tightest_limit(tmp_path: Path) -> None:
    request = prepared(make_context(tmp_path))
    assert len(request.offers) > 1
    told = deadman_environment(request, request.offers, billing_started_s=None)
    limits = [request.limit_s(offer) for offer in request.offers]
    assert float(told["TUNEFARE_ALLOWED_S"]) == pytest.approx(min(limit for limit in limits if limit), abs=0.01)
    assert "TUNEFARE_END_AT" not in told


def test_a_guard_that_is_off_is_off_where_it_would_act(tmp_path: Path) -> None:
    request = prepared(without(make_context(tmp_path), "machine,trainer"))
    assert deadman_environment(request, request.offers, billing_started_s=1.0) == {"TUNEFARE_DEADMAN": "off"}
    guard = request.guard_on(request.offers[0])
    assert (guard.max_usd, guard.max_duration_s, guard.hang_s) == (None, None, None)
    assert guard.price_usd_per_hour is not None
