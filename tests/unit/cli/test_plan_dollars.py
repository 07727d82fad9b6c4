"""Dollars of a plan's bill as a person reads them."""

from __future__ import annotations

import dataclasses
import io
from decimal import Decimal

import pytest
from rich.console import Console

from manager.cli.plan_view import print_plan
from manager.units import MoneyInterval
from tests.support.plan_factory import make_cpu_offer, make_profile, make_spec, make_traces
from tests.support.planning import make_plan


@pytest.mark.parametrize(("price", "text"), [(Decimal("0.1"), "< $0.000001"), (Decimal(0), "$0.00")])
def test_a_line_that_rounds_to_nothing_is_not_free(price: Decimal, text: str) -> None:
    spec = make_spec()
    plan = make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=[make_cpu_offer()],
        created_at_s=0.0,
        notes=[],
    )
    choice = plan.offers[0]
    nothing = MoneyInterval(low=Decimal(0), expected=Decimal(0), high=Decimal(0))
    lines = [dataclasses.replace(line, unit_price_usd=price, total_usd=nothing) for line in choice.lines]
    shown = dataclasses.replace(plan, offers=(dataclasses.replace(choice, lines=tuple(lines)),))
    out = io.StringIO()
    print_plan(shown, Console(file=out, width=120, highlight=False), top=1)
    row = next(line for line in out.getvalue().splitlines() if line.startswith("training"))
    assert f" {text} " in row
