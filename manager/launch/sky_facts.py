"""What is known of a cluster's provider before its teardown, for which a machine does not wait long."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from manager.errors import EngineError
from manager.launch.engine import Handle
from manager.launch.sky_attempt import Attempt, keep_provider
from manager.launch.sky_worker import SkyPilotError, SkyWorker

FACTS_TIMEOUT_S = 45.0
STATES_TIMEOUT_S = 20.0
LAST_EVENTS_TIMEOUT_S = 30.0


def keep_facts(worker: SkyWorker, handle: Handle) -> dict[str, Any] | None:
    """Store how to ask the provider, while SkyPilot knows; SkyPilot's answer, None where there was none."""
    try:
        answer = worker.call("provider", {"cluster": handle.name}, timeout_s=FACTS_TIMEOUT_S)
    except EngineError:
        # Facts for the evidence are worth a question, never a delay of the teardown; without them the evidence is
        # unconfirmed.
        return None
    if answer["provider"] is not None:
        # What a full disk does not take was told all the same.
        with suppress(EngineError):
            keep_provider(Path(handle.run_dir), answer["provider"])
    return answer


def knew_none(attempt: Attempt | None, facts: dict[str, Any] | None, *, existed: bool) -> bool:
    """Whether SkyPilot had no cluster before a teardown and after it, nor ever told of the attempt's provider.

    Args:
        attempt: that was taken down, as it was known before.
        facts: as `keep_facts` told them.
        existed: whether SkyPilot may have had a cluster to take down.
    """
    if facts is None or (attempt is not None and attempt.provider is not None):
        return False
    return facts["provider"] is None and not facts["existed"] and not existed


def states_of(worker: SkyWorker, handle: Handle, facts: dict[str, Any] | None) -> list[str] | None:
    """States of the machines that the provider says are there; None: it could not be asked.

    Args:
        worker: of the run.
        handle: of the run.
        facts: as `keep_facts` told them.
    """
    if facts is None or facts["provider"] is None:
        return None
    args = {"cluster": handle.name, "provider": facts["provider"]}
    try:
        return list(worker.call("states", args, timeout_s=STATES_TIMEOUT_S)["states"])
    except SkyPilotError:
        return None
