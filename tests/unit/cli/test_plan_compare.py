"""`plan --compare`: offers side by side, each row with a sign where they differ."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.compare_view import print_compared
from manager.cli.main import main
from manager.reports.offer_compare import compare_offers
from manager.spec.model import Budget, Where
from tests.support.market_factory import planner_of, set_open_job, variant_of
from tests.support.memory_stage import run_file
from tests.support.plan_factory import make_gpu_offer, make_spec

ANY = Where(spot=True)
VARIANT = variant_of(make_spec(epochs=20.0))
ON_DEMAND = make_gpu_offer("L4", price="0.80")
SPOT = make_gpu_offer("L4", price="0.50", spot=True)
LARGE = make_gpu_offer("H100", price="4.00", cloud="lambda")
OFFERS = (ON_DEMAND, SPOT, LARGE)


def rows() -> dict[str, tuple[str, ...]]:
    planner = planner_of(OFFERS, VARIANT)
    found = [planner.find(offer.key, ANY, Budget()) for offer in OFFERS]
    return {row.name: (row.sign, *row.cells) for row in compare_offers([one for one in found if one is not None])}


def test_a_row_for_each_property_and_cost_line() -> None:
    told = rows()
    assert told["market"] == ("≠", "on demand", "spot", "on demand")
    assert told["cloud"] == ("≠", "aws", "aws", "lambda")
    assert told["precision"] == (" ", "fp32", "fp32", "fp32")
    assert told["preemptions"][1] == told["preemptions"][3] == "-"
    assert told["preemptions"][2] != "-"
    # A line that one of them has not is told as such, and one that none has is left out.
    assert told["spot_rework"][0] == "≠"
    assert told["spot_rework"][1] == "-"
    assert told["training"][1].startswith("$")
    assert all(any(cell not in ("-", "unknown") for cell in cells[1:]) for cells in told.values())


def test_it_is_printed_with_the_sign_beside_the_name() -> None:
    planner = planner_of(OFFERS, VARIANT)
    found = [planner.find(offer.key, ANY, Budget()) for offer in OFFERS[:2]]
    out = io.StringIO()
    print_compared([one for one in found if one is not None], Console(file=out, width=160))
    assert "≠ market" in out.getvalue()
    assert "≠ cloud" not in out.getvalue()
    assert out.getvalue().splitlines()[-1] == "≠: they differ"


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["tunefare", "plan", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    set_open_job(monkeypatch, OFFERS, make_spec(where=ANY))
    file = str(run_file(tmp_path))
    assert run([file, "--compare", f"{ON_DEMAND.key},{LARGE.key}"], monkeypatch) == 0
    assert "≠ dollars to the finished job" in capsys.readouterr().out
    assert run([file, "--compare", f"{ON_DEMAND.key},{LARGE.key}", "--json"], monkeypatch) == 0
    said = json.loads(capsys.readouterr().out)
    assert [offer["cloud"] for offer in said["offers"]] == ["aws", "lambda"]
    assert {"group": "machine", "name": "cloud", "cells": ["aws", "lambda"], "differs": True} in said["rows"]
    assert run([file, "--compare", ON_DEMAND.key], monkeypatch) == 2
    assert "two offers or more" in capsys.readouterr().err
