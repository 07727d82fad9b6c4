"""A plan that was saved is launched later: the same question on the same machine, to the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, write_news, write_run_file, write_tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.torch, pytest.mark.timeout(300)]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    commands = Cli(folder=tmp_path)
    yield commands
    commands.end()


def test_a_saved_plan_is_launched_as_it_was_made(cli: Cli, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "model")
    run_file = write_run_file(tmp_path, model=model, data=write_news(tmp_path), where={"clouds": ["local"]})
    planned = cli.run("plan", "--json")
    assert planned.code == 0, planned.stderr
    plan = json.loads(planned.stdout)
    # The file has another question by now; the plan keeps its own. The hour costs twice as much.
    run_file.write_text(run_file.read_text().replace("epochs: 2", "epochs: 40"))
    done = cli.run(
        *("run", "--plan", plan["plan_id"][:6], "--yes", "--max-usd", "1", "--json"),
        TUNEFARE_LOCAL_PRICE_USD_PER_HOUR="0.2",
    )
    assert done.code == 0, done.stderr
    assert "is 100.0 % dearer: $0.10/h then, $0.20/h now" in done.stderr
    first, *_, last = map(json.loads, done.stdout.splitlines())
    assert (first["type"], last["type"]) == ("plan", "report")
    launched = first["plan"]
    assert launched["plan_id"] == plan["plan_id"]
    assert launched["spec"]["training"]["epochs"] == 2
    old, new = plan["offers"][0]["cost_usd"]["expected"], launched["offers"][0]["cost_usd"]["expected"]
    assert new == pytest.approx(2 * old, abs=2e-5)
    assert last["report"]["plan_id"] == plan["plan_id"]
    assert last["report"]["price_usd_per_hour"] == 0.2
    assert last["report"]["steps"]["done"] == plan["profile"]["steps"]
