"""What a list of many runs costs: seconds, CPU and memory of `run_summaries` beside reading each run's record.

    python tests/bench/bench_run_list.py [--runs N] [--records N] [--offers N] [--folder FOLDER]

Fills a ledger with runs that ended, and a few that go on: each has a plan as `tunefare plan` writes it, an hour of
charges, the events of its training and its evidence. Every reading is a process of its own with a warm page cache, from
opening the ledger to the last row; imports are not counted. Records, the way before lists had tables of their own, are
read of fewer runs, and the ratio is per run. Prints a table; asserts nothing.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from manager.launch.engine import Evidence  # noqa: E402
from manager.planner.codec import plan_to_text  # noqa: E402
from manager.planner.plan import Plan  # noqa: E402
from manager.runs.charges import charge  # noqa: E402
from manager.runs.facts import estimate_row, fact_row, read_plan  # noqa: E402
from manager.runs.ledger import Ledger  # noqa: E402
from manager.runs.migrations import insert  # noqa: E402
from manager.runs.rows import charge_to_row, evidence_to_row, offer_to_json  # noqa: E402
from tasks.protocol import Event, EventType  # noqa: E402
from tests.support.market_factory import random_offers  # noqa: E402
from tests.support.plan_factory import make_profile, make_spec, make_traces  # noqa: E402
from tests.support.planning import make_plan  # noqa: E402

_CHARGES = 120
_TRAIN_EVENTS = 50
_NOW_S = 1_790_000_000.0
_PRICE = Decimal("0.8048")
_READING = """
import resource, sys, time
from manager.config import read_config
from manager.paths import Home
from manager.service.context import Context
{imports}
from pathlib import Path

home = Home(root=Path(sys.argv[1]))
config = read_config(home.config_file, {{}})
context = Context(home=home, config=config, environment={{}}, user_home=home.root, clock=time.time)
limit = int(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF)
began, cpu = time.perf_counter(), time.process_time()
found = {read}
took, cpu = time.perf_counter() - began, time.process_time() - cpu
after = resource.getrusage(resource.RUSAGE_SELF)
print(len(found), took, cpu, (after.ru_maxrss - before.ru_maxrss) / 1024)
"""
_SUMMARIES = _READING.format(
    imports="from manager.service.run_list import run_summaries", read="run_summaries(context)[:limit]"
)
_RECORDS = _READING.format(
    imports="""
from manager.service.inspection import open_ledger

def records():
    with open_ledger(context) as ledger:
        ids = ledger._db.execute("SELECT run_id FROM runs LIMIT ?", (limit,)).fetchall()
        with ledger._read():
            return [ledger._record(run_id) for (run_id,) in ids]
""",
    read="records()",
)


def main() -> int:
    """Fill a ledger, read it both ways, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=100, help="runs of which records are read")
    parser.add_argument("--offers", type=int, default=100, help="of the market that plans are made over")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where the ledger is, or is kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = asked.folder or Path(temporary)
        file = root / "ledger.sqlite3"
        if not file.exists():
            fill(file, asked.runs, asked.offers)
        _say(f"{file.stat().st_size / 2**30:.2f} GiB of ledger")
        _say(f"{'':24}{'runs':>8}{'seconds':>10}{'CPU s':>10}{'MiB':>8}{'us/run':>10}")
        summaries = _row("summaries of all", _SUMMARIES, root, asked.runs, asked.rounds)
        records = _row("records, one by one", _RECORDS, root, asked.records, asked.rounds)
        _say(f"a record costs {records / summaries:.0f} times the seconds of a summary")
    return 0


def fill(file: Path, runs: int, offers: int) -> None:
    """A ledger with so many runs; each 100th may still be billed."""
    parts = {"spec": make_spec(), "profile": make_profile(), "traces": make_traces()}
    plan = make_plan(**parts, offers=random_offers(1, offers), created_at_s=_NOW_S, notes=())  # type: ignore[arg-type]
    planned = Planned(plan)
    Ledger.open(file).close()
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    chance = random.Random(0)
    for first in range(0, runs, 200):
        db.execute("BEGIN")
        for number in range(first, min(first + 200, runs)):
            at_s = _NOW_S - 3600.0 * (runs - number)
            _add_run(db, f"bbc-news-{number:06d}", planned, at_s, chance, goes_on=number % 100 == 0)
        db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


