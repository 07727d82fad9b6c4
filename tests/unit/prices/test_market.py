"""A market groups offers by machine and gives the same offers back."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from manager.prices.list_prices import list_price_offers
from manager.prices.market import Market, Quote
from manager.prices.offer import Offer

L4 = Offer(
    cloud="aws",
    region="us-east-1",
    zones=("use1-az1", "use1-az2"),
    instance_type="g6.xlarge",
    accelerator="L4",
    accelerator_count=1.0,
    accelerator_memory_bytes=22888 * 2**20,
    vcpus=4.0,
    host_memory_bytes=16 * 2**30,
    use_spot=False,
    price_usd_per_hour=Decimal("0.8048"),
    price_source="SkyPilot catalog v8/aws",
    price_age_s=600.0,
)
UNKNOWN = replace(L4, region="eu-west-1", zones=(), price_usd_per_hour=None, flags=("unknown_price",))
CHEAPER = replace(L4, region="us-west-2", zones=(), price_usd_per_hour=Decimal("0.7"))


def test_prices_of_a_machine_stand_in_one_rental_in_order_and_unknown_last() -> None:
    (rental,) = Market.of_offers([UNKNOWN, L4, CHEAPER]).rentals
    assert rental.quotes == (
        Quote(0.7, Decimal("0.7"), "us-west-2", (), ()),
        Quote(0.8048, Decimal("0.8048"), "us-east-1", ("use1-az1", "use1-az2"), ()),
        Quote(float("inf"), None, "eu-west-1", (), ("unknown_price",)),
    )
    assert [rental.offer(quote) for quote in rental.quotes] == [CHEAPER, L4, UNKNOWN]


def test_equal_prices_are_ordered_by_region() -> None:
    other = replace(L4, region="ap-south-1", zones=())
    (rental,) = Market.of_offers([L4, other]).rentals
    assert [quote.region for quote in rental.quotes] == ["ap-south-1", "us-east-1"]


@pytest.mark.parametrize(
    "other",
    [
        replace(L4, cloud="gcp"),
        replace(L4, instance_type="g6.2xlarge"),
        replace(L4, accelerator_count=2.0),
        replace(L4, vcpus=8.0),
        replace(L4, host_memory_bytes=None),
        replace(L4, use_spot=True),
        replace(L4, price_source="list price"),
        replace(L4, price_age_s=None),
        replace(L4, flags=("arm64",)),
    ],
)
def test_what_is_another_machine_is_another_rental(other: Offer) -> None:
    market = Market.of_offers([L4, other])
    assert len(market.rentals) == 2
    assert list(market.offers()) == [L4, other]


def test_flags_of_the_machine_and_of_the_price_are_told_apart() -> None:
    offer = replace(L4, flags=("fractional_accelerator", "arm64", "spot_is_a_tenth"))
    (rental,) = Market.of_offers([offer]).rentals
    assert (rental.flags, rental.quotes[0].flags) == (("fractional_accelerator", "arm64"), ("spot_is_a_tenth",))
    assert list(Market.of_offers([offer]).offers()) == [offer]


def test_several_nodes_cost_several_times_as_much_and_unknown_stays_unknown() -> None:
    (rental,) = Market.of_offers([L4, UNKNOWN]).rentals
    known, unknown = (rental.offer(quote, num_nodes=3) for quote in rental.quotes)
    assert (known.price_usd_per_hour, known.num_nodes) == (Decimal("2.4144"), 3)
    assert known.key == "aws/us-east-1/g6.xlarge/L4:1/on-demand/3n"
    assert unknown.price_usd_per_hour is None


def test_offer_of_several_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="one node"):
        Market.of_offers([replace(L4, num_nodes=2)])


def test_shipped_prices_come_back_as_they_were_with_notes() -> None:
    offers = list_price_offers(now_s=4e9)
    market = Market.of_offers(offers, notes=("said",))
    assert Counter(market.offers()) == Counter(offers)
    assert len(market.rentals) < len(offers)
    assert market.notes == ("said",)
    assert market.audit == ()


@pytest.mark.parametrize(
    ("wishes", "l4", "two", "cpu"),
    [
        ((), False, False, False),
        ((("l4", None),), True, True, False),
        ((("L4", 2.0),), False, True, False),
        ((("L40S", None), ("CPU", None)), False, False, True),
        ((("cpu", 1.0),), False, False, False),
    ],
)
def test_accelerators_that_are_asked_for(
    wishes: tuple[tuple[str, float | None], ...], *, l4: bool, two: bool, cpu: bool
) -> None:
    offers = [L4, replace(L4, accelerator_count=2.0), replace(L4, accelerator=None, accelerator_count=0.0)]
    found = [rental.has_accelerator_of(wishes) for rental in Market.of_offers(offers).rentals]
    assert found == [l4, two, cpu]
