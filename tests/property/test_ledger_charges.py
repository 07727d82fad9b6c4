"""However a run is charged, the bill is price x time."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.runs.charges import charge
from manager.runs.records import total_usd

MICRO = Decimal("0.000001")
start = st.floats(min_value=1.5e9, max_value=2.5e9, allow_nan=False)
lengths = st.lists(st.floats(min_value=0, max_value=5000, allow_nan=False), min_size=1, max_size=60)
prices = st.decimals(min_value=0, max_value=500, places=6)


@given(start, lengths, prices)
def test_touching_stretches_add_up_to_price_times_time(from_s: float, stretches: list[float], price: Decimal) -> None:
    charges = []
    at_s = from_s
    for length in stretches:
        charges.append(charge(from_s=at_s, to_s=at_s + length, price_usd_per_hour=price, at_s=at_s))
        at_s += length
    total = total_usd(charges)
    assert total is not None
    exact = price * (Decimal(at_s) - Decimal(from_s)) / 3600
    assert abs(total - exact) <= MICRO
    assert all(item.amount_usd is not None and item.amount_usd >= 0 for item in charges)


@given(start, st.floats(min_value=0, max_value=1e6), prices)
def test_one_stretch_or_two_cost_the_same(from_s: float, length: float, price: Decimal) -> None:
    middle, end = from_s + length / 3, from_s + length
    whole = charge(from_s=from_s, to_s=end, price_usd_per_hour=price, at_s=end)
    first = charge(from_s=from_s, to_s=middle, price_usd_per_hour=price, at_s=end)
    second = charge(from_s=middle, to_s=end, price_usd_per_hour=price, at_s=end)
    assert total_usd([first, second]) == whole.amount_usd


@given(start, st.floats(min_value=1, max_value=1e6))
def test_an_unknown_price_is_an_unknown_sum(from_s: float, length: float) -> None:
    unknown = charge(from_s=from_s, to_s=from_s + length, price_usd_per_hour=None, at_s=from_s)
    known = charge(from_s=from_s, to_s=from_s + length, price_usd_per_hour=Decimal(1), at_s=from_s)
    assert unknown.amount_usd is None
    assert total_usd([known, unknown]) is None


def test_a_stretch_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        charge(from_s=10.0, to_s=9.0, price_usd_per_hour=Decimal(1), at_s=10.0)
    with pytest.raises(ValueError, match="below zero"):
        charge(from_s=9.0, to_s=10.0, price_usd_per_hour=Decimal(-1), at_s=10.0)
