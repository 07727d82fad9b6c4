"""What a plan bills besides the machine stands in the report as planned, apart from what the machine did."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from manager.planner.plan import CostLine
from manager.reports.build import build_report
from manager.reports.html import render_html
from manager.reports.json import report_to_json
from manager.reports.model import Report
from manager.reports.terminal import render_report
from manager.runs.records import RunEvents
from manager.units import Interval, MoneyInterval
from tests.support.report_factory import make_run


def _line(name: str, quantity: float, unit: str, dollars: str) -> CostLine:
    total = Decimal(dollars)
    return CostLine(
        name=name,
        quantity=Interval(low=quantity / 2, expected=quantity, high=2 * quantity),
        unit=unit,
        unit_price_usd=Decimal("0.1"),
        total_usd=MoneyInterval(low=total / 2, expected=total, high=2 * total),
        assumption=f"{name}_price",
    )


EXTRAS = (
    _line("waiting", 0.25, "h", "0"),
    _line("disk", 0.04, "GiB-month", "0.0032"),
    _line("address", 0.24, "h", "0.0012"),
    _line("egress", 0.17, "GiB", "0.0153"),
)


def with_extras(run: RunEvents) -> RunEvents:
    """The run of a plan that has them on its bill."""
    plan = run.record.plan
    estimate = plan.offers[0]
    assert estimate.cost_usd is not None
    assert estimate.hours is not None
    cost, hours = estimate.cost_usd, estimate.hours
    for line in EXTRAS:
        cost = MoneyInterval(
            low=cost.low + line.total_usd.low,
            expected=cost.expected + line.total_usd.expected,
            high=cost.high + line.total_usd.high,
        )
    hours = hours.plus(EXTRAS[0].quantity)
    estimate = replace(estimate, lines=(*estimate.lines, *EXTRAS), cost_usd=cost, hours=hours)
    return replace(run, record=replace(run.record, plan=replace(plan, offers=(estimate,))))


@pytest.fixture
def plain() -> Report:
    """Without."""
    return build_report(make_run())


@pytest.fixture
def report() -> Report:
    """With."""
    return build_report(with_extras(make_run()))


def test_they_are_no_phases(plain: Report, report: Report) -> None:
    assert plain.planned_beside == ()
    assert report.phases == plain.phases
    assert [(line.name, line.cost_usd) for line in report.planned_beside] == [
        ("waiting", 0),
        ("disk", Decimal("0.0032")),
        ("address", Decimal("0.0012")),
        ("egress", Decimal("0.0153")),
    ]


@pytest.mark.parametrize("name", ["cost", "hours"])
def test_estimates_are_compared_with_what_the_ledger_counts(plain: Report, report: Report, name: str) -> None:
    one, other = plain.gauge(name), report.gauge(name)
    assert one is not None
    assert other is not None
    assert one.low is not None
    for end in ("low", "expected", "high", "actual"):
        assert getattr(other, end) == pytest.approx(getattr(one, end), rel=1e-9)
    assert other.inside == one.inside


def test_they_are_told_in_every_form(plain: Report, report: Report) -> None:
    told = "Besides the machine the plan has disks $0.0032, public addresses $0.0012, traffic home $0.0153"
    waits = "The plan has 15.0 min of waiting for spot capacity, which is not billed."
    text = " ".join(render_report(report, width=200).split())
    assert f"{told}; they are not measured." in text
    assert waits in text
    page = render_html([report])
    assert told in page
    assert waits in page
    assert "Besides the machine" not in render_report(plain, width=200) + render_html([plain])
    assert "waiting for spot" not in render_report(plain, width=200) + render_html([plain])
    assert report_to_json(report)["planned_beside"][1] == {
        "name": "disk",
        "quantity": 0.04,
        "unit": "GiB-month",
        "cost_usd": 0.0032,
    }
