"""The most that a launch can cost: with a supervising process at home, and without one. Pure.

Follows the three guards (in the program, on the machine, at home) as they are built, and adds their patience: an end in
good order takes time that is billed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from manager.catalog.clouds import has_autodown
from manager.launch import local, local_runner, render
from manager.launch.engine import LaunchRequest
from manager.planner.plan import Estimate
from manager.planner.storage import NOTHING_BESIDE
from manager.runs.session import SuperviseSettings
from manager.units import SECONDS_PER_HOUR, format_duration, format_usd, usd

_KILL_AFTER_S = 120.0
"""Of `timeout` in templates/sky/run.sh, between its two signals."""
_HANDS = "teardown"
"""The plan's line for taking a machine down."""
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


def worst_lines(
    request: LaunchRequest, choice: Estimate, settings: SuperviseSettings, cap: Decimal | None
) -> tuple[WorstLine, ...]:
    """What a process at home lets through: the cap or the longest duration, then the time of an end in good order.

    Args:
        request: what is launched; its dearest offer counts.
        choice: the estimate of the first offer.
        settings: patience of the process at home.
        cap: dollars of the whole run; None: no cap.
    """
    longest_s, rate, once = request.max_duration_s or 0.0, _rate(request), _once(request)
    whole = _over(rate, longest_s)
    if cap is not None and (whole is None or cap <= whole + once):
        first = [WorstLine(text="the cap; machines, disks, addresses and traffic home count against it", usd=cap)]
    else:
        told = "an unknown price" if rate is None else f"{format_usd(rate)}/h"
        first = [WorstLine(text=f"the longest duration, {format_duration(longest_s)} x {told}", usd=whole)]
        first += [WorstLine(text="traffic home", usd=once)] if once else []
    grace_s = settings.cancel_grace_s + settings.cancel_margin_s
    fetch_s = settings.fetch_limit_short_s
    hands_s = sum(line.quantity.high for line in choice.lines if line.name == _HANDS) * SECONDS_PER_HOUR
    text = (
        f"its end after that: a checkpoint (up to {format_duration(grace_s)}), results home "
        f"({format_duration(fetch_s)}), teardown ({format_duration(hands_s)})"
    )
    return (*first, WorstLine(text=text, usd=_over(rate, grace_s + fetch_s + hands_s)))


def worst_alone(request: LaunchRequest, engine: str) -> WorstLine:
    """What the nets on the machine let through when nobody at home supervises and the program hangs.

    Args:
        request: what is launched; its dearest offer counts.
        engine: `local` or `sky`.
    """
    longest_s, rate = request.max_duration_s or 0.0, _rate(request)
    if engine == "local":
        seconds = longest_s + local.DURATION_MARGIN_S + local_runner.KILL_AFTER_S
        return WorstLine(
            text=f"the runner beside the program ends it after {format_duration(seconds)}", usd=_over(rate, seconds)
        )
    bare = sorted({offer.cloud for offer in request.offers if not has_autodown(offer.cloud)})
    if bare:
        return WorstLine(
            text=f"nothing bounds it: machines of {', '.join(bare)} do not take themselves down, this one has to",
            usd=None,
        )
    program_s = longest_s + render.DURATION_MARGIN_S + _KILL_AFTER_S
    idle_s = request.idle_minutes_to_autostop * 60.0
    setup_s = min(request.launch_timeout_s, longest_s)
    total = _over(rate, 2 * setup_s + program_s + idle_s)
    text = (
        f"provisioning and set-up (up to {format_duration(setup_s)} each), the program until `timeout` ends it "
        f"({format_duration(program_s)}), idle until the machine takes itself down ({format_duration(idle_s)})"
    )
    return WorstLine(text=text, usd=None if total is None else total + _once(request))


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
