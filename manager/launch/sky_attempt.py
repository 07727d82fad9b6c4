"""The attempts to launch, in a file of the run's folder: whom to ask for the evidence after the teardown, and what a
launch is billed that never came through.

Owns `sky-attempt.json`. An attempt is written before SkyPilot is asked to launch, and stays beside those after it until
it is known to have come to no machine, so that one provider never answers for another. An attempt without facts of its
provider means: there may be a machine, and nobody knows how to ask about it.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from manager.errors import EngineError
from manager.launch.engine import Handle, MachineTime, MachineTimes
from manager.launch.given_back import machine_of, machine_time
from manager.prices.offer import Offer

ATTEMPT_FILE = "sky-attempt.json"
RESERVED_ON = "reserved_on"
"""In the handle's details: name of the machine in whose folder the attempts are written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A launch that SkyPilot was asked for."""

    cloud: str | None
    """None: the file cannot be read, so the attempt is known and no more."""
    region: str | None
    """As in the offer; on Slurm the cluster."""
    provider: dict[str, Any] | None
    """How to ask the provider itself about the machine; None is unknown."""
    machine: MachineTime | None = None
    """That it may have come to, billed from the request on, with no time where it came to none; None is unknown."""
    earlier: tuple[Attempt, ...] = ()
    """Those before it that may have come to a machine, the oldest first; they have none of their own here."""

    @property
    def all(self) -> tuple[Attempt, ...]:
        """It and the earlier ones, the oldest first."""
        return (*self.earlier, replace(self, earlier=()))


def begin_attempt(run_dir: Path, offer: Offer, *, at_s: float | None = None) -> None:
    """Note this attempt beside those before it.

    Args:
        run_dir: of the run.
        offer: what SkyPilot is asked for.
        at_s: Unix time from which its machine is billed; None: its bill is kept elsewhere.

    Raises:
        EngineError: the file cannot be written.
    """
    known = read_attempt(run_dir)
    new = Attempt(cloud=offer.cloud, region=offer.region, provider=None)
    earlier = () if known is None else tuple(one for one in known.all if one != new)
    machine = None if at_s is None else machine_time(offer, from_s=at_s)
    _write(run_dir, replace(new, machine=machine, earlier=earlier))


def keep_provider(run_dir: Path, facts: dict[str, Any]) -> None:
    """Add the provider's facts to the latest attempt.

    Raises:
        EngineError: the file cannot be written.
    """
    attempt = read_attempt(run_dir) or Attempt(cloud=None, region=None, provider=None)
    _write(run_dir, replace(attempt, provider=facts))


def close_attempt(run_dir: Path, *, gone_s: float | None) -> None:
    """The latest attempt's machine is gone since this Unix time; None: it came to none, which costs nothing.

    A disk that is full does not make a machine that is gone one that may be there: it is billed to its end's evidence.
    """
    known = read_attempt(run_dir)
    if known is not None and known.machine is not None and is_open(known):
        begun_s = known.machine.from_s
        to_s = begun_s if gone_s is None else max(begun_s, gone_s)
        with suppress(EngineError):
            _write(run_dir, replace(known, machine=replace(known.machine, to_s=to_s)))


def close_broken(
    run_dir: Path,
    *,
    had_none: bool,
    is_new: bool,
    waits: bool,
    ended_s: float | None,
    was_there: Callable[[], bool],
    now_s: float,
) -> None:
    """The latest attempt has been taken down, and its launch did not come through.

    Args:
        run_dir: of the run.
        had_none: SkyPilot never had a cluster of it.
        is_new: nobody need be asked again about one that had no machine.
        waits: it only waited in a cluster's queue.
        ended_s: Unix time at which the provider says that its machine ended; None: it does not say.
        was_there: whether anything but SkyPilot tells of a machine.
        now_s: Unix time.

    Raises:
        EngineError: the file cannot be written.
    """
    known = read_attempt(run_dir)
    if ended_s is not None and known is not None and known.machine is not None and ended_s < known.machine.from_s:
        # The machine of an attempt before it.
        ended_s = None
    if ended_s is not None or not had_none:
        close_attempt(run_dir, gone_s=None if waits else now_s if ended_s is None else ended_s)
    elif was_there():
        # It ended by itself, and nobody says when: it is billed to its last sign of life.
        return
    elif is_new:
        end_attempt(run_dir)
    else:
        close_attempt(run_dir, gone_s=None)


def reopen_attempt(run_dir: Path) -> None:
    """The latest attempt's machine is there, whatever was said of its end."""
    known = read_attempt(run_dir)
    if known is not None and known.machine is not None and not is_open(known):
        with suppress(EngineError):
            _write(run_dir, replace(known, machine=replace(known.machine, to_s=None)))


