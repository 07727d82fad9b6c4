"""What is left is given away once: many threads, and two processes, that launch at the same moment."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import ExitCode, OverBudgetError
from manager.runs.budget_rows import standings
from manager.runs.budgets import BudgetScope
from manager.runs.ledger import Ledger
from manager.runs.states import RunState
from tests.support.postgres_stage import KEEPERS, ledger_opener, place_of
from tests.unit.runs.samples import plan

NOW_S = 1_790_000_000.0
CAP = Decimal(4)
"""Of each run; the plan of the samples costs $3.60 to $7.20."""

_CREATE = """
import sys
from decimal import Decimal
from pathlib import Path
from manager.errors import OverBudgetError
from manager.runs.ledger import Ledger
from tests.unit.runs.samples import plan

made = plan()
place = sys.argv[1]
with Ledger.connect(place) if "://" in place else Ledger.open(Path(place)) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        ledger.create_run(sys.argv[2], made, Path("/r"), "sky", Decimal(4), 1_790_000_000.0)
    except OverBudgetError as error:
        sys.exit(int(error.exit_code))
"""


Open = Callable[[], Ledger]


@pytest.fixture(params=KEEPERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the ledger once more."""
    opened = ledger_opener(request.param, tmp_path / "ledger.db")
    with opened() as ledger:
        ledger.set_budget(BudgetScope.MONTH, "", Decimal(13), NOW_S)
    return opened


def test_threads_overspend_no_budget_together(opened: Open) -> None:
    refused: list[OverBudgetError] = []
    barrier = threading.Barrier(8)

    def launch(number: int) -> None:
        with opened() as ledger:
            barrier.wait()
            try:
                ledger.create_run(f"r-{number}", plan(), Path("/r"), "sky", CAP, NOW_S)
            except OverBudgetError as error:
                refused.append(error)

    threads = [threading.Thread(target=launch, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5
    assert "leaves $1.00 of $13.00, and this run may cost up to $4.00" in refused[0].message
    with opened() as ledger:
        assert len(ledger.runs()) == 3
        (standing,) = ledger.look(lambda db: standings(db, NOW_S))
    assert (standing.committed_usd, standing.left_usd) == (Decimal(12), Decimal(1))


def test_of_two_processes_one_gets_what_is_left(opened: Open) -> None:
    with opened() as ledger:
        ledger.set_budget(BudgetScope.MONTH, "", Decimal(5), NOW_S + 1)
        place = place_of(ledger)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CREATE, place, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for name in ("one", "two")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    codes = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        codes.append(process.returncode)
    assert sorted(codes) == [ExitCode.DONE, ExitCode.OVER_BUDGET]
    with opened() as ledger:
        assert len(ledger.runs()) == 1


def test_a_run_of_unknown_cost_needs_a_cap_where_a_budget_holds(opened: Open) -> None:
    unknown = plan(price=None)
    with opened() as ledger:
        with pytest.raises(OverBudgetError, match="nobody knows what this run may cost"):
            ledger.create_run("r", unknown, Path("/r"), "sky", None, NOW_S)
        ledger.create_run("r", unknown, Path("/r"), "sky", CAP, NOW_S)
        ledger.set_budget(BudgetScope.MONTH, "", None, NOW_S)
        ledger.create_run("s", unknown, Path("/r"), "sky", None, NOW_S)


def test_while_a_run_of_unknown_cost_goes_on_a_budget_takes_no_other(opened: Open) -> None:
    with opened() as ledger:
        ledger.set_budget(BudgetScope.MONTH, "", None, NOW_S)
        ledger.create_run("open", plan(price=None), Path("/r"), "sky", None, NOW_S)
        ledger.set_budget(BudgetScope.MONTH, "", Decimal(13), NOW_S)
        with pytest.raises(OverBudgetError, match="nobody knows what open may still cost"):
            ledger.create_run("next", plan(), Path("/r"), "sky", CAP, NOW_S)
        ledger.transition("open", RunState.INTERRUPTED, NOW_S)
        ledger.create_run("next", plan(), Path("/r"), "sky", CAP, NOW_S)


def test_what_costs_nothing_here_needs_no_budget(opened: Open) -> None:
    free = plan(price=Decimal(0))
    with opened() as ledger:
        ledger.create_run("rest", plan(), Path("/r"), "sky", Decimal(13), NOW_S)
        ledger.create_run("free", free, Path("/r"), "local", Decimal(20), NOW_S)
        with pytest.raises(OverBudgetError):
            ledger.create_run("cloud", free, Path("/r"), "sky", Decimal(20), NOW_S)


def test_a_run_that_is_over_gives_the_rest_of_its_cap_back(opened: Open) -> None:
    with opened() as ledger:
        ledger.create_run("r", plan(), Path("/r"), "sky", Decimal(13), NOW_S)
        with pytest.raises(OverBudgetError):
            ledger.create_run("s", plan(), Path("/r"), "sky", CAP, NOW_S)
        ledger.transition("r", RunState.INTERRUPTED, NOW_S)
        ledger.create_run("s", plan(), Path("/r"), "sky", CAP, NOW_S)
