"""The end of a cluster through SkyPilot: tried again, and past SkyPilot in between where its provider can be asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from manager.errors import EngineError
from manager.launch.aws_end import maybe_on_aws
from manager.launch.engine import Handle
from manager.launch.inventory import AskedInventory
from manager.launch.sky_attempt import Attempt
from manager.launch.sky_worker import SkyPilotError, SkyWorker
from tasks.protocol import EVENTS_FILE

DOWN_TIMEOUT_S = 420.0
FIRST_DOWN_TIMEOUT_S = 150.0
"""Before the provider's own API is tried."""
DOWN_ATTEMPTS = 3


def take_down(
    worker: SkyWorker,
    handle: Handle,
    *,
    sleep: Callable[[float], None],
    end_at_provider: Callable[[], object],
    is_reached: bool,
) -> bool:
    """Whether SkyPilot may have had a cluster to take down.

    Args:
        worker: of the run.
        handle: of the run.
        sleep: waits that many seconds.
        end_at_provider: asks the provider itself for the end, after an attempt that failed.
        is_reached: whether it can be asked: then a SkyPilot that hangs does not keep the machine alive for long.

    Raises:
        EngineError: after DOWN_ATTEMPTS attempts SkyPilot had not taken it down.
    """
    for attempt in range(1, DOWN_ATTEMPTS + 1):
        timeout_s = FIRST_DOWN_TIMEOUT_S if is_reached and attempt == 1 else DOWN_TIMEOUT_S
        try:
            answer = worker.call("down", {"cluster": handle.name}, timeout_s=timeout_s)
            return attempt > 1 or answer.get("existed") is not False
        except SkyPilotError as error:
            if attempt == DOWN_ATTEMPTS:
                raise EngineError(
                    f"cluster {handle.name} could not be taken down: {error.message}",
                    hint=f"Run `sky down {handle.name}`, and look at the provider's own console.",
                ) from error
            end_at_provider()
            sleep(2.0**attempt)
    raise AssertionError("the last attempt returns or raises")


def is_told_of(aws: AskedInventory, handle: Handle, attempt: Attempt | None) -> bool:
    """Whether anything but SkyPilot tells of a machine of the run: its events, or AWS."""
    has_events = (Path(handle.run_dir) / EVENTS_FILE).is_file()
    return has_events or maybe_on_aws(aws, handle.details["run_id"], attempt)
