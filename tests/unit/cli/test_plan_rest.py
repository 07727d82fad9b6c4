"""What a plan cut to its first offers says of the rest."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.main import main
from manager.cli.plan_view import print_plan
from manager.prices.offer import Offer
from tests.support.market_factory import open_job_of, set_open_job
from tests.support.memory_stage import run_file
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_spec


def _offers(rejected: int) -> list[Offer]:
    """Two that can be chosen, and so many kinds of machines without a price, each in two regions."""
    kinds = [replace(make_gpu_offer(price=None), instance_type=f"kind-{index}") for index in range(rejected)]
    twice = [replace(offer, region=region) for offer in kinds for region in ("here", "there")]
    return [make_cpu_offer(), make_gpu_offer(), *twice]


@pytest.mark.parametrize(("rejected", "is_cut"), [(8, True), (3, False)])
def test_rejected_offers_that_are_not_shown_are_counted(rejected: int, is_cut: bool) -> None:
    out = io.StringIO()
    print_plan(open_job_of(_offers(rejected), make_spec()).plan(), Console(file=out, width=120, highlight=False), top=3)
    assert f"{2 * rejected} rejected: {2 * rejected} unknown price\n" in out.getvalue()
    assert out.getvalue().count("unknown price: test prices") == 3
    assert ("--json has more of them, --why OFFER any one in full" in out.getvalue()) == is_cut


def test_a_cut_json_tells_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_open_job(monkeypatch, _offers(8), make_spec())
    file = run_file(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tunefare", "plan", str(file), "--json", "--top", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (len(said["offers"]), said["offers_total"]) == (1, 2)
    assert (len(said["rejected"]), said["rejected_total"]) == (1, 16)
    assert said["reasons"] == [{"reason": "unknown price", "offers": 16}]
