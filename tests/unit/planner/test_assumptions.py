"""The shipped table of assumptions: complete, in order, with units and sources; and a user's own over it."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from manager.errors import ConfigError
from manager.planner.assumptions import ANY_CLOUD, SHIPPED, shipped_assumptions
from manager.planner.own_assumptions import text_to_edit, with_own
from manager.units import Interval

PRICED_CLOUDS = ("aws", "gcp", "azure", "lambda", "runpod", "nebius", "vast", "oci", "kubernetes", "slurm", "local")


def test_each_row_has_a_unit_a_source_a_date_and_an_ordered_interval() -> None:
    for row in shipped_assumptions().rows.values():
        assert 0 <= row.value.low <= row.value.expected <= row.value.high
        assert row.unit
        assert row.source
        assert len(row.as_of) == len("2026-11-21")
        assert row.origin == SHIPPED


def test_no_row_hides_another_and_each_name_has_one_unit_and_a_common_row() -> None:
    lines = files("manager.planner").joinpath("data", "assumptions.csv").read_text(encoding="utf-8").splitlines()
    table = shipped_assumptions()
    assert len(table.rows) == len(list(csv.DictReader(lines)))
    for (name, _), row in table.rows.items():
        assert row.unit == table.rows[name, ANY_CLOUD].unit


def test_a_cloud_has_its_own_figure_and_others_the_common_one() -> None:
    table = shipped_assumptions()
    assert table.of("boot", "local").value.high == 0
    assert table.of("boot", "aws").value != table.of("boot", "a cloud of tomorrow").value
    with pytest.raises(KeyError):
        table.of("no such row", "aws")


@pytest.mark.parametrize("name", ["disk_price", "egress_price"])
def test_each_priced_cloud_has_prices_of_its_own(name: str) -> None:
    assert all((name, cloud) in shipped_assumptions().rows for cloud in PRICED_CLOUDS)


def test_a_row_is_stated_with_its_unit_and_source() -> None:
    stated = shipped_assumptions().of("boot", "aws").stated()
    assert stated.text == "3 (1.5 to 6) min; assumption: EC2 instance with SkyPilot's image"


OWN = """
# of our site
[boot]
expected = 7

[boot.aws]
low = 1
expected = 2.5
high = 4
unit = "min"
source = "ten launches"
as_of = 2026-10-01

[preemption_rate.aws]
low = 0
expected = 0.01
high = 0.02
"""


def test_own_rows_replace_shipped_ones_of_the_same_name_and_cloud_alone() -> None:
    table = with_own(shipped_assumptions(), OWN, file="mine.toml")
    aws = table.of("boot", "aws")
    assert (aws.value, aws.unit, aws.as_of) == (Interval(low=1, expected=2.5, high=4), "min", "2026-10-01")
    assert aws.stated().text == "2.5 (1 to 4) min; ten launches (mine.toml)"
    assert table.of("boot", "vast").value == Interval(low=7, expected=7, high=7)
    assert table.of("boot", "local") == shipped_assumptions().of("boot", "local")
    assert table.of("preemption_rate", "aws").value.low == 0
    changed = {key for key, row in table.rows.items() if row != shipped_assumptions().rows[key]}
    assert changed == {("boot", ANY_CLOUD), ("boot", "aws"), ("preemption_rate", "aws")}


def test_a_cloud_without_a_shipped_row_can_have_an_own_one() -> None:
    table = with_own(shipped_assumptions(), "[disk_price.do]\nexpected = 0.1", file="mine.toml")
    assert table.of("disk_price", "do").origin == "mine.toml"


def test_an_empty_file_changes_nothing() -> None:
    assert with_own(shipped_assumptions(), "# nothing\n", file="mine.toml").rows == shipped_assumptions().rows


def test_the_text_to_edit_is_inert_until_it_is_uncommented_and_then_says_the_same() -> None:
    shipped = shipped_assumptions()
    text = text_to_edit(shipped)
    assert all(line.startswith("#") for line in text.splitlines() if line)
    active = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    rows = [
        line for line in active if line.startswith(("low =", "expected =", "high =", "source =")) or line[-1] == "]"
    ]
    table = with_own(shipped, "\n".join(rows), file="mine.toml")
    for key, row in shipped.rows.items():
        own = table.rows[key]
        assert (own.value, own.unit, own.source, own.origin) == (row.value, row.unit, row.source, "mine.toml")


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("\n[bot]\nexpected = 1", ":2:", "no assumption `bot`", "did you mean `boot`?"),
        ("[boot.asw]\nexpected = 1", ":1:", "no cloud `asw`", "did you mean `aws`?"),
        ("[boot.'*']\nexpected = 1", ":1:", "is no cloud", "[boot]"),
        ("[boot]\nexpectd = 1", ":2:", "unknown key `boot.expectd`", "did you mean `expected`?"),
        ("[boot.aws]\nlow = 1\nhigh = 2", ":1:", "`boot.aws` lacks expected", "shipped: 3 (1.5 to 6) min"),
        ("[boot]\n\nlow = 3\nexpected = 2\nhigh = 4", ":3:", "low 3, expected 2, high 4", "low <= expected <= high"),
        ("[boot]\nlow = 1\nexpected = 2\nhigh = 1.5", ":4:", "not in order", "low <= expected <= high"),
        ("[boot]\nexpected = -1", ":2:", "less than nothing", "shipped"),
        ("[boot]\nexpected = nan", ":2:", "not a number of min", "shipped"),
        ("[boot]\nexpected = inf", ":2:", "not a number of min", "shipped"),
        ("[boot]\nexpected = 1" + 400 * "0", ":2:", "too large, not a number of min", "shipped"),
        ("[boot]\nexpected = true", ":2:", "not a number of min", "shipped"),
        ('[boot]\nexpected = "2"', ":2:", "not a number of min", "shipped"),
        ("[hub_rate]\nexpected = 0", ":2:", "`hub_rate.expected` is 0", "shipped"),
        ('[boot]\nexpected = 2\nunit = "s"', ":3:", "is in min, not in 's'", "convert"),
        ("[boot]\nexpected = 2\nsource = 5", ":3:", "not a text", "quotes"),
        ("boot = 2", ":1:", "`boot` is no table", "[boot]"),
        ("[boot]\nexpected = 2\n[boot.aws.west]\nlow = 1", ":", "unknown key `boot.aws.west`", "known"),
        ("[boot\nexpected = 2", "", "is no TOML", "mend it"),
        ("[boot]\nexpected = 2\n[boot]\nexpected = 3", "", "is no TOML", "mend it"),
    ],
)
def test_what_the_table_has_no_place_for_is_refused_with_its_line(
    text: str, where: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        with_own(shipped_assumptions(), text, file="mine.toml")
    assert f"mine.toml{where}" in refused.value.message
    assert message in refused.value.message
    assert hint in str(refused.value.hint)