def is_open(attempt: Attempt | None) -> bool:
    """Whether nobody knows of an end of its machine."""
    return attempt is not None and attempt.machine is not None and attempt.machine.to_s is None


def cloud_of(attempt: Attempt | None) -> str | None:
    """Where it was asked for; None: it is not known."""
    return None if attempt is None else attempt.cloud


def asked_for(run_dir: Path) -> MachineTimes | None:
    """Machines that the attempts may have come to, the oldest first; None: of one nobody knows.

    One attempt is over when the next begins. What comes after the end of the latest is not settled: it is opened again
    where a machine of it turns up.
    """
    known = read_attempt(run_dir)
    found: list[MachineTime] = []
    for one in () if known is None else known.all:
        if one.machine is None:
            return None
        if found and found[-1].to_s is None:
            found[-1] = replace(found[-1], to_s=max(found[-1].from_s, one.machine.from_s))
        found.append(one.machine)
    ends_s = found[-1].to_s if found else None
    return MachineTimes(machines=tuple(found), known_to_s=math.inf if ends_s is None else ends_s)


def end_attempt(run_dir: Path) -> None:
    """The latest attempt has come to no machine: SkyPilot knew of none before the teardown and after it.

    Raises:
        EngineError: the file cannot be written.
    """
    known = read_attempt(run_dir)
    if known is not None and known.earlier:
        _write(run_dir, replace(known.earlier[-1], earlier=known.earlier[:-1]))
    else:
        (run_dir / ATTEMPT_FILE).unlink(missing_ok=True)


def read_attempt(run_dir: Path) -> Attempt | None:
    """The latest attempt; None when there was none."""
    try:
        record = json.loads((run_dir / ATTEMPT_FILE).read_text(encoding="utf-8"))
        return replace(_attempt(record), earlier=tuple(map(_attempt, record.get("earlier") or ())))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError):
        # There was an attempt; what it was is lost.
        return Attempt(cloud=None, region=None, provider=None)


def keep_attempts(run_dir: Path, clouds: Collection[str], machines: Sequence[MachineTime], *, at_s: float) -> None:
    """Forget attempts in other clouds: SkyPilot, which had the choice among all of them, had no machine there.

    Args:
        run_dir: of the run.
        clouds: where there may have been one.
        machines: all that there were; an attempt at the place of none of them costs nothing.
        at_s: Unix time at which SkyPilot was asked.

    Raises:
        EngineError: the file cannot be written.
    """
    known = read_attempt(run_dir)
    kept, left = [], list(machines)
    for one in () if known is None else known.all:
        if one.cloud not in clouds:
            continue
        came_to = next((had for had in left if (had.cloud, had.region) == (one.cloud, one.region)), None)
        if came_to is not None:
            left.remove(came_to)
        kept.append(replace(one, machine=came_to or _no_time(one, at_s)))
    if left:
        # A machine at a place that was not written down: what it cost is not known from the attempts.
        kept = [replace(one, machine=None) for one in kept]
    kept.sort(key=lambda one: at_s if one.machine is None else one.machine.from_s)
    if kept:
        _write(run_dir, replace(kept[-1], earlier=tuple(kept[:-1])))
    else:
        (run_dir / ATTEMPT_FILE).unlink(missing_ok=True)


def reserved_here() -> dict[str, str]:
    """For the details of a handle that is reserved on this machine."""
    return {RESERVED_ON: platform.node()}


def came_through(handle: Handle) -> bool:
    """Whether SkyPilot gave the task of this launch a number: from then on its machine is the launch's own."""
    return "job_id" in handle.details


def asked_for_elsewhere(handle: Handle) -> str | None:
    """Name of the other machine that reserved the launch, where no attempt is written down here: there may have been
    one all the same. None: what is written down here is all that there was."""
    machine = handle.details.get(RESERVED_ON)
    if machine in (None, platform.node()) or read_attempt(Path(handle.run_dir)) is not None:
        return None
    return str(machine)


def _no_time(attempt: Attempt, at_s: float) -> MachineTime:
    return MachineTime(
        from_s=at_s,
        to_s=at_s,
        price_usd_per_hour=None,
        cloud=attempt.cloud or "",
        region=attempt.region,
        zone=None,
        instance_type=None,
    )


def _attempt(record: dict[str, Any]) -> Attempt:
    machine = None if record.get("machine") is None else machine_of(record["machine"])
    return Attempt(cloud=record["cloud"], region=record["region"], provider=record["provider"], machine=machine)


def _write(run_dir: Path, attempt: Attempt) -> None:
    path = run_dir / ATTEMPT_FILE
    new = path.with_name(f"{ATTEMPT_FILE}.new")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(attempt), indent=2, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise EngineError(f"{path} cannot be written: {error}", hint="Check the disk's space.") from error
