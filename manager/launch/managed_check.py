"""Whether SkyPilot can replace preempted machines without renting one for that, and what to write where it cannot.

The controller of managed jobs runs in the API server (SkyPilot's consolidation mode) or on a machine of its own, which
is billed all the time. The API server decides it when it starts, by its own configuration: whoever launches cannot.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manager.errors import how_to_install
from manager.launch.sky_worker import SkyPilotError, SkyWorker

CHECK_TIMEOUT_S = 60.0
WRITE = "jobs: {controller: {consolidation_mode: true}}"
"""What belongs into ~/.sky/config.yaml."""
_RESTART = "`sky api stop` ends the API server when no SkyPilot work is under way; the next launch starts it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedCheck:
    """Whether a preempted machine would be replaced."""

    can: bool | None
    """None: nobody knows."""
    text: str
    """In one sentence."""
    hint: str | None
    """What to do where it cannot."""


def check_managed(*, worker: SkyWorker | None = None, timeout_s: float = CHECK_TIMEOUT_S) -> ManagedCheck:
    """Ask SkyPilot, at most `timeout_s` long; never raises and starts no API server."""
    if importlib.util.find_spec("sky") is None:
        return ManagedCheck(can=False, text="SkyPilot is not installed", hint=how_to_install("sky"))
    asked = worker or SkyWorker()
    try:
        answer = asked.call("managed_mode", {}, timeout_s=timeout_s)
    except SkyPilotError as error:
        return ManagedCheck(can=None, text=error.message, hint=None)
    finally:
        asked.close()
    return managed_of(answer)


def managed_of(answer: Mapping[str, Any]) -> ManagedCheck:
    """What the worker's answer to `managed_mode` amounts to."""
    if not answer["api_server_is_local"]:
        return ManagedCheck(
            can=False,
            text="the API server is on another machine: a preemption ends a spot run",
            hint="unset `api_server` to launch spot runs that are to go on",
        )
    if answer["is_consolidated"] or (answer["is_configured"] and not answer["is_running"]):
        return ManagedCheck(can=True, text="SkyPilot replaces preempted machines of runs with a bucket", hint=None)
    if answer["is_configured"]:
        return ManagedCheck(
            can=False, text="the API server began before ~/.sky/config.yaml asked for consolidation mode", hint=_RESTART
        )
    return ManagedCheck(
        can=False,
        text="SkyPilot would rent a machine for the controller of managed jobs: a preemption ends a spot run",
        hint=f"write `{WRITE}` into ~/.sky/config.yaml; {_RESTART}",
    )
