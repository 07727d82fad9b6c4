"""The end of a cluster through SkyPilot: tried again, and past SkyPilot in between where its provider can be asked."""

from __future__ import annotations

from collections.abc import Callable

from manager.errors import EngineError
from manager.launch.engine import Handle
from manager.launch.sky_worker import SkyPilotError, SkyWorker

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
