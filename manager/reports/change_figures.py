"""Amounts and their changes as text: rounded so that they add up, with signs, in per cent where it can be said."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from manager.planner.difference import BytesChange, DollarsChange, percent
from manager.units import Interval, format_bytes, format_hours

UNKNOWN = "unknown"
SAME = "same"
_FEWEST_DIGITS = 2
_MOST_DIGITS = 6
"""Of a bill: lines are rounded to a millionth of a dollar."""


def digits_that_add_up(lines: Sequence[DollarsChange], total: DollarsChange) -> int:
    """Fewest digits at which the shown changes of the lines add up, to the cent, to that of the total.

    A total under ten cents is compared at two significant digits instead.
    """
    change = total.change_usd
    if change is None:
        return digits_of(total.new_usd if total.old_usd is None else total.old_usd)
    cent = digits_of(change)
    for digits in range(cent, _MOST_DIGITS):
        added = sum((_rounded(line.change_usd or Decimal(0), digits) for line in lines), Decimal(0))
        if _rounded(added, cent) == _rounded(change, cent):
            return digits
    return _MOST_DIGITS


def hours_change(old: Interval | None, new: Interval | None) -> str:
    """Change of the expected hours, as time."""
    if old is None or new is None:
        return UNKNOWN if old is not None or new is not None else ""
    change = new.expected - old.expected
    if not change:
        return SAME
    return with_percent(f"{'+' if change > 0 else '-'}{format_hours(abs(change))}", percent(old.expected, new.expected))


def bytes_change(line: BytesChange) -> str:
    """Change of a line of memory."""
    change = line.change_bytes
    if change is None:
        return UNKNOWN
    if not change:
        return SAME
    return with_percent(
        f"{'+' if change > 0 else '-'}{format_bytes(abs(change))}", percent(line.old_bytes, line.new_bytes)
    )


def with_percent(text: str, moved: float | None) -> str:
    """`+$1.00 (+25.0 %)`; without the second half where it cannot be said."""
    return text if moved is None or text in (SAME, UNKNOWN) else f"{text} ({moved:+,.1f} %)"


def signed(change: Decimal | None, digits: int) -> str:
    """`+$1.00`, `-$0.25`, `same`; `< +$0.01` for what is less than the digits show."""
    if change is None:
        return UNKNOWN
    if not change:
        return SAME
    sign = "+" if change > 0 else "-"
    if not _rounded(change, digits):
        return f"{'<' if change > 0 else '>'} {sign}{_least(digits)}"
    return f"{sign}{fixed(abs(change), digits)}"


def fixed(value: Decimal | None, digits: int) -> str:
    """`$1.00`; what is too little to be shown is not shown as free."""
    if value is None:
        return UNKNOWN
    return f"< {_least(digits)}" if value and not _rounded(value, digits) else f"${_rounded(value, digits):,}"


def _least(digits: int) -> str:
    return f"${Decimal(1).scaleb(-digits):f}"


def _rounded(value: Decimal, digits: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)


def digits_of(value: Decimal | None) -> int:
    """Two behind the point, more where the first of two significant digits stands behind it."""
    if not value:
        return _FEWEST_DIGITS
    return min(_MOST_DIGITS, max(_FEWEST_DIGITS, 1 - value.adjusted()))
