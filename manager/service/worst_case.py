"""The most that a launch can cost: with a supervising process at home, and without one. Pure.

Follows the three guards (in the program, on the machine, at home) in the order of docs/guards.md: the end begins so
early that the machine is gone at the cap, and each guard alone keeps it to one interval of the heartbeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.catalog.clouds import has_autodown
from manager.launch.engine import GuardName, LaunchRequest
from manager.planner.storage import NOTHING_BESIDE
from manager.units import SECONDS_PER_HOUR, format_duration, format_usd, usd

_SLURM = "slurm"
"""The timer ends its own job there."""
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstLine:
    """One part of the most that a run can cost."""

    text: str
    """What it is, and why it is no more."""
    usd: Decimal | None
    """None: unknown as a price is, or without a bound, as the text says."""


def total_usd(lines: Sequence[WorstLine]) -> Decimal | None:
    """Their sum; None when one of them is unknown."""
    known = [line.usd for line in lines if line.usd is not None]
    return sum(known, _NOTHING) if len(known) == len(lines) else None


def worst_lines(request: LaunchRequest, cap: Decimal | None) -> tuple[WorstLine, ...]:
    """What the guards let through: the cap or the longest duration, then one interval of the heartbeat.

    Args:
        request: what is launched; its dearest offer counts.
        cap: dollars of the whole run; None: no cap.
    """
    if not request.guards:
        return (WorstLine(text="nothing bounds it: all three guards are OFF, as the environment says", usd=None),)
    beyond_s, rate = request.job.guard.heartbeat_s, _rate(request)
    text = f"beyond that, should only one guard be left: one interval of the heartbeat, {format_duration(beyond_s)}"
    return (*_limit_lines(request, cap), WorstLine(text=text, usd=_over(rate, beyond_s)))


def worst_alone(request: LaunchRequest, engine: str, cap: Decimal | None) -> WorstLine:
    """What the timer on the machine lets through when nobody at home supervises and the program hangs.

    Args:
        request: what is launched; its dearest offer counts.
        engine: `local` or `sky`.
        cap: dollars of the whole run; None: no cap.
    """
    if GuardName.MACHINE not in request.guards:
        return WorstLine(text="nothing bounds it: the timer on the machine is OFF, as the environment says", usd=None)
    bare = sorted({offer.cloud for offer in request.offers if not (engine == "local" or _can_end_itself(offer.cloud))})
    if bare:
        return WorstLine(
            text=f"nothing bounds it: machines of {', '.join(bare)} do not take themselves down, this one has to",
            usd=None,
        )
    beyond_s = request.job.guard.heartbeat_s
    most = total_usd((*_limit_lines(request, cap), WorstLine(text="", usd=_over(_rate(request), beyond_s))))
    ends = "the run" if engine == "local" else "the machine"
    text = f"the dead-man timer ends {ends} at the first of cap and longest duration, whatever goes on"
    if engine != "local":
        text += ". A machine that never gets to its set-up has no timer yet: `tunefare watch` or you end it"
    return WorstLine(text=text, usd=most)


def _limit_lines(request: LaunchRequest, cap: Decimal | None) -> tuple[WorstLine, ...]:
    """The first of cap and longest duration."""
    longest_s, rate, once = request.max_duration_s or 0.0, _rate(request), _once(request)
    whole = _over(rate, longest_s)
    if cap is not None and (whole is None or cap <= whole + once):
        told = "the cap: checkpoint, results home and teardown end before it is reached; disks, addresses and traffic"
        return (WorstLine(text=f"{told} home count against it", usd=cap),)
    told = "an unknown price" if rate is None else f"{format_usd(rate)}/h"
    first = WorstLine(
        text=f"the longest duration, {format_duration(longest_s)} x {told}; its end in good order is part of it",
        usd=whole,
    )
    return (first, WorstLine(text="traffic home", usd=once)) if once else (first,)


def _can_end_itself(cloud: str) -> bool:
    return has_autodown(cloud) or cloud == _SLURM


def _rate(request: LaunchRequest) -> Decimal | None:
    """Dollars per billed hour of machines, disks and addresses on the dearest offer; None: one has no known price."""
    rates = [
        offer.price_usd_per_hour + request.beside.get(offer.key, NOTHING_BESIDE).usd_per_hour
        for offer in request.offers
        if offer.price_usd_per_hour is not None
    ]
    return max(rates) if len(rates) == len(request.offers) else None


def _once(request: LaunchRequest) -> Decimal:
    """Traffic home, of the offer with most of it."""
    return max((request.beside.get(offer.key, NOTHING_BESIDE).usd_once for offer in request.offers), default=_NOTHING)


def _over(rate: Decimal | None, seconds: float) -> Decimal | None:
    return None if rate is None else usd(rate * Decimal(str(seconds)) / SECONDS_PER_HOUR)
