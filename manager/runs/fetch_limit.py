"""How long results may take to come home, and what to say of those that did not.

The plan counts the time of the fetch; a machine that is given less loses weights that were paid for. Beyond the time
that any run has, the cap and the longest duration hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from manager.planner.fixed_phases import FETCH
from manager.planner.plan import Plan
from manager.runs.session import Session
from manager.runs.verdict import EndReason
from manager.units import SECONDS_PER_HOUR, format_duration, format_usd
from tasks.protocol import EVENTS_FILE, MANIFEST_FILE, MODEL_DIR, EventType

_HURRIED = frozenset({EndReason.CAP, EndReason.DURATION, EndReason.INTERRUPTED})
"""Ends that do not wait long for the results: the money is spent, or the user waits."""
_LEAST_S = 5.0
"""For events and log, also where the cap has passed already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimit:
    """When to give a fetch up."""

    least_s: float
    """That the fetch has whatever was spent."""
    most_s: float

    def exceeded(self, session: Session, waited_s: float) -> str | None:
        """Why the fetch is given up after so many seconds; None: it is not."""
        if waited_s >= self.most_s:
            return f"the machine did not hand them over within {format_duration(self.most_s)}"
        over = _over(session) if waited_s >= self.least_s else None
        return None if over is None else f"{over}, and {format_duration(waited_s)} were not enough to hand them over"


def fetch_limit(session: Session, reason: EndReason) -> FetchLimit:
    """The settings' limits; where nobody is in a hurry the high end of what the plan says, if that is longer."""
    settings = session.settings
    if reason is EndReason.STOP_NOW:
        return FetchLimit(least_s=settings.fetch_limit_now_s, most_s=settings.fetch_limit_now_s)
    if reason in _HURRIED:
        longest_s = min(settings.fetch_limit_short_s, _until_limit_s(session))
        return FetchLimit(least_s=longest_s, most_s=longest_s)
    least_s = settings.fetch_limit_s
    return FetchLimit(least_s=least_s, most_s=max(least_s, planned_fetch_s(session.plan)))


def planned_fetch_s(plan: Plan) -> float:
    """High end of the plan's fetch on the offers that could be chosen; 0 where it says nothing."""
    lines = (line for estimate in plan.offers for line in estimate.lines if line.name == FETCH and line.unit == "h")
    return max((line.quantity.high * SECONDS_PER_HOUR for line in lines), default=0.0)


def left_behind(session: Session, *, cut_off: bool) -> str:
    """What did not come home, and where the last checkpoint was."""
    files = [name for name in (EVENTS_FILE, MANIFEST_FILE) if not (session.run_dir / name).is_file()]
    if not (session.run_dir / MODEL_DIR).is_dir():
        files.append(f"{MODEL_DIR}/")
    elif cut_off:
        files.append(f"a part of {MODEL_DIR}/")
    missing = f"missing here: {', '.join(files)}" if files else "all that is known of is here"
    saved = [event for event in session.ledger.events(session.run_id) if event.type is EventType.CHECKPOINT]
    if not saved:
        return f"{missing}; no checkpoint was told of"
    last = saved[-1].data
    return f"{missing}; the last checkpoint, of step {last['step']}, was {last['path']} on the machine"


def _until_limit_s(session: Session) -> float:
    """Seconds until the machine has to be taken down so that the cap is kept; infinite without a limit."""
    limit = session.limit()
    return math.inf if limit is None else max(_LEAST_S, limit.leave_at_s - session.clock())


def _over(session: Session) -> str | None:
    meter, now_s = session.meter, session.clock()
    if meter is None:
        return None
    cost = meter.cost_usd(now_s)
    if session.cap_usd is not None and cost is not None and cost >= session.cap_usd:
        return f"{format_usd(cost)} of {format_usd(session.cap_usd)} are spent"
    longest_s = session.max_duration_s
    if longest_s is not None and now_s - meter.billing_started_at_s >= longest_s:
        return f"the run is longer than {format_duration(longest_s)}"
    return None
