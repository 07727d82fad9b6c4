"""A client process of the tests: supervises one run of the fake task, to be hit by signals.

`python supervising_client.py LEDGER RUN_DIR RUN_ID ORDERS_JSON`; prints a line of JSON per update, exits like the CLI.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from manager.launch.local import LocalEngine
from manager.runs.ledger import Ledger
from manager.runs.supervise import SuperviseSettings, supervise
from manager.runs.updates import Update, update_to_json
from tests.unit.runs.samples import order

FAKES = Path(__file__).parents[1] / "launch"
FAST = SuperviseSettings(
    poll_s=0.05,
    event_batch_s=0.1,
    charge_interval_s=0.3,
    stop_poll_s=0.1,
    cancel_grace_s=5.0,
    cancel_margin_s=5.0,
    store_patience_s=1.0,
    evidence_attempts=3,
    evidence_backoff_s=0.05,
)


def fast_engine() -> LocalEngine:
    return LocalEngine(task_module="fake_task", env={"PYTHONPATH": str(FAKES)})


def show(update: Update) -> None:
    sys.stdout.write(json.dumps(update_to_json(update)) + "\n")
    sys.stdout.flush()


def main() -> int:
    ledger_path, run_dir, run_id, orders = sys.argv[1:]
    with Ledger.open(Path(ledger_path)) as ledger:
        run = order(Path(run_dir), run_id=run_id, **json.loads(orders))
        return int(supervise(run, fast_engine(), ledger, time.time, show, FAST).exit_code)


if __name__ == "__main__":
    raise SystemExit(main())
