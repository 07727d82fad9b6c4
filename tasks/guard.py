"""Keeps the caps on dollars and duration from inside the trainer: projects, warns once, and says when to stop.

The clock that counts is the bill: from `billing_started_s`, boot and set-up included. This is one of three guards; the
dead-man timer on the machine and the monitor at home do not rely on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tasks.job import GuardChoice

_SECONDS_PER_HOUR = 3600.0
_MARGIN_S = 2.0
"""Process exit and the last events."""


class Guard:
    """The caps of one run as one limit in billed seconds."""

    def __init__(self, choice: GuardChoice, *, clock: Callable[[], float] = time.time) -> None:
        """Start counting at billing_started_s, or now when that is unknown; `clock` is Unix time in seconds."""
        self._clock = clock
        self._price_usd_per_hour = choice.price_usd_per_hour
        self._started_s = clock() if choice.billing_started_s is None else choice.billing_started_s
        limits = [] if choice.max_duration_s is None else [choice.max_duration_s]
        if choice.max_usd is not None and choice.price_usd_per_hour:
            limits.append(choice.max_usd / choice.price_usd_per_hour * _SECONDS_PER_HOUR)
        self.limit_s = min(limits) if limits else None
        """Billed seconds at which the first cap is reached; None: no cap (or one in dollars without a price)."""
        self.reserve_s = 0.0
        """Time that must be left for what comes after training: checkpoint, evaluation, saving; set by the loop."""
        self._warned = False

    def billed_s(self) -> float:
        """Seconds on the bill so far."""
        return self._clock() - self._started_s

    def cost_usd(self, billed_s: float) -> float | None:
        """What this many billed seconds cost; None when the price is unknown."""
        price = self._price_usd_per_hour
        return None if price is None else billed_s / _SECONDS_PER_HOUR * price

    def left_s(self) -> float:
        """Seconds until the first cap; infinite without one."""
        return float("inf") if self.limit_s is None else self.limit_s - self.billed_s()

    def must_stop(self, next_s: float = 0.0) -> bool:
        """Whether another `next_s` seconds of work would leave less than the reserve."""
        return self.left_s() - next_s - self.reserve_s <= _MARGIN_S

    def is_spent(self) -> bool:
        """Whether nothing at all is left, not even for an evaluation."""
        return self.left_s() <= _MARGIN_S

    def projection(self, remaining_s: float) -> str | None:
        """A warning when the run is on its way to a cap; given once, None afterwards and while all is well.

        Args:
            remaining_s: expected seconds of training that are still ahead, reserve not included.
        """
        if self._warned or self.limit_s is None:
            return None
        final_s = self.billed_s() + remaining_s + self.reserve_s
        if final_s <= self.limit_s:
            return None
        self._warned = True
        return (
            f"The run is projected to need {self._told(final_s)} where its caps leave {self._told(self.limit_s)} "
            f"to the training program; it will stop there with a checkpoint."
        )

    def _told(self, billed_s: float) -> str:
        cost = self.cost_usd(billed_s)
        return f"{billed_s:.0f} s" if cost is None else f"{billed_s:.0f} s (${cost:.4f})"
