"""Ends of runs that outlive the front end which asked for them: a process of its own carries each out.

The process (`manager.service.ender`) has a session of its own and ignores hang-ups: a machine is taken down although
the terminal UI is left, or its terminal closed. The front end follows it while it is there.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from manager.errors import EngineError
from manager.launch.engine import Evidence
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.detached import error_from_json
from manager.service.own_process import PYTHON, start_own_process
from manager.service.panic_end import OnPanic
from manager.service.panic_report import PanicEntry, PanicTarget, PanicTargets, PanicUpdate

COMMAND = (*PYTHON, "manager.service.ender")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A process that ends runs."""

    process: subprocess.Popen[bytes]

    def follow(self, on_update: OnPanic) -> tuple[PanicEntry, ...]:
        """Wait until it is done; how each run stands then. Whoever stops following leaves the process alone.

        Args:
            on_update: called from this thread for whatever is learnt.

        Raises:
            TunefareError: what the process failed with.
            EngineError: it was ended from outside.
        """
        assert self.process.stdout is not None, "started with a pipe"
        with self.process.stdout as lines:
            for line in lines:
                told = json.loads(line)
                if told["type"] == "error":
                    raise error_from_json(told["error"])
                if told["type"] == "end":
                    return tuple(map(entry_from_json, told["entries"]))
                on_update(PanicUpdate(run_id=told["run_id"], text=told["text"]))
        raise EngineError(
            f"the process that ends runs was ended itself (exit status {self.process.wait()}): MAY STILL BE BILLED",
            hint="see `tunefare runs`, then ask again, or type `tunefare panic`",
        )


def start_panic(context: Context, found: PanicTargets) -> Ending:
    """End the runs that were found, at once and without checkpoints; EngineError where no process can be started."""
    return _start(context, {"kind": "panic", "targets": [_target_to_json(target) for target in found.targets]})


def start_stop(context: Context, run: str, *, now: bool) -> Ending:
    """End one run, with a checkpoint or (`now`) at once; EngineError where no process can be started."""
    return _start(context, {"kind": "stop", "run": run, "now": now})


def target_from_json(told: Mapping[str, Any]) -> PanicTarget:
    """A run to be ended, as it travels between processes."""
    price = told["price_usd_per_hour"]
    return PanicTarget(
        run_id=told["run_id"],
        run_dir=Path(told["run_dir"]),
        state=None if told["state"] is None else RunState(told["state"]),
        machine=told["machine"],
        price_usd_per_hour=None if price is None else Decimal(price),
        has_client=told["has_client"],
    )


def entry_to_json(entry: PanicEntry) -> dict[str, Any]:
    """How a run stands, as it travels between processes: dollars exact."""
    return {
        **asdict(entry),
        "state": None if entry.state is None else str(entry.state),
        "cost_usd": None if entry.cost_usd is None else str(entry.cost_usd),
    }


def entry_from_json(told: Mapping[str, Any]) -> PanicEntry:
    """The inverse of `entry_to_json`."""
    evidence, cost = told["evidence"], told["cost_usd"]
    return PanicEntry(
        run_id=told["run_id"],
        state=None if told["state"] is None else RunState(told["state"]),
        is_gone=told["is_gone"],
        told=told["told"],
        evidence=None if evidence is None else Evidence(**{**evidence, "left": tuple(evidence["left"])}),
        cost_usd=None if cost is None else Decimal(cost),
        commands=tuple(told["commands"]),
    )


def _target_to_json(target: PanicTarget) -> dict[str, Any]:
    price = target.price_usd_per_hour
    return {
        **asdict(target),
        "run_dir": str(target.run_dir),
        "state": None if target.state is None else str(target.state),
        "price_usd_per_hour": None if price is None else str(price),
    }


def _start(context: Context, order: Mapping[str, Any]) -> Ending:
    try:
        # A file, whole before the process begins: no death of this one leaves it with half an order.
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(order).encode())
            file.seek(0)
            process = start_own_process(context, COMMAND, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise EngineError(
            f"no process can be started that ends runs: {error.strerror}", hint="type `tunefare panic` in a terminal"
        ) from error
    return Ending(process=process)
