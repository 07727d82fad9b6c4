"""Whatever stands in a catalog's cells: no price of 0 or less, no NaN, unknown is None, and nothing else is raised."""

import csv
import io
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manager.errors import PriceError
from manager.prices.catalog_file import split_simple
from manager.prices.market import Market
from manager.prices.offer import Offer
from manager.prices.price_rules import Audit, count_is_plausible, dollars
from manager.prices.sky_catalog import read_catalogs

HEADER = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"
)
PRICES = st.one_of(
    st.sampled_from(
        ["", "NaN", "nan", "-nan", "sNaN", "0", "0.0", "-0", "-1", "inf", "-inf", "1e999", "1e-9", "x", "700.0"]
    ),
    st.decimals(min_value=-10, max_value=1000, places=6).map(str),
    st.floats().map(str),
)
COUNTS = st.sampled_from(["", "0", "0.25", "1", "1.0", "3", "8", "12", "16", "NaN", "-1", "x"])
NAMES = st.sampled_from(["", "L4", "A100", "T4", "tpu-v6e-8", "tpu-v6e-1", "B200", "Unheard-Of"])
TYPES = st.sampled_from(["", "g6.xlarge", "n1-standard-8", "a2-highgpu-1g", "a4-highgpu-8g", "Standard_N1", "12x_L4"])
SIZES = st.sampled_from(["", "4", "8.0", "32", "NaN", "-2", "x", "0"])
ROW = st.tuples(
    TYPES, NAMES, COUNTS, SIZES, SIZES, st.just(""), PRICES, PRICES, st.sampled_from(["", "r1", "r2"])
).flatmap(lambda cells: st.tuples(*(st.just(cell) for cell in cells), st.sampled_from(["", "z1", "z2"]), st.just("")))
CLOUDS = st.sampled_from(["aws", "gcp", "azure", "vast"])


def check(offer: Offer) -> None:
    price = offer.price_usd_per_hour
    assert price is None or (isinstance(price, Decimal) and price.is_finite() and price > 0)
    assert (price is not None) or offer.flags
    assert offer.accelerator_count >= 0
    assert (offer.accelerator is None) == (offer.accelerator_count == 0)
    assert offer.vcpus is None or offer.vcpus > 0
    assert offer.host_memory_bytes is None or offer.host_memory_bytes > 0
    assert offer.accelerator_memory_bytes is None or offer.accelerator_memory_bytes > 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cloud=CLOUDS, rows=st.lists(ROW, max_size=8))
def test_no_offer_is_cheap_by_mistake(tmp_path: Path, cloud: str, rows: list[tuple[str, ...]]) -> None:
    for old in tmp_path.glob("v8/*/vms.csv"):
        old.unlink()
    path = tmp_path / "v8" / cloud / "vms.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    reading, again = (read_catalogs(tmp_path / "v8", now_s=4e9, cache=tmp_path / "cache") for _ in range(2))
    assert again == reading
    for offer in reading.offers():
        check(offer)
    for rental in reading.rentals:
        assert rental.quotes == tuple(
            sorted(rental.quotes, key=lambda quote: (quote.usd, quote.region or "", quote.zones))
        )
        assert [quote.usd for quote in rental.quotes] == [
            float("inf") if quote.price is None else float(quote.price) for quote in rental.quotes
        ]
    assert Counter(Market.of_offers(reading.offers()).offers()) == Counter(reading.offers())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode())))
def test_any_file_is_read_or_refused_with_a_price_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v8" / "aws" / "vms.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(PriceError) as caught:
        read_catalogs(tmp_path / "v8", now_s=4e9)
    assert caught.value.hint


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=len(HEADER) + 1, max_value=400))
def test_file_cut_anywhere_never_shows_a_price_that_was_not_in_it(tmp_path: Path, cut: int) -> None:
    rows = [f"g6.{n}xlarge,L4,1.0,4.0,16.0,,{n}.8048,0.{n}011,us-east-1,use1-az{n},x86_64" for n in range(1, 6)]
    text = "\n".join([HEADER, *rows]) + "\n"
    path = tmp_path / "v8" / "aws" / "vms.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text[:cut], encoding="utf-8")
    real = {Decimal(f"{n}.8048") for n in range(1, 6)} | {Decimal(f"0.{n}011") for n in range(1, 6)}
    try:
        reading = read_catalogs(tmp_path / "v8", now_s=4e9)
    except PriceError:
        return
    assert {offer.price_usd_per_hour for offer in reading.offers()} <= real


CELL = st.text(alphabet='a,".\n 1ü\r', max_size=6)
LINES = st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=4)


@given(rows=LINES, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_lines_that_are_split_without_the_csv_module_are_split_as_it_does(
    rows: list[list[str]], quoting: Literal[0, 1]
) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator="\n").writerows(rows)
    check_split(out.getvalue())


@given(text=st.text(alphabet='a,"\n1', max_size=30))
def test_any_text_is_split_as_the_csv_module_does_or_left_to_it(text: str) -> None:
    check_split(text)


def check_split(text: str) -> None:
    simple = split_simple(text)
    if simple is not None:
        assert simple == [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]


@given(value=st.decimals(min_value=0, max_value=999_999, places=7))
def test_ticks_are_the_price_rounded_at_five_decimals(value: Decimal) -> None:
    expected = value.quantize(Decimal("0.00001"))
    ticks = Audit().ticks(str(value), "unknown_price")
    assert (Decimal(0) if ticks is None else dollars(ticks)) == expected


@given(text=st.text(max_size=20))
def test_a_cell_is_a_price_above_zero_or_unknown(text: str) -> None:
    ticks = Audit().ticks(text, "unknown_price")
    assert ticks is None or ticks > 0


@given(count=st.floats(min_value=17, max_value=1e6))
def test_more_than_sixteen_accelerators_need_a_name_that_says_so(count: float) -> None:
    assert not count_is_plausible(count, "p9.xlarge")
