"""The latest attempt to launch, in a file of the run's folder: whom to ask for the evidence after the teardown.

Owns `sky-attempt.json`. It is written before SkyPilot is asked to launch, and replaced by the next attempt, so that one
provider never answers for another. A file without the provider's facts means: there may be a machine, and nobody knows
how to ask about it.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from manager.errors import EngineError
from manager.launch.engine import Handle
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
    aws_regions: tuple[str, ...] = ()
    """Of all attempts of the run: AWS is asked in each of them."""


def begin_attempt(run_dir: Path, offer: Offer) -> None:
    """Forget the attempt before this one but for its region, note this one.

    Raises:
        EngineError: the file cannot be written.
    """
    earlier = read_attempt(run_dir)
    regions = () if earlier is None else earlier.aws_regions
    if offer.cloud == "aws" and offer.region is not None:
        regions = tuple(dict.fromkeys([*regions, offer.region]))
    _write(run_dir, Attempt(cloud=offer.cloud, region=offer.region, provider=None, aws_regions=regions))


def keep_provider(run_dir: Path, facts: dict[str, Any]) -> None:
    """Add the provider's facts to the attempt.

    Raises:
        EngineError: the file cannot be written.
    """
    attempt = read_attempt(run_dir) or Attempt(cloud=None, region=None, provider=None)
    _write(run_dir, replace(attempt, provider=facts))


def end_attempt(run_dir: Path) -> None:
    """The attempt has come to no machine: SkyPilot knew of none before the teardown and after it."""
    (run_dir / ATTEMPT_FILE).unlink(missing_ok=True)


def read_attempt(run_dir: Path) -> Attempt | None:
    """The latest attempt; None when there was none."""
    try:
        text = (run_dir / ATTEMPT_FILE).read_text(encoding="utf-8")
        record = json.loads(text)
        return Attempt(
            cloud=record["cloud"],
            region=record["region"],
            provider=record["provider"],
            aws_regions=tuple(map(str, record.get("aws_regions") or ())),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        # There was an attempt; what it was is lost.
        return Attempt(cloud=None, region=None, provider=None)


def reserved_here() -> dict[str, str]:
    """For the details of a handle that is reserved on this machine."""
    return {RESERVED_ON: platform.node()}


def asked_for_elsewhere(handle: Handle) -> str | None:
    """Name of the other machine that reserved the launch, where no attempt is written down here: there may have been
    one all the same. None: what is written down here is all that there was."""
    machine = handle.details.get(RESERVED_ON)
    if machine in (None, platform.node()) or read_attempt(Path(handle.run_dir)) is not None:
        return None
    return str(machine)


def _write(run_dir: Path, attempt: Attempt) -> None:
    path = run_dir / ATTEMPT_FILE
    new = path.with_name(f"{ATTEMPT_FILE}.new")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(attempt), indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise EngineError(f"{path} cannot be written: {error}", hint="Check the disk's space.") from error
