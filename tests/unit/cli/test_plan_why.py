"""`plan --why`: one offer in full; of a spot offer where it stops paying."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.limits_view import print_why, why_to_json
from manager.cli.main import main
from manager.planner.spot_break_even import spot_break_even
from manager.prices.offer import Offer
from manager.spec.model import Budget, Where
from tests.support.market_factory import planner_of, set_open_job, variant_of
from tests.support.memory_stage import run_file
from tests.support.plan_factory import make_gpu_offer, make_spec

ANY = Where(spot=True, max_nodes=2)
VARIANT = variant_of(make_spec(epochs=20.0))
ON_DEMAND = make_gpu_offer("L4", price="0.80")
SPOT = make_gpu_offer("L4", price="0.50", spot=True)


def shown(spot: Offer, *others: Offer, nodes: int = 1, budget: Budget | None = None, width: int = 100) -> str:
    """What is printed of a spot offer in a market of these."""
    planner = planner_of([spot, *others], VARIANT)
    estimate = planner.find(spot.key if nodes == 1 else f"{spot.key}/{nodes}n", ANY, budget or Budget())
    assert estimate is not None
    out = io.StringIO()
    print_why(estimate, Console(file=out, width=width), spot_break_even(planner, estimate, ANY))
    return out.getvalue()


def row(text: str, name: str) -> str:
    """The line of a table that begins with a name, its spaces made one."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(name))


def test_spot_beside_on_demand_in_the_same_region() -> None:
    text = shown(SPOT, ON_DEMAND, replace(ON_DEMAND, region="eu-west-1", price_usd_per_hour=Decimal("0.1")))
    assert "spot against on demand in us-east-1\n" in text
    assert row(text, "price, ").startswith("price, % of on demand $0.50/h, 62.5% $0.80/h $0.")
    assert row(text, "preemptions/h ").startswith("preemptions/h 0.05 (0.0001 to 0.3) assumed none ")
    assert "spot is expected to be cheaper, also at the most preemptions assumed\n" in text
    assert text.index("can be chosen") < text.index("against on demand") < text.index("cost line")


def test_where_on_demand_is_only_elsewhere_it_is_said() -> None:
    text = shown(SPOT, replace(ON_DEMAND, region="eu-west-1"), replace(ON_DEMAND, price_usd_per_hour=None), width=120)
    assert "against on demand in eu-west-1, the cheapest: us-east-1 has no known price on demand" in text


@pytest.mark.parametrize(
    ("price", "sentence", "even"),
    [
        ("0.90", "spot costs more even without preemptions", "never"),
        ("0.80", "spot costs as much even without preemptions", "never"),
        ("0.798", "on demand is expected to be cheaper: spot is preempted too often", None),
        ("0.785", "spot is expected to be cheaper, but not at the most preemptions assumed", None),
        (
            "0.765",
            "spot is expected to be cheaper, also at the most preemptions assumed; with all else at its worst too it "
            "is dearer",
            None,
        ),
    ],
)
def test_what_follows_is_said_in_a_sentence(price: str, sentence: str, even: str | None) -> None:
    text = shown(replace(SPOT, price_usd_per_hour=Decimal(price)), ON_DEMAND, width=120)
    assert f"{sentence}\n" in text
    assert even is None or row(text, "preemptions/h ").endswith(f" none {even}")


def test_nothing_is_said_of_unknown_prices() -> None:
    text = shown(SPOT)
    assert "no price of this machine is known, so where spot stops paying cannot be said" in text
    assert "preemptions: 0.05 (0.0001 to 0.3) an hour assumed" in text
    assert "against on demand" not in text
    text = shown(replace(SPOT, price_usd_per_hour=None), ON_DEMAND)
    assert "price unknown from test prices" in text
    assert row(text, "preemptions/h ").endswith("none unknown")
    assert "the spot price is unknown; it would pay below $0." in text


def test_a_rejected_offer_of_several_machines() -> None:
    text = shown(SPOT, ON_DEMAND, nodes=2, budget=Budget(max_usd=Decimal("0.01")))
    assert "rejected: over budget" in text
    assert row(text, "price, ").startswith("price, % of on demand $1.00/h, 62.5% $1.60/h ")
    assert row(text, "preemptions/h each machine ").startswith("preemptions/h each machine 0.05 ")


def test_offers_on_demand_have_no_such_part() -> None:
    planner = planner_of([SPOT, ON_DEMAND], VARIANT)
    estimate = planner.find(ON_DEMAND.key, ANY, Budget())
    assert estimate is not None
    out = io.StringIO()
    print_why(estimate, Console(file=out, width=100), spot_break_even(planner, estimate, ANY))
    assert "against on demand" not in out.getvalue()
    assert why_to_json(estimate)["spot_break_even"] is None


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tunefare", "plan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_the_command_shows_it_as_text_and_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_open_job(monkeypatch, [SPOT, ON_DEMAND], make_spec(where=ANY))
    file = str(run_file(tmp_path))
    run([file, "--why", SPOT.key], monkeypatch)
    assert "spot against on demand in us-east-1" in capsys.readouterr().out
    run([file, "--why", SPOT.key, "--json"], monkeypatch)
    said = json.loads(capsys.readouterr().out)
    assert said["offer"]["use_spot"]
    even = said["spot_break_even"]
    assert even["preemptions_per_hour"] == {"low": 0.0001, "expected": 0.05, "high": 0.3}
    assert even["even_preemptions_per_hour"] > 0.3
    assert (even["price_share"], even["is_dearer_without_preemptions"]) == (0.625, False)
    assert 0.9 < even["even_price_share"] < 1
    assert 0.7 < even["even_price_usd_per_hour"] < 0.8
    assert (even["on_demand"]["key"], even["on_demand"]["is_same_region"]) == (ON_DEMAND.key, True)
    assert even["on_demand"]["price_usd_per_hour"] == 0.8
    run([file, "--why", ON_DEMAND.key, "--json"], monkeypatch)
    assert json.loads(capsys.readouterr().out)["spot_break_even"] is None


def test_rare_preemptions_are_no_number_with_an_exponent() -> None:
    assert " preemptions expected" in shown(SPOT, ON_DEMAND)
    assert "(< 0.001 to 0." in shown(SPOT, ON_DEMAND)
