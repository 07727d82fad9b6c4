"""Intervals and the one way in which bytes, hours and dollars become text.

Bytes and seconds travel inside; GiB, hours and dollars appear only in what a person reads. Money is `Decimal`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

GIB = 2**30
MIB = 2**20
SECONDS_PER_HOUR = 3600
HOURS_PER_MONTH = 730
"""Of a month in prices per month: 365 days x 24 h / 12."""
_CENT = Decimal("0.01")
_HUNDREDTH_CENT = Decimal("0.0001")
_TEN_CENTS = Decimal("0.1")
_MICRO = Decimal("0.000001")
LEAST_USD = f"< ${_MICRO:f}"
"""What costs something and less than `usd` resolves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A quantity that is not known exactly; low <= expected <= high, all in the unit that the field's name states."""

    low: float
    expected: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """The interval with each end multiplied by a factor that is not negative."""
        return Interval(low=self.low * factor, expected=self.expected * factor, high=self.high * factor)

    def plus(self, other: Interval) -> Interval:
        """The sum of two intervals, end by end (as if both erred the same way: the careful choice for a cap)."""
        return Interval(low=self.low + other.low, expected=self.expected + other.expected, high=self.high + other.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyInterval:
    """Dollars as low / expected / high."""

    low: Decimal
    expected: Decimal
    high: Decimal

    @staticmethod
    def sum(parts: Iterable[MoneyInterval]) -> MoneyInterval:
        """The sum end by end, exact, so that a bill can be added up by hand; of nothing it is 0."""
        low = expected = high = Decimal(0)
        for part in parts:
            low, expected, high = low + part.low, expected + part.expected, high + part.high
        return MoneyInterval(low=low, expected=expected, high=high)

    @staticmethod
    def of(quantity: Interval, unit_price_usd: Decimal | Interval) -> MoneyInterval:
        """Quantity times unit price, end by end, each rounded as `product_usd` does."""
        price = unit_price_usd
        low, expected, high = (
            (price.low, price.expected, price.high) if isinstance(price, Interval) else (price, price, price)
        )
        return MoneyInterval(
            low=product_usd(quantity.low, low),
            expected=product_usd(quantity.expected, expected),
            high=product_usd(quantity.high, high),
        )


def usd(value: Decimal | float | int | str) -> Decimal:
    """Dollars at a resolution of a millionth: enough for one second at $0.01/h, and equal on each platform."""
    return _decimal(value).quantize(_MICRO, rounding=ROUND_HALF_UP)


def product_usd(quantity: Decimal | float, unit_price_usd: Decimal | float) -> Decimal:
    """What a quantity costs at a unit price, rounded once, as `usd` does."""
    return usd(_decimal(quantity) * _decimal(unit_price_usd))


def _decimal(value: Decimal | float | int | str) -> Decimal:
    """The shortest decimal of a float, so that no binary error enters."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def format_usd(value: Decimal | None) -> str:
    """`$12.34`; under ten cents two significant digits, so that a short run is not shown as free; `-$1.00` for what is
    lost; None: `unknown`."""
    if value is None:
        return "unknown"
    if value < 0:
        return f"-{format_usd(-value)}"
    if value == 0:
        return "$0.00"
    if value < _TEN_CENTS:
        return f"${value.quantize(Decimal(1).scaleb(value.adjusted() - 1), rounding=ROUND_HALF_UP):f}"
    return f"${value.quantize(_CENT, rounding=ROUND_HALF_UP):,}"


def signed_usd(value: Decimal | None) -> str:
    """`+$1.00`, `-$1.00`: of a change; none at all is `$0.00`, None is `unknown`."""
    return f"+{format_usd(value)}" if value is not None and value > 0 else format_usd(value)


def interval_usd(interval: MoneyInterval | None) -> str:
    """`$1.20 ($0.90 to $1.70)`: expected, low and high, with more digits where cents do not tell them apart; None is
    `unknown`."""
    if interval is None:
        return format_usd(None)
    figures = (interval.expected, interval.low, interval.high)
    expected, low, high = map(format_usd, figures)
    if low == high and _TEN_CENTS <= interval.low < interval.high:
        expected, low, high = (_rounded_usd(value, _HUNDREDTH_CENT) for value in figures)
    return f"{expected} ({low} to {high})"


def apart_usd(one: Decimal, other: Decimal) -> tuple[str, str]:
    """`$1.0004` and `$1.0000`: two amounts that are compared, with as many digits as tell them apart."""
    told = format_usd(one), format_usd(other)
    if told[0] != told[1] or one == other:
        return told
    place = Decimal(1).scaleb((one - other).adjusted())
    return _rounded_usd(one, place), _rounded_usd(other, place)


def _rounded_usd(value: Decimal, place: Decimal) -> str:
    return f"${value.quantize(place, rounding=ROUND_HALF_UP):,f}"


def tick_usd(value: float, digits: int = 4) -> str:
    """`$0.8048`, `$12,340`: a place on an axis, where neighbours are to differ; never with an exponent."""
    number = Decimal(f"{abs(value):.{digits}g}")
    return f"{'-' if value < 0 and number else ''}${number:,f}"


def format_bytes(value: float | None) -> str:
    """`1.23 GiB`, MiB when under 0.1 GiB, KiB when under 0.1 MiB; None is `unknown`."""
    if value is None:
        return "unknown"
    if 0 < abs(value) < 0.1 * MIB:
        return f"{value / 1024:.1f} KiB"
    if abs(value) < 0.1 * GIB:
        return f"{value / MIB:.1f} MiB"
    return f"{value / GIB:,.2f} GiB"


def format_hours(hours: float | None) -> str:
    """`3.2 h`, or minutes and seconds when shorter than an hour, `< 1 s` for the least; None is `unknown`."""
    if hours is None:
        return "unknown"
    seconds = hours * SECONDS_PER_HOUR
    if 0 < seconds <= 0.5:
        return "< 1 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < SECONDS_PER_HOUR:
        return f"{seconds / 60:.1f} min"
    return f"{hours:.1f} h"


def interval_hours(interval: Interval | None) -> str:
    """`3.2 h (2.8 h to 4.0 h)`: expected, low and high; None is `unknown`."""
    if interval is None:
        return format_hours(None)
    return f"{format_hours(interval.expected)} ({format_hours(interval.low)} to {format_hours(interval.high)})"


def format_seconds(seconds: float) -> str:
    """`1,234 s`, `< 1 s` for the least: for bills, where time times price is to be followed to the second."""
    return "< 1 s" if 0 < seconds <= 0.5 else f"{seconds:,.0f} s"


def format_duration(seconds: float | None) -> str:
    """The same as `format_hours`, from seconds."""
    return format_hours(None if seconds is None else seconds / SECONDS_PER_HOUR)
