"""When a managed job is at its end: nothing is being submitted, the job is over, its machine gone.

Owns the order of orders and questions; who asks SkyPilot is `manager.launch.managed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from manager.launch.sky_down import DOWN_TIMEOUT_S
from manager.launch.sky_engine import CANCEL_POLL_S
from manager.launch.sky_worker import SkyPilotError


def end_job(
    cancel: Callable[[], dict[str, Any]], look: Callable[[], dict[str, Any]], *, sleep: Callable[[float], None]
) -> None:
    """Order the end until SkyPilot says that nothing of the job is there, for DOWN_TIMEOUT_S at most.

    Args:
        cancel: the worker's answer to `managed_cancel`.
        look: the worker's answer to `managed_job`, asked now.
        sleep: waits that many seconds.

    Raises:
        SkyPilotError: SkyPilot refused, or kind `Timeout`: something is still there.
    """
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while True:
        # A launch that was cancelled may have made its job before: only where there was none, no job comes any more.
        is_submitted = bool(cancel()["cancelled_requests"])
        answer = look()
        is_over = answer["job"] is None or answer["job"]["is_over"]
        if is_over and answer["cluster"] is None and not is_submitted:
            return
        if time.monotonic() >= deadline:
            raise SkyPilotError("Timeout", _still_there(answer, is_over=is_over, is_submitted=is_submitted))
        sleep(CANCEL_POLL_S)


def _still_there(answer: dict[str, Any], *, is_over: bool, is_submitted: bool) -> str:
    if is_submitted:
        return "the job is still being submitted"
    if answer["cluster"] is None:
        return f"the job is {answer['job']['status']}"
    return f"the job is {'over' if is_over else answer['job']['status']}, its machine is still there"
