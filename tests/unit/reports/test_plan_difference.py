"""What a difference says: rounding, signs, what is unknown; what is safe to show."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.planner.difference import DollarsChange, difference
from manager.reports.change_figures import digits_of, digits_that_add_up
from manager.reports.plan_difference import bill, headline, memory, remarks, summary
from manager.reports.plan_difference_json import difference_to_json
from manager.reports.plan_difference_markdown import difference_markdown, escaped
from tests.support.diff_stage import fixed_plan

amounts = st.decimals("0", "5000", places=6)


def at(value: Decimal, digits: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


@given(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=14))
def test_shown_changes_add_up_to_the_cent(pairs: list[tuple[Decimal, Decimal]]) -> None:
    lines = [DollarsChange(name=str(number), old_usd=old, new_usd=new) for number, (old, new) in enumerate(pairs)]
    total = DollarsChange(
        name="total", old_usd=sum((old for old, _ in pairs), Decimal(0)), new_usd=sum((b for _, b in pairs), Decimal(0))
    )
    digits = digits_that_add_up(lines, total)
    added = sum((at(line.change_usd or Decimal(0), digits) for line in lines), Decimal(0))
    assert total.change_usd is not None
    cent = digits_of(total.change_usd)
    assert cent == 2 or abs(total.change_usd) < Decimal("0.1")
    assert at(added, cent) == at(total.change_usd, cent)


def test_what_is_too_little_to_be_shown_is_not_free() -> None:
    old, new = fixed_plan(dollars="40", hours=1), fixed_plan(dollars="80", hours=1)
    tiny = replace(new.offers[0].lines[0], name="data", total_usd=replace(old.offers[0].lines[0].total_usd))
    least = replace(tiny, total_usd=replace(tiny.total_usd, expected=Decimal("0.000003")))
    new = replace(new, offers=(replace(new.offers[0], lines=(*new.offers[0].lines, least)),))
    row = next(row for row in bill(difference(old, new)).rows if row.name == "data")
    assert (row.old, row.new, row.change) == ("$0.00", "< $0.01", "< +$0.01")


def test_signs_and_percentages() -> None:
    cheaper = difference(fixed_plan(dollars="4", hours=2), fixed_plan(dollars="3", hours=0.5))
    rows = {row.name: row for row in summary(cheaper).rows}
    assert rows["dollars to finish"].change == "-$1.00 (-25.0 %)"
    assert rows["time"].change == "-1.5 h (-75.0 %)"
    assert rows["memory of a device"].change == "same"
    assert headline(cheaper) == "$4.00 to $3.00 to the finished job, -$1.00 (-25.0 %)"


def test_nothing_has_changed() -> None:
    found = difference(fixed_plan(dollars="4", hours=2), fixed_plan(dollars="4", hours=2))
    assert headline(found) == "no difference: $4.00 to the finished job"
    assert bill(found).rows == memory(found).rows == ()


def test_a_first_plan_has_no_percentages() -> None:
    found = difference(None, fixed_plan(dollars="4", hours=2))
    rows = {row.name: row for row in summary(found).rows}
    assert (rows["time"].old, rows["time"].change) == ("no plan before", "+2.0 h")
    assert rows["dollars to finish"].change == "+$4.00"
    assert headline(found) == "$4.00 to the finished job, no plan before"


def test_a_choice_where_there_was_none() -> None:
    found = difference(fixed_plan(dollars="4", hours=2, max_usd="1"), fixed_plan(dollars="4", hours=2))
    assert headline(found) == "$4.00 to the finished job, where nothing could be chosen before"
    assert any(said.startswith("before, nothing could be chosen: the cheapest") for said in remarks(found))
    assert {row.change for row in bill(found).rows} == {"unknown"}


def test_moved_prices_and_other_estimators_are_told() -> None:
    old, new = fixed_plan(dollars="4", hours=2), fixed_plan(dollars="5", hours=2)
    new = replace(new, offers=(replace(new.offers[0], estimator="traced-9"),))
    said = remarks(difference(old, new))
    assert "the price of the machine moved from $2.00/h to $2.50/h (+25.0 %)" in said
    assert any("estimated in different ways" in sentence and "traced-9" in sentence for sentence in said)


def test_a_price_of_an_unknown_day() -> None:
    old = fixed_plan(dollars="4", hours=2)
    estimate = old.offers[0]
    undated = replace(old, offers=(replace(estimate, offer=replace(estimate.offer, price_age_s=None)),))
    row = next(row for row in summary(difference(old, undated)).rows if row.name == "price of (day)")
    assert (row.old, row.new) == ("2026-09-20", "unknown")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a&#124;b"),
        ("<b>", "&#60;b&#62;"),
        ("line\n# head", "line # head"),
        ("https://evil", "https&#58;//evil"),
        ("@team", "&#64;&#8203;team"),
        ("back`tick\\", "back&#96;tick&#92;"),
        ("zero\u202ewidth", "zero width"),
    ],
)
def test_words_of_others_are_no_markdown(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(max_size=60))
def test_no_text_breaks_a_table(text: str) -> None:
    old = fixed_plan(dollars="4", hours=2)
    new = replace(old, spec=replace(old.spec, data=replace(old.spec.data, text=text)))
    lines = difference_markdown(difference(old, new), title=text).splitlines()
    for line in lines:
        if line.startswith("|"):
            assert line.count("|") in (4, 5)
    allowed = ("code", "/code", "details", "/details", "summary", "/summary", "br")
    for piece in "\n".join(lines).split("<")[1:]:
        assert piece.split(">")[0] in allowed


def test_json_has_the_figures() -> None:
    old, new = fixed_plan(dollars="4", hours=2), fixed_plan(dollars="5", hours=2)
    record = json.loads(
        json.dumps(difference_to_json(difference(old, new), name="a.yaml", over=["x"]), allow_nan=False)
    )
    assert (record["schema"], record["type"], record["name"]) == (1, "plan_difference", "a.yaml")
    total = record["cost_usd"][-1]
    assert total == {"name": "total", "old_usd": 4.0, "new_usd": 5.0, "change_usd": 1.0, "change_percent": 25.0}
    assert sum(line["change_usd"] for line in record["cost_usd"][:-1]) == pytest.approx(1.0)
    assert record["hours"]["change"] == 0
    assert record["old"]["machine"] == "aws/us-east-1/1xL4/L4:1/on-demand"
    assert record["over_limit"] == ["x"]


def test_json_of_what_is_unknown_is_null() -> None:
    record = difference_to_json(difference(None, fixed_plan(dollars="4", hours=2, max_usd="1")))
    assert record["old"] is None
    assert record["cost_usd"][-1]["new_usd"] is None
    assert record["new"]["machine"] is None
    assert "more than the cap" in record["new"]["no_choice"]
