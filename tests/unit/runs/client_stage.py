"""A ledger and folders of runs whose clients are real processes, to be killed, interrupted and asked to stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from manager.launch.engine import Handle
from manager.launch.local_process import processes_of
from manager.runs.events_file import read_events
from manager.runs.ledger import Ledger
from manager.runs.reconcile import Reconciled, reconcile, stop
from manager.runs.records import RunRecord
from manager.runs.states import RunState
from manager.runs.updates import Update
from tests.unit.runs.samples import PRICE
from tests.unit.runs.supervising_client import FAST, fast_engine

ROOT = Path(__file__).parents[3]
CLIENT = Path(__file__).with_name("supervising_client.py")
RUN = "job-20260101-aaaa"


class Home:
    """A ledger and folders of runs, with clients as real processes."""

    def __init__(self, folder: Path, ledger_file: Path | None = None) -> None:
        self.folder = folder
        self.ledger_file = ledger_file or folder / "ledger.db"
        self.ledger = Ledger.open(self.ledger_file)
        self.engine = fast_engine()
        self.clients: list[subprocess.Popen[bytes]] = []
        self.updates: list[Update] = []

    def run_dir(self, run_id: str = RUN) -> Path:
        return self.folder / run_id

    def start(self, run_id: str = RUN, **orders: object) -> subprocess.Popen[bytes]:
        arguments = [str(self.ledger_file), str(self.run_dir(run_id)), run_id, json.dumps(orders)]
        log = (self.folder / f"{run_id}.out").open("wb")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        client = subprocess.Popen([sys.executable, str(CLIENT), *arguments], stdout=log, env=environment)
        log.close()
        self.clients.append(client)
        return client

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.02)

    def wait_for_events(self, count: int, run_id: str = RUN) -> None:
        self.wait(lambda: len(self.ledger.run_ids(RunState)) > 0 and len(self.ledger.events(run_id)) >= count)

    def kill(self, client: subprocess.Popen[bytes]) -> None:
        client.kill()
        client.wait()

    def reconcile(self, end: bool = False) -> tuple[Reconciled, ...]:
        engines = {"local": self.engine}
        return reconcile(self.ledger, engines, time.time, self.updates.append, end=end, settings=FAST)

    def stop(self, *, now: bool = False, wait_s: float = 20.0) -> RunRecord:
        engines = {"local": self.engine}
        tell = self.updates.append
        return stop(RUN, self.ledger, engines, time.time, tell, now=now, wait_s=wait_s, settings=FAST)

    def processes(self, run_id: str = RUN) -> int:
        return len(processes_of(self.run_dir(run_id), None))

    def close(self) -> None:
        for client in self.clients:
            self.kill(client)
        for folder in self.folder.iterdir():
            if folder.is_dir():
                self.engine.down(Handle(engine="local", run_dir=str(folder), name=folder.name, details={}))
        self.ledger.close()


def check_complete(home: Home, count: int | None = None) -> None:
    """Events of ledger and file are the same, each once; the bill is price x time; nothing is left."""
    record = home.ledger.run(RUN)
    truth = read_events(home.run_dir() / "events.jsonl")
    assert home.ledger.events(RUN) == truth
    assert [event.seq for event in truth] == list(range(len(truth)))
    assert count is None or len(truth) == count
    assert home.processes() == 0
    assert record.evidence[-1].confirmed
    assert record.billing_started_at_s is not None
    assert record.billing_ended_at_s is not None
    assert record.cost_usd is not None
    billed_s = Decimal(record.billing_ended_at_s) - Decimal(record.billing_started_at_s)
    assert abs(record.cost_usd - PRICE * billed_s / 3600) <= Decimal("0.000001")
