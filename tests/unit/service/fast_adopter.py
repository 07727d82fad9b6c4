"""The adopter of the tests: the same work with the fake task's engine and a fast rhythm."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from manager.paths import HOME_VARIABLE, find_home
from manager.runs.ledger import Ledger
from manager.runs.reconcile import reconcile
from tests.unit.runs.supervising_client import FAST, fast_engine


def main(run_id: str) -> int:
    assert Path(os.environ[HOME_VARIABLE]).is_dir(), "the watcher hands its state folder on"
    with Ledger.open(find_home(os.environ).ledger_file) as ledger:
        reconcile(ledger, {"local": fast_engine()}, time.time, lambda _: None, [run_id], settings=FAST)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
