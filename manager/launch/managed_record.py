"""What is known at home of a run that is a managed job: that it is one, what was told of it, the machines that it had.

Owns `managed-job.json` in the run's folder. It is written before SkyPilot is asked for the job, so that a run whose
client died is found again by its name, and it is what the bill is made of: each machine with its own times and price.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from manager.errors import EngineError
from manager.launch.engine import MachineTime
from manager.launch.given_back import machine_of

MANAGED_FILE = "managed-job.json"
DEAREST = "dearest_usd_per_hour"
"""In the handle's details: what a limit in dollars counts with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedRecord:
    """One run's managed job."""

    name: str
    """Of the job, and the beginning of its machines' names."""
    begun_at_s: float
    """Unix time at which it was asked for; cap and longest duration count from here, on each of its machines."""
    job_id: int | None = None
    """None: SkyPilot has not said it yet."""
    recoveries_told: int = 0
    """How many replaced machines have been told of."""
    loss_told: bool = False
    """Whether it was told that the present machine is gone."""
    is_over: bool = False
    """Whether SkyPilot said that there will be no other machine."""
    machines: tuple[MachineTime, ...] = ()
    """Oldest first, as they were last known."""
    looked_at_s: float | None = None
    """When SkyPilot last told them; None: never."""
    up_from_s: tuple[float, ...] = ()
    """Starts of those that SkyPilot said to be up: of the others it may only have been looking for a place."""


def read_managed(run_dir: Path) -> ManagedRecord | None:
    """The record of a run; None: it is no managed job.

    Raises:
        EngineError: it is one, and the file cannot be read.
    """
    path = run_dir / MANAGED_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        machines = tuple(machine_of(one) for one in record.pop("machines"))
        up_from_s = tuple(record.pop("up_from_s", ()))
        return ManagedRecord(**record, machines=machines, up_from_s=up_from_s)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise EngineError(
            f"{path} cannot be read: {error}", hint="The run is a managed job of SkyPilot: see `sky jobs queue`."
        ) from error


def write_managed(run_dir: Path, record: ManagedRecord) -> ManagedRecord:
    """Store the record and return it.

    Raises:
        EngineError: the file cannot be written.
    """
    path = run_dir / MANAGED_FILE
    new = path.with_name(f"{MANAGED_FILE}.new")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record), indent=2, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise EngineError(f"{path} cannot be written: {error}", hint="Check the disk's space.") from error
    return record


def forget_managed(run_dir: Path) -> None:
    """The run is no managed job: none was asked for."""
    (run_dir / MANAGED_FILE).unlink(missing_ok=True)


def with_machines(record: ManagedRecord, told: Iterable[MachineTime], *, now_s: float) -> ManagedRecord:
    """The record with what SkyPilot tells now; a machine that it has forgotten stays."""
    known = {one.from_s: one for one in record.machines}
    known |= {one.from_s: one for one in told}
    return replace(record, machines=tuple(known[at_s] for at_s in sorted(known)), looked_at_s=now_s)
