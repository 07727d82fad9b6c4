"""The bill of a run with several machines: each by its own times and price, nothing for the time between them."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from manager.launch.engine import Handle, MachineTime
from manager.launch.managed_record import DEAREST
from manager.runs.charges import charge
from manager.runs.machine_pieces import MACHINE, NO_MACHINE, limit_price, pieces
from tests.support.sky_stage import offer


def machine(from_s: float, to_s: float | None, price: str | None = "0.36") -> MachineTime:
    return MachineTime(
        from_s=from_s,
        to_s=to_s,
        price_usd_per_hour=None if price is None else Decimal(price),
        cloud="aws",
        region="us-east-1",
        zone=None,
        instance_type="g6.xlarge",
    )


def test_machines_and_the_time_between_them() -> None:
    found = pieces([machine(100, 200), machine(250, None, "0.4")], from_s=100, to_s=300)
    told = [(one.to_s, one.price_usd_per_hour, one.what) for one in found]
    assert told == [
        (200, Decimal("0.36"), MACHINE),
        (250, Decimal(0), NO_MACHINE),
        (300, Decimal("0.4"), MACHINE),
    ]


def test_the_bill_goes_on_from_where_it_stands() -> None:
    assert [one.to_s for one in pieces([machine(100, 200), machine(250, None)], from_s=260, to_s=300)] == [300]
    assert pieces([machine(100, None)], from_s=300, to_s=300) == []


def test_two_machines_at_once_are_billed_one_after_the_other() -> None:
    found = pieces([machine(100, 220), machine(200, 300, "0.4")], from_s=100, to_s=300)
    assert [(one.to_s, one.price_usd_per_hour) for one in found] == [(220, Decimal("0.36")), (300, Decimal("0.4"))]


def test_an_unknown_price_stays_unknown() -> None:
    assert pieces([machine(100, None, None)], from_s=100, to_s=200)[0].price_usd_per_hour is None


spans = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500), st.integers(1, 99)), min_size=1, max_size=5)


@given(spans, st.lists(st.integers(1, 6000), max_size=6))
def test_however_often_it_is_charged_the_sum_is_that_over_the_machines(
    found: list[tuple[int, int, int]], looks: list[int]
) -> None:
    machines, at_s = [], 1000
    for gap, lasting, cents in found:
        machines.append(machine(at_s + gap, at_s + gap + lasting, f"0.{cents:02}"))
        at_s += gap + lasting
    stands_s, total = machines[0].from_s, Decimal(0)
    for look in [*sorted(stands_s + look for look in looks if stands_s + look < at_s + 100), at_s + 100]:
        for piece in pieces(machines, from_s=stands_s, to_s=look):
            row = charge(
                from_s=stands_s, to_s=piece.to_s, price_usd_per_hour=piece.price_usd_per_hour, at_s=0, what=piece.what
            )
            assert row.amount_usd is not None
            total += row.amount_usd
            stands_s = piece.to_s
    expected = sum(
        (one.price_usd_per_hour or Decimal(0)) * Decimal((one.to_s or 0) - one.from_s) / 3600 for one in machines
    )
    assert stands_s == at_s + 100
    assert abs(total - expected) <= Decimal("0.000002") * len(machines)


def test_a_limit_counts_with_the_dearest_price_that_may_be_paid() -> None:
    taken = offer("g6", "0.36")
    handle = Handle(engine="sky", run_dir="/x", name="tf-x", details={DEAREST: "0.40"})
    assert limit_price(handle, taken) == Decimal("0.40")
    assert limit_price(None, taken) == Decimal("0.36")
    assert limit_price(handle, offer("g6", None)) == Decimal("0.40"), "what is known bounds what it may cost"
    assert limit_price(None, offer("g6", None)) is None
