"""A stage for the sky engine: a worker process that plays a scenario, and what it was asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from manager.errors import EngineError
from manager.launch.engine import Handle, LaunchRequest
from manager.launch.inventory import AskedInventory, Found, Rented
from manager.launch.sky_engine import SkyEngine
from manager.launch.sky_worker import SkyWorker
from manager.prices.ask_in_time import Answer
from manager.prices.offer import Offer
from tasks.job import DataChoice, Job, ModelChoice
from tasks.protocol import Event, EventType

FAKE = Path(__file__).parents[1] / "unit" / "launch" / "sky_fake_worker.py"
LAUNCHED = {
    "job_id": 1,
    "region": "lab",
    "zone": "a100",
    "instance_type": "4CPU--16GB--A100:1",
    "price_usd_per_hour": 3.67,
    "provider": {"name": "slurm", "name_on_cloud": "tf-demo-1", "config": {"cluster": "lab"}},
}
NOTHING_LEFT: dict[str, Any] = {"cluster": None, "launches": [], "provider": "slurm", "instances": {}}

NOBODY_ASKED: dict[str, Any] = {"cluster": None, "launches": [], "provider": None, "instances": None}
NO_CLUSTER: dict[str, Any] = {"existed": False, "provider": None}
KNOWN: dict[str, Any] = {"existed": True, "provider": LAUNCHED["provider"]}


def offer(partition: str, price: str | None = "1.99", **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "cloud": "slurm",
        "region": "lab",
        "instance_type": partition,
        "accelerator": "A100",
        "accelerator_count": 1,
        "accelerator_memory_bytes": None,
        "vcpus": None,
        "host_memory_bytes": None,
        "use_spot": False,
        "price_usd_per_hour": None if price is None else Decimal(price),
        "price_source": "site",
        "price_age_s": None,
    }
    return Offer(**{**values, **changes})


class SilentAws:
    """An account that nobody has credentials for."""

    cloud = "aws"

    def regions(self) -> Answer[list[str]]:
        return Answer(reason="no AWS credentials")

    def find(self, regions: Iterable[str], *, run_id: str | None = None) -> Found:
        return Found(silent={f"aws {region}": "no AWS credentials" for region in regions})

    def remove(self, item: Rented) -> None:
        raise EngineError("no AWS credentials")


class Stage:
    """An engine, its scenario and what the worker was asked."""

    def __init__(self, folder: Path, *, aws: AskedInventory | None = None, kind: type[SkyEngine] = SkyEngine) -> None:
        self.folder = folder
        self.slept: list[float] = []
        self.engine = kind(
            worker=lambda log: SkyWorker(command=(sys.executable, str(FAKE), str(folder)), log_path=log),
            clock=lambda: 1000.0,
            sleep=self.slept.append,
            aws=aws or SilentAws(),
        )

    def play(self, **scenario: list[dict[str, Any]]) -> None:
        (self.folder / "scenario.json").write_text(json.dumps(scenario))

    def request(self, *offers: Offer, **changes: Any) -> LaunchRequest:
        job = Job(run_id="demo-1", model=ModelChoice(source="org/model"), data=DataChoice(source="org/data"))
        run_dir = self.folder / "run"
        return LaunchRequest(run_id="demo-1", job=job, offers=offers, run_dir=run_dir, **changes)

    def handle(self) -> Handle:
        handle = self.engine.reserve(self.request(offer("a100b")))
        Path(handle.run_dir).mkdir(exist_ok=True)
        return handle

    def calls(self, *names: str) -> list[Any]:
        lines = [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
        return [call for call in lines if not names or call[0] in names]

    def at_launch(self, monkeypatch: pytest.MonkeyPatch, does: Callable[[float], Any]) -> None:
        """In place of SkyPilot's launch, with its time limit in seconds."""
        call = SkyWorker.call

        def called(worker: SkyWorker, op: str, args: dict[str, Any], *, timeout_s: float) -> Any:
            return does(timeout_s) if op == "launch" else call(worker, op, args, timeout_s=timeout_s)

        monkeypatch.setattr(SkyWorker, "call", called)

    def machine_file(self, name: str, content: str) -> None:
        (self.folder / "machine").mkdir(exist_ok=True)
        (self.folder / "machine" / name).write_text(content)


def event_line(seq: int, kind: EventType = EventType.TRAIN, *, at_s: float = 1.0) -> str:
    return Event(seq=seq, time_s=at_s, type=kind, data={"step": seq}).to_line()


def log_line(seq: int) -> str:
    return f"(tf-demo-1, pid=7) TUNEFARE-EVENT {event_line(seq)}"
