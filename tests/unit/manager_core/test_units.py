"""Text of quantities."""

from __future__ import annotations

from decimal import Decimal

import pytest

from manager.units import (
    LEAST_USD,
    Interval,
    MoneyInterval,
    apart_usd,
    format_bytes,
    format_hours,
    format_seconds,
    format_usd,
    interval_hours,
    interval_usd,
    product_usd,
    signed_usd,
    tick_usd,
    usd,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (Decimal(0), "$0.00"),
        (Decimal("0.0123"), "$0.012"),
        (Decimal("0.001234"), "$0.0012"),
        (Decimal("0.000001"), "$0.0000010"),
        (Decimal("0.1234"), "$0.12"),
        (Decimal("1234.565"), "$1,234.57"),
        (Decimal("-1234.565"), "-$1,234.57"),
        (Decimal("-0.0123"), "-$0.012"),
    ],
)
def test_dollars(value: Decimal | None, text: str) -> None:
    assert format_usd(value) == text


def test_dollars_are_kept_to_a_millionth() -> None:
    assert usd(0.1 + 0.2) == Decimal("0.300000")


def test_a_product_is_of_the_decimals_that_people_see_and_rounded_once() -> None:
    # 28.5 millionths are rounded up; in binary the product is a little less.
    assert product_usd(0.57, Decimal("0.00005")) == product_usd(0.57, 0.00005) == Decimal("0.000029")
    assert product_usd(1 / 3, 3) == Decimal("1.000000")


def test_money_of_a_quantity_at_one_price_or_at_a_band_of_prices() -> None:
    hours = Interval(low=0.5, expected=1, high=2)
    ends = Decimal("0.400000"), Decimal("0.800000"), Decimal("1.600000")
    assert MoneyInterval.of(hours, Decimal("0.8")) == MoneyInterval(low=ends[0], expected=ends[1], high=ends[2])
    band = MoneyInterval.of(hours, Interval(low=0.1, expected=0.2, high=0.3))
    assert (band.low, band.expected, band.high) == (Decimal("0.05"), Decimal("0.2"), Decimal("0.6"))


def test_a_sum_of_money_is_exact_end_by_end() -> None:
    part = MoneyInterval(low=Decimal("0.1"), expected=Decimal("0.2"), high=Decimal("0.3"))
    assert MoneyInterval.sum([part] * 3) == MoneyInterval(
        low=Decimal("0.3"), expected=Decimal("0.6"), high=Decimal("0.9")
    )
    assert MoneyInterval.sum(()) == MoneyInterval(low=Decimal(0), expected=Decimal(0), high=Decimal(0))


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (None, "unknown"),
        (0.0, "0 s"),
        (0.5 / 3600, "< 1 s"),
        (0.005, "18 s"),
        (0.5, "30.0 min"),
        (2.25, "2.2 h"),
        (30.0, "30.0 h"),
    ],
)
def test_hours(hours: float | None, text: str) -> None:
    assert format_hours(hours) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0 s"), (0.5, "< 1 s"), (0.6, "1 s"), (1234.4, "1,234 s")])
def test_seconds_of_a_bill(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_the_least_dollars_are_what_usd_resolves() -> None:
    assert usd(0.0000004) == 0
    assert f"< ${usd(0.0000005):f}" == LEAST_USD


@pytest.mark.parametrize(("value", "text"), [(None, "unknown"), (2**20, "1.0 MiB"), (3 * 2**30, "3.00 GiB")])
def test_bytes(value: float | None, text: str) -> None:
    assert format_bytes(value) == text


def test_intervals_are_expected_then_low_and_high() -> None:
    money = MoneyInterval(low=Decimal("0.9"), expected=Decimal("1.2"), high=Decimal("1.7"))
    assert interval_usd(money) == "$1.20 ($0.90 to $1.70)"
    near = MoneyInterval(low=Decimal("0.1512"), expected=Decimal("0.1529"), high=Decimal("0.1546"))
    assert interval_usd(near) == "$0.1529 ($0.1512 to $0.1546)"
    sure = MoneyInterval(low=Decimal("0.15"), expected=Decimal("0.15"), high=Decimal("0.15"))
    assert interval_usd(sure) == "$0.15 ($0.15 to $0.15)"
    assert interval_hours(Interval(low=0.5, expected=1, high=2.04)) == "1.0 h (30.0 min to 2.0 h)"
    assert interval_usd(None) == interval_hours(None) == "unknown"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "unknown"), ("0", "$0.00"), ("1", "+$1.00"), ("-1", "-$1.00"), ("0.012", "+$0.012")]
)
def test_a_change_in_dollars_has_its_sign(value: str | None, text: str) -> None:
    assert signed_usd(None if value is None else Decimal(value)) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.8048, 4, "$0.8048"), (12_345.0, 4, "$12,340"), (100.0, 2, "$100"), (1e-7, 4, "$0.0000001"), (-2.5, 4, "-$2.5")],
)
def test_a_tick_in_dollars_has_no_exponent(value: float, digits: int, text: str) -> None:
    assert tick_usd(value, digits=digits) == text


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("1.0004", "1", ("$1.0004", "$1.0000")),
        ("3.10", "1", ("$3.10", "$1.00")),
        ("1", "1.00", ("$1.00", "$1.00")),
        ("1234.5601", "1234.56", ("$1,234.5601", "$1,234.5600")),
        ("0.0501", "0.05", ("$0.0501", "$0.0500")),
    ],
)
def test_amounts_that_are_compared_differ_where_they_do(one: str, other: str, told: tuple[str, str]) -> None:
    assert apart_usd(Decimal(one), Decimal(other)) == told
