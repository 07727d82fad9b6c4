"""What the tests of runs on the emulated AWS share: the run file, and what ledger and cloud say afterwards."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from manager.runs.ledger_reader import LedgerReader
from manager.runs.states import FINAL
from tasks.protocol import Event
from tests.faults.stage import read_run
from tests.support.cli import Cli, wait_for, write_news, write_run_file

CHECKED_RUN = ("run", "--on", "aws", "--yes", "--max-usd", "5")
RUN = (*CHECKED_RUN, "--skip-preflight")
"""One test has the checks before the launch; the others are about what comes after them."""
LONG = {"epochs": 4000, "eval_every_steps": 1000, "checkpoint_every_steps": 100}
"""Training that only ends when it is ended."""


WHILE_IT_RUNS = {"epochs": 240, "eval_every_steps": 1200}
"""Training that takes many heartbeats on any machine, and then ends well."""
ENDED = frozenset(map(str, FINAL))


def write_aws_job(
    folder: Path,
    model: Path,
    *,
    accelerators: tuple[str, ...] = ("L4",),
    regions: tuple[str, ...] = (),
    spot: bool = False,
    **changes: object,
) -> None:
    """A run file for the small model on one GPU of AWS."""
    where: dict[str, object] = {"clouds": ["aws"], "accelerators": list(accelerators), "spot": spot}
    if regions:
        where["regions"] = list(regions)
    write_run_file(folder, model=model, data=write_news(folder), where=where, **changes)


def only_run(cli: Cli) -> dict[str, Any]:
    """The one run of the ledger."""
    (run,) = cli.json_lines("runs", "--json")
    return run


def wait_for_training(cli: Cli, *, timeout_s: float = 900) -> dict[str, Any]:
    """Wait until the ledger at home holds a train event while the job is still running; the run."""

    def trains() -> bool:
        state = _state(cli)
        assert state not in ENDED, f"the run {state} before a training step was seen in the ledger"
        return state == "running" and any(event.type == "train" for event in _events(cli))

    wait_for(trains, what="a training step in the ledger", timeout_s=timeout_s)
    return only_run(cli)


def wait_for_state(cli: Cli, state: str, *, timeout_s: float) -> None:
    """Wait until the run is there, in this state."""
    wait_for(lambda: _state(cli) == state, what=f"a run that is {state}", timeout_s=timeout_s)


def _state(cli: Cli) -> str | None:
    """Of the one run; read here, as a command for each look would slow down what is waited for."""
    time.sleep(0.8)
    record = read_run(cli.folder / "home")
    return None if record is None else str(record.state)


def _events(cli: Cli) -> tuple[Event, ...]:
    record = read_run(cli.folder / "home")
    if record is None:
        return ()
    with LedgerReader.open_for_reading(cli.folder / "home" / "ledger.sqlite3", busy_timeout_s=30.0) as ledger:
        return ledger.events(record.run_id)


def assert_cost_is_price_times_time(run: dict[str, Any], price_usd_per_hour: Decimal) -> None:
    """The ledger bills by the second: at most one second's price apart."""
    billed_s = Decimal(str(run["billing_ended_at_s"])) - Decimal(str(run["billing_started_at_s"]))
    assert billed_s > 0
    expected = price_usd_per_hour * billed_s / 3600
    assert abs(Decimal(str(run["cost_usd"])) - expected) <= price_usd_per_hour / 3600


def event_numbers(cli: Cli) -> list[int]:
    """Sequence numbers of the events in the ledger, in the order in which they are told."""
    return [event["seq"] for event in cli.json_lines("logs", only_run(cli)["run_id"], "--events")]
