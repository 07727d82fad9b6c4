"""Which guards keep the caps of a launch, and what each is told; a drill takes some away, loudly.

`TUNEFARE_WITHOUT_GUARDS=machine,trainer,home` names those that are not at work. It is for tests and drills: each guard
alone has to keep the caps, which is seen only when the others are gone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from manager.errors import UsageError
from manager.launch.engine import GuardName, LaunchRequest
from manager.planner.plan import Estimate
from manager.runs.session import SuperviseSettings, end_times
from manager.service.context import Context
from manager.units import SECONDS_PER_HOUR

WITHOUT_GUARDS = "TUNEFARE_WITHOUT_GUARDS"
_AFTER_TRAINER = frozenset({"fetch", "teardown"})
ROOM_S = 10.0
"""By which the trainer's own end comes before that which the process at home would ask for."""


def guards_at_work(context: Context) -> frozenset[GuardName]:
    """All, less those that the environment takes away.

    Raises:
        UsageError: it names one that there is not.
    """
    names = [name.strip() for name in context.environment.get(WITHOUT_GUARDS, "").split(",") if name.strip()]
    known = {str(guard) for guard in GuardName}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"{WITHOUT_GUARDS} names {', '.join(unknown)}", hint=f"guards are {', '.join(sorted(known))}, with commas"
        )
    return frozenset(guard for guard in GuardName if str(guard) not in names)


def guarded(
    context: Context,
    request: LaunchRequest,
    estimates: Sequence[Estimate],
    *,
    engine: str,
    settings: SuperviseSettings,
) -> LaunchRequest:
    """The launch with its guards: how often the trainer gives a sign of life, when it counts as hung, what is kept of
    the caps for the time after it.

    Args:
        context: settings and environment.
        request: the launch.
        estimates: of its offers; they say how long results may be on their way home.
        engine: that carries it.
        settings: patience of the process at home.

    Raises:
        UsageError: as `guards_at_work`.
    """
    hang_s = 60.0 * float(context.config.number("hang_minutes"))
    guard = dataclasses.replace(
        request.job.guard,
        heartbeat_s=float(context.config.number("heartbeat_s")),
        hang_s=hang_s if hang_s > 0 else None,
    )
    return dataclasses.replace(
        request,
        job=dataclasses.replace(request.job, guard=guard),
        guards=guards_at_work(context),
        wrap_up_s=max(end_times(engine, settings).total_s, *map(_after_trainer_s, estimates)) + ROOM_S,
    )


def _after_trainer_s(estimate: Estimate) -> float:
    """Seconds at the high end, from the plan's own lines."""
    return sum(line.quantity.high * SECONDS_PER_HOUR for line in estimate.lines if line.name in _AFTER_TRAINER)


def missing_guards(request: LaunchRequest) -> str | None:
    """A sentence about guards that are not at work; None: all are."""
    missing = sorted(str(guard) for guard in GuardName if guard not in request.guards)
    if not missing:
        return None
    verb = "guard is" if len(missing) == 1 else "guards are"
    return f"WARNING: {WITHOUT_GUARDS}: the {verb} OFF: {', '.join(missing)}. Nothing else may keep the cap."
