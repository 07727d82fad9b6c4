"""`prices`: which rows, in which order, with which prices; live prices lie over those of the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import UsageError
from manager.prices import aws_live
from manager.prices.ask_in_time import Answer
from manager.prices.aws_live import AwsAsker, SpotPrice
from manager.service.live_spot import MAX_AGE_S
from manager.service.price_history import price_history
from manager.service.price_rows import LIVE_FLAG, PriceRow
from manager.service.pricing import SORTS, PriceQuery, PriceTable, price_audit, price_table
from tests.support.price_stage import HEADER, NOW_S, stage, write_catalog

AWS = f"""{HEADER}
g6.xlarge,L4,1.0,4.0,16.0,,0.80,0.40,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,,0.80,0.30,us-east-1,use1-az2,x86_64
g6.xlarge,L4,1.0,4.0,16.0,,0.90,,eu-west-1,euw1-az1,x86_64
g6.12xlarge,L4,4.0,48.0,192.0,,4.60,1.50,us-east-1,use1-az1,x86_64
p5.48xlarge,H100,8.0,192.0,2048.0,,nan,30.00,us-east-1,use1-az1,x86_64
m7i.xlarge,,,4.0,16.0,,0.20,0.07,us-east-1,use1-az1,x86_64
"""
NEBIUS = f"""{HEADER}
gpu-h100,H100,8.0,128.0,1600.0,,23.60,,eu-north1,,
"""


@pytest.fixture
def catalogs(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "catalogs", "aws", AWS, age_s=3600)
    write_catalog(tmp_path / "catalogs", "nebius", NEBIUS, age_s=60)
    return tmp_path / "catalogs"


def ask(
    catalogs: Path, *, top: int | None = None, asker: AwsAsker | None = None, now_s: float = NOW_S, **query: Any
) -> PriceTable:
    named: dict[str, Any] = {"clouds": ("aws", "nebius"), **query}
    context = stage(catalogs.parent, clock=lambda: now_s)
    return price_table(context, PriceQuery(**named), catalogs=catalogs, top=top, asker=asker)


def brief(table: PriceTable) -> list[tuple[str | None, str | None]]:
    return [(row.instance_type, row.region) for row in table.rows]


def one(table: PriceTable, instance_type: str, region: str = "us-east-1") -> PriceRow:
    (row,) = [row for row in table.rows if (row.instance_type, row.region) == (instance_type, region)]
    return row


def test_a_row_holds_both_prices_of_a_machine_in_a_region(catalogs: Path) -> None:
    table = ask(catalogs)
    assert table.rows_total == len(table.rows) == 6
    row = one(table, "g6.12xlarge")
    assert (row.on_demand_usd_per_hour, row.spot_usd_per_hour) == (Decimal("4.6"), Decimal("1.5"))
    assert row.usd_per_accelerator_hour == Decimal("0.375")
    assert row.spot_share == pytest.approx(1.5 / 4.6)
    assert (row.age_s, row.accelerator_memory_bytes) == (3600.0, 22888 * 2**20)
    assert row.on_demand_key == "aws/us-east-1/g6.12xlarge/L4:4/on-demand"
    assert row.spot_key == "aws/us-east-1/g6.12xlarge/L4:4/spot"


def test_the_cheapest_zone_is_shown(catalogs: Path) -> None:
    assert one(ask(catalogs), "g6.xlarge").spot_usd_per_hour == Decimal("0.3")


def test_unknown_is_no_price(catalogs: Path) -> None:
    row = one(ask(catalogs), "p5.48xlarge")
    assert (row.on_demand_usd_per_hour, row.spot_share) == (None, None)
    assert "unknown_price" in row.flags
    plain = one(ask(catalogs, spot=False), "p5.48xlarge")
    assert (plain.usd_per_accelerator_hour, plain.spot_usd_per_hour) == (None, None)


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        ("gpu-price", "g6.xlarge", "m7i.xlarge"),
        ("price", "m7i.xlarge", "p5.48xlarge"),
        ("memory", "gpu-h100", "m7i.xlarge"),
        ("spot", "m7i.xlarge", "gpu-h100"),
    ],
)
def test_orders(catalogs: Path, sort: str, first: str, last: str) -> None:
    names = [row.instance_type for row in ask(catalogs, sort=sort).rows]
    assert (names[0], names[-1]) == (first, last)
    assert sort in SORTS


def test_spot_alone_is_ordered_by_the_spot_price(catalogs: Path) -> None:
    table = ask(catalogs, spot=True, sort="price")
    assert [row.instance_type for row in table.rows] == ["m7i.xlarge", "g6.xlarge", "g6.12xlarge", "p5.48xlarge"]
    assert all(row.spot_usd_per_hour is not None for row in table.rows)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"clouds": ("NEBIUS",)}, {"gpu-h100"}),
        ({"regions": ("EU-west-1",)}, {"g6.xlarge"}),
        ({"accelerators": ("h100",)}, {"p5.48xlarge", "gpu-h100"}),
        ({"accelerators": ("L4:4",)}, {"g6.12xlarge"}),
        ({"accelerators": ("L4:4", "cpu")}, {"g6.12xlarge", "m7i.xlarge"}),
        ({"max_usd_per_hour": Decimal("0.5")}, {"g6.xlarge", "m7i.xlarge"}),
        ({"max_usd_per_hour": Decimal("0.5"), "spot": False}, {"m7i.xlarge"}),
    ],
)
def test_filters(catalogs: Path, query: dict[str, Any], names: set[str]) -> None:
    assert {row.instance_type for row in ask(catalogs, **query).rows} == names


def test_unknown_prices_are_never_below_a_maximum(catalogs: Path) -> None:
    table = ask(catalogs, spot=False, max_usd_per_hour=Decimal(100))
    assert "p5.48xlarge" not in {row.instance_type for row in table.rows}


def test_top_keeps_the_number_of_all(catalogs: Path) -> None:
    table = ask(catalogs, top=2)
    assert (len(table.rows), table.rows_total) == (2, 6)


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ({"clouds": ("asw",)}, "did you mean `aws`"),
        ({"regions": ("us-eest-1",)}, "did you mean `us-east-1`"),
        ({"accelerators": ("H1000",)}, "did you mean `H100`"),
        ({"accelerators": ("L4:x",)}, "--gpus"),
        ({"sort": "cheap"}, "gpu-price"),
    ],
)
def test_names_that_mean_nothing(catalogs: Path, query: dict[str, Any], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(catalogs, **query)
    assert hint in f"{caught.value.message} {caught.value.hint}"


def test_audit_of_one_cloud(catalogs: Path) -> None:
    counts, notes = price_audit(stage(catalogs.parent), ("aws",), catalogs=catalogs)
    assert {count.cloud for count in counts} == {"aws"}
    assert {count.rule: count.count for count in counts}["unknown_price"] == 1
    assert notes


class Played(AwsAsker):
    """AWS with a price of each type asked for."""

    def __init__(self, usd: str | None) -> None:
        super().__init__()
        self.usd = usd
        self.asked: list[tuple[list[str], list[str]]] = []

    def spot_prices(self, regions: Iterable[str], instance_types: Sequence[str]) -> dict[str, Answer[list[SpotPrice]]]:
        places = list(regions)
        self.asked.append((places, list(instance_types)))
        if self.usd is None:
            return {region: Answer(reason="no AWS credentials") for region in places}
        return {region: Answer(value=[self._price(region, name) for name in instance_types]) for region in places}

    def _price(self, region: str, name: str) -> SpotPrice:
        return SpotPrice(
            region=region, zone="z", instance_type=name, usd_per_hour=Decimal(self.usd or 0), since_s=NOW_S
        )


def test_live_prices_take_the_place_of_the_catalogs(catalogs: Path) -> None:
    aws = Played("0.11")
    table = ask(catalogs, live=True, asker=aws, accelerators=("L4:1", "H100"))
    assert aws.asked == [(["eu-west-1", "us-east-1"], ["g6.xlarge", "p5.48xlarge"])]
    abroad = one(table, "g6.xlarge", "eu-west-1")
    assert (abroad.spot_usd_per_hour, LIVE_FLAG in abroad.flags) == (Decimal("0.11"), True)
    assert LIVE_FLAG not in one(table, "gpu-h100", "eu-north1").flags
    assert table.rows[0].instance_type == "p5.48xlarge"


def test_live_answers_are_kept_for_a_quarter_of_an_hour(catalogs: Path) -> None:
    aws = Played("0.11")
    ask(catalogs, live=True, asker=aws, accelerators=("L4:1",))
    ask(catalogs, live=True, asker=aws, accelerators=("L4:1",), now_s=NOW_S + MAX_AGE_S - 1)
    assert aws.asked[1][0] == []
    ask(catalogs, live=True, asker=aws, accelerators=("L4",), now_s=NOW_S + MAX_AGE_S - 1)
    assert aws.asked[2] == (["eu-west-1", "us-east-1"], ["g6.12xlarge", "g6.xlarge"])
    ask(catalogs, live=True, asker=aws, accelerators=("L4",), now_s=NOW_S + 3 * MAX_AGE_S)
    assert aws.asked[3][0] == ["eu-west-1", "us-east-1"]


def test_what_aws_does_not_tell_is_a_note_and_no_failure(catalogs: Path) -> None:
    table = ask(catalogs, live=True, asker=Played(None), accelerators=("L4:1",))
    assert one(table, "g6.xlarge").spot_usd_per_hour == Decimal("0.3")
    assert any("eu-west-1, us-east-1 are unknown: no AWS credentials; the catalog's" in note for note in table.notes)
    ask(catalogs, live=True, asker=Played("0.11"), accelerators=("L4:1",))
    later = ask(catalogs, live=True, asker=Played(None), accelerators=("L4:1",), now_s=NOW_S + 7200)
    assert one(later, "g6.xlarge").spot_usd_per_hour == Decimal("0.11")
    assert any("answers of up to 2.0 h ago are used" in note for note in later.notes)


def test_live_prices_without_the_extra_or_without_aws_are_a_note(
    catalogs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_live, "is_installed", lambda: False)
    assert any("tunefare[aws]" in note for note in ask(catalogs, live=True).notes)
    assert any("nothing to ask" in note for note in ask(catalogs, live=True, clouds=("nebius",)).notes)


def test_history_needs_a_refresh(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no history of prices yet") as caught:
        price_history(stage(tmp_path), "L4")
    assert "--refresh" in str(caught.value.hint)
