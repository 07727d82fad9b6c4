"""What a plan cut to its first offers says of the rest."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from manager.cli.main import main
from manager.cli.plan_view import print_plan
from manager.planner.build import make_plan
from manager.planner.plan import Plan
from manager.service import planning
from tests.support.memory_stage import run_file
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_profile, make_spec, make_traces


def _plan(rejected: int) -> Plan:
    spec = make_spec()
    regions = [f"r{index}" for index in range(rejected)]
    offers = [make_cpu_offer(), make_gpu_offer(), *(make_gpu_offer(price=None, region=region) for region in regions)]
    return make_plan(
        spec=spec,
        profile=make_profile(spec=spec),
        traces=make_traces(spec=spec),
        offers=offers,
        created_at_s=0.0,
        notes=[],
    )


@pytest.mark.parametrize(("rejected", "more"), [(8, "... and 5 more: --json has them all"), (3, None)])
def test_rejected_offers_that_are_not_shown_are_counted(rejected: int, more: str | None) -> None:
    out = io.StringIO()
    print_plan(_plan(rejected), Console(file=out, width=120, highlight=False), top=3)
    assert (more in out.getvalue()) if more else ("more" not in out.getvalue())


def test_a_cut_json_tells_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planning, "plan_job", lambda *_, **__: _plan(8))
    file = run_file(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tunefare", "plan", str(file), "--json", "--top", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (len(said["offers"]), said["offers_total"]) == (1, 2)
    assert (len(said["rejected"]), said["rejected_total"]) == (1, 8)