class Planned:
    """What the ledger keeps of a plan; the same for all runs here, and stored for each."""

    def __init__(self, plan: Plan) -> None:
        assert plan.choice is not None, "the market holds an offer that fits"
        self.plan_json = plan_to_text(plan)
        self.offer_json = offer_to_json(plan.choice.offer)
        written = read_plan(self.plan_json)
        self.facts = fact_row(written)
        self.estimate = estimate_row(written, plan.choice.offer) or ()


def _add_run(
    db: sqlite3.Connection, run_id: str, planned: Planned, at_s: float, chance: random.Random, *, goes_on: bool
) -> None:
    insert(db, "runs", (run_id, at_s, planned.plan_json, f"/runs/{run_id}", "sky", "5.00"))
    insert(db, "run_facts", (run_id, at_s, "sky", "5.00", *planned.facts, None))
    insert(db, "estimates", (None, run_id, *planned.estimate))
    for state in ("planned", "launching", "running", *(() if goes_on else ("tearing_down", "succeeded"))):
        insert(db, "state_changes", (None, run_id, state, at_s, None))
    insert(db, "launches", (run_id, at_s, planned.offer_json, at_s))
    cost = Decimal(0)
    for number in range(_CHARGES):
        from_s = at_s + 30.0 * number
        item = charge(from_s=from_s, to_s=from_s + 30.0, price_usd_per_hour=_PRICE, at_s=from_s + 30.0)
        cost += item.amount_usd or Decimal(0)
        cursor = db.execute("INSERT INTO charges VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", (run_id, *charge_to_row(item)))
        insert(db, "bills", (run_id, cursor.lastrowid, 30.0 * (number + 1), str(cost)))
    for event in _events(at_s, chance):
        insert(db, "events", (run_id, event.seq, event.to_line()))
    if not goes_on:
        evidence = Evidence(confirmed=True, asked_at_s=at_s + 3700.0, source="sky status", answer="no cluster", left=())
        insert(db, "evidence", (None, run_id, *evidence_to_row(evidence)))


def _events(at_s: float, chance: random.Random) -> list[Event]:
    def scores(stage: str, step: int) -> tuple[EventType, dict[str, object]]:
        metrics = {name: chance.random() for name in ("accuracy", "f1_macro", "f1_weighted", "roc_auc")}
        data = {"stage": stage, "split": "test", "step": step, "loss": 0.5, "metrics": metrics, "samples": 223}
        matrix = [[chance.randrange(50) for _ in range(5)] for _ in range(5)]
        return EventType.EVALUATION, {**data, "per_class": {}, "confusion_matrix": matrix, "duration_s": 2.5}

    def train(step: int) -> tuple[EventType, dict[str, object]]:
        return EventType.TRAIN, {"step": step, "loss": chance.random(), "tokens": 32 * step, "tokens_per_s": 9000.0}

    best = {"metric": "f1_macro", "value": 0.9, "step": _TRAIN_EVENTS}
    told: list[tuple[EventType, dict[str, object]]] = [
        (EventType.STARTED, {"device": "cuda", "resumed_from_step": None}),
        scores("baseline", 0),
        *(train(step) for step in range(_TRAIN_EVENTS)),
        *(scores("interval", step) for step in (10, 20, 30)),
        scores("final", _TRAIN_EVENTS),
        (EventType.FINISHED, {"outcome": "completed", "steps": _TRAIN_EVENTS, "best": best}),
    ]
    return [Event(seq=seq, time_s=at_s + seq, type=kind, data=data) for seq, (kind, data) in enumerate(told)]


def _row(title: str, code: str, root: Path, limit: int, rounds: int) -> float:
    """Print the quickest of some processes; microseconds of each run."""
    best: tuple[float, float, float, int] | None = None
    for _ in range(rounds):
        command = [sys.executable, "-c", code, str(root), str(limit)]
        told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        found = (float(told[1]), float(told[2]), float(told[3]), int(told[0]))
        best = found if best is None or found < best else best
    assert best is not None
    seconds, cpu_s, mib, runs = best
    _say(f"{title:24}{runs:>8,}{seconds:>10.3f}{cpu_s:>10.3f}{mib:>8.1f}{seconds / runs * 1e6:>10.0f}")
    return seconds / runs


def _say(line: str) -> None:
    print(line)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
