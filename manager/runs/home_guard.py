"""When the process at home has to begin the end of a run so that its machine is gone at the cap. Pure.

From the back: at `down_at_s` the cap in dollars, or the longest duration, is reached. Before it lie the take-down of
the machine, the way home of the results, and the time in which the trainer saves a checkpoint. Where these are more
than `MOST_SHARE` of what the cap buys (a cap of a few minutes), they share that: a cap that is mostly end would buy
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from manager.units import SECONDS_PER_HOUR

TEARDOWN_S = {"local": 4.0}
"""From the order to the last process's end, by engine: SIGTERM, 3 s, SIGKILL."""
OTHER_TEARDOWN_S = 45.0
"""Assumed for clouds: from `sky down` to the provider's answer that the machine ends; `terminate` ends the bill."""
MOST_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTimes:
    """What the end of a run takes, in seconds."""

    teardown_s: float
    fetch_s: float
    """For the results to come home."""
    grace_s: float
    """For the trainer to save a checkpoint."""

    @property
    def total_s(self) -> float:
        """From the first order to the machine's end."""
        return self.teardown_s + self.fetch_s + self.grace_s

    def within(self, allowed_s: float) -> EndTimes:
        """The same where all of the run is bound to so many seconds."""
        most_s = MOST_SHARE * max(0.0, allowed_s)
        if self.total_s <= most_s:
            return self
        teardown_s = min(self.teardown_s, most_s)
        rest_s, wanted_s = most_s - teardown_s, self.fetch_s + self.grace_s
        share = rest_s / wanted_s if wanted_s else 0.0
        return EndTimes(teardown_s=teardown_s, fetch_s=share * self.fetch_s, grace_s=share * self.grace_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeLimit:
    """The first of a run's limits, Unix times in seconds."""

    down_at_s: float
    """The cap is reached: nothing is left by then."""
    is_cap: bool
    """In dollars; else the longest duration."""
    times: EndTimes

    @property
    def end_at_s(self) -> float:
        """The trainer is told to save and stop."""
        return self.down_at_s - self.times.total_s

    @property
    def fetch_at_s(self) -> float:
        """The trainer is waited for no longer."""
        return self.down_at_s - self.times.teardown_s - self.times.fetch_s

    @property
    def leave_at_s(self) -> float:
        """The results are waited for no longer: the machine is taken down."""
        return self.down_at_s - self.times.teardown_s


def home_limit(
    *,
    billing_started_at_s: float,
    cap_usd: Decimal | None,
    usd_per_hour: Decimal | None,
    usd_once: Decimal,
    longest_s: float | None,
    times: EndTimes,
) -> HomeLimit | None:
    """The limit that comes first; None: there is none that can be told.

    Args:
        billing_started_at_s: Unix time.
        cap_usd: dollars for the whole run.
        usd_per_hour: of the machine and what is billed by the hour beside it; None: unknown.
        usd_once: traffic home.
        longest_s: since the start of billing.
        times: what the end takes where there is enough time.
    """
    bought_s = _bought_s(cap_usd, usd_per_hour, usd_once)
    known = [limit_s for limit_s in (bought_s, longest_s) if limit_s is not None]
    if not known:
        return None
    allowed_s = min(known)
    return HomeLimit(
        down_at_s=billing_started_at_s + allowed_s, is_cap=allowed_s == bought_s, times=times.within(allowed_s)
    )


def teardown_s(engine: str) -> float:
    """What a take-down takes on this engine."""
    return TEARDOWN_S.get(engine, OTHER_TEARDOWN_S)


def _bought_s(cap_usd: Decimal | None, usd_per_hour: Decimal | None, usd_once: Decimal) -> float | None:
    if cap_usd is None or not usd_per_hour:
        return None
    return float(max(Decimal(0), cap_usd - usd_once) / usd_per_hour * SECONDS_PER_HOUR)
