"""What the line of money costs: milliseconds of `money_now` and of the other questions about budgets.

    python tests/bench/bench_money.py [--runs N] [--rounds N] [--folder FOLDER]

Fills a ledger as `bench_run_list.py` does (an hour of charges a run, each 100th run may still be billed), sets a budget
of the month, and asks as the screens do: a connection for each question, a warm page cache. Prints the median and the
slowest, and the CPU time, which a busy machine moves less. Asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from manager.config import read_config  # noqa: E402
from manager.paths import Home  # noqa: E402
from manager.service.budgets import budget_left, budget_states, month_history, set_budget  # noqa: E402
from manager.service.context import Context  # noqa: E402
from manager.service.money import money_now  # noqa: E402
from tests.bench.bench_run_list import _NOW_S, fill  # noqa: E402

QUESTIONS: dict[str, Callable[[Context], object]] = {
    "money_now": money_now,
    "budget_left": lambda context: budget_left(context, None),
    "budget_states": budget_states,
    "month_history": month_history,
}


def main() -> int:
    """Fill a ledger, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=None, help="where the ledger is, or is kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Home(root=asked.folder or Path(temporary))
        if not home.ledger_file.exists():
            fill(home.ledger_file, asked.runs, 20)
        config = read_config(home.config_file, {})
        context = Context(home=home, config=config, environment={}, user_home=home.root, clock=lambda: _NOW_S)
        set_budget(context, "month", None, Decimal(10**6))
        money = money_now(context)
        _say(f"{asked.runs:,} runs, {len(money.runs):,} of them may be billed")
        _say(f"{'':16}{'median ms':>12}{'slowest ms':>12}{'CPU ms':>10}")
        for name, ask in QUESTIONS.items():
            taken = [_took_ms(ask, context) for _ in range(asked.rounds)]
            wall_ms, cpu_ms = (sorted(times) for times in zip(*taken, strict=True))
            median = statistics.median(wall_ms)
            _say(f"{name:16}{median:12.1f}{wall_ms[-1]:12.1f}{statistics.median(cpu_ms):10.1f}")
    return 0


def _took_ms(ask: Callable[[Context], object], context: Context) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    ask(context)
    return (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
