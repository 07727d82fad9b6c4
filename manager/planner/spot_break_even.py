"""Where spot stops paying for one offer: against the same machine on demand, by preemptions and by price.

Compared are expected dollars to the finished job: machines and what is billed by the hour besides them (disks,
addresses), for the hours that each of the two is billed; what is paid once is the same on both. Checkpoints are chosen
anew at each rate of preemptions, as for estimates. An on-demand price that is not known is not made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from manager.planner.build import Planner
from manager.planner.estimate import Verdict, priced
from manager.planner.limits import Wishes
from manager.planner.market_index import Seat
from manager.planner.phases import checkpoint_steps
from manager.planner.plan import Estimate
from manager.planner.preemption import Preemption, break_even_price_share, break_even_rate
from manager.planner.spot import EXPECTED, SpotRun
from manager.planner.variant import StepVariant
from manager.prices.market import Rental
from manager.prices.offer import Offer
from manager.spec.model import Where
from manager.units import SECONDS_PER_HOUR, Interval, MoneyInterval, usd


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """The offer that spot is compared with: the same machine, as many of it."""

    key: str
    region: str | None
    is_same_region: bool
    """False: the spot offer's region has no known on-demand price; this is the cheapest that `where` allows."""
    price_usd_per_hour: Decimal
    """All nodes together."""
    cost_usd: MoneyInterval | None
    """To the finished job."""
    hours: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotBreakEven:
    """Spot against on demand; None where a price that is needed is unknown."""

    preemptions_per_hour: Interval
    """Assumed, of one machine."""
    on_demand: OnDemand | None = None
    """None: no on-demand price of this machine is known."""
    even_preemptions_per_hour: float | None = None
    """Of one machine, at which both are expected to cost the same; None too where spot is dearer without any."""
    is_dearer_without_preemptions: bool | None = None
    price_share: float | None = None
    """Spot price by on-demand price."""
    even_price_share: float | None = None
    """The same at which both are expected to cost the same at the assumed rate; negative: not even free machines
    would do."""
    even_price_usd_per_hour: Decimal | None = None
    """That share as a price of all nodes together."""


def spot_break_even(planner: Planner, estimate: Estimate, where: Where) -> SpotBreakEven | None:
    """Where this spot offer stops paying; None for offers on demand, and where the job does not run.

    Args:
        planner: that the estimate comes from.
        estimate: of the offer; it may have been rejected.
        where: whose regions count, where the offer's own has no on-demand price.
    """
    offer = estimate.offer
    seat = next(_seats(planner, offer, use_spot=True), None) if offer.use_spot else None
    verdict = None if seat is None else planner.verdict(seat, offer.num_nodes)
    if verdict is None or verdict.judgement.seconds is None:
        return None
    run = verdict.book.spot_run(verdict.judgement, cloud=verdict.cloud, calibration=verdict.calibration)
    low, expected, high = run.rate_per_hour
    assumed = Interval(low=low, expected=expected, high=high)
    other = _on_demand(planner, offer, where)
    if other is None:
        return SpotBreakEven(preemptions_per_hour=assumed)
    pair, told = _Pair.of(verdict, run, other), _told(other.estimate, offer)
    spot_usd, even_usd = offer.price_usd_per_hour, pair.even_usd_per_hour()
    rate = None if spot_usd is None else pair.even_rate(float(spot_usd))
    return SpotBreakEven(
        preemptions_per_hour=assumed,
        on_demand=told,
        even_preemptions_per_hour=rate,
        is_dearer_without_preemptions=None if spot_usd is None else rate is None,
        price_share=None if spot_usd is None else float(spot_usd / told.price_usd_per_hour),
        even_price_share=even_usd / float(told.price_usd_per_hour),
        even_price_usd_per_hour=usd(even_usd),
    )


class _Other(NamedTuple):
    """The same machine on demand."""

    estimate: Estimate
    price_usd_per_hour: Decimal
    billed_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Both runs, expected figures only."""

    run: SpotRun
    variant: StepVariant
    on_demand_s: float
    """Billed."""
    on_demand_usd_per_hour: float
    """All nodes together, as each price here."""
    besides_usd_per_hour: float
    """Disks and addresses, the same for both."""

    @staticmethod
    def of(spot: Verdict, run: SpotRun, other: _Other) -> _Pair:
        variant = spot.judgement.variant
        return _Pair(
            run=run,
            variant=variant,
            on_demand_s=other.billed_hours * SECONDS_PER_HOUR,
            on_demand_usd_per_hour=float(other.price_usd_per_hour),
            besides_usd_per_hour=spot.book.extra_rates(variant, spot.cloud, run.nodes).usd_per_hour.expected,
        )

    def even_rate(self, spot_usd_per_hour: float) -> float | None:
        """Preemptions of one machine in an hour; None: spot is dearer without any."""
        on_demand_usd = self.on_demand_usd_per_hour + self.besides_usd_per_hour
        rate = break_even_rate(
            self.run.work_s[EXPECTED],
            self.run.preemption(EXPECTED),
            price_share=(spot_usd_per_hour + self.besides_usd_per_hour) / on_demand_usd,
            on_demand_s=self.on_demand_s,
            before_s=self.run.before_s[EXPECTED],
            after_s=self.run.after_s[EXPECTED],
            moved_s=self.run.moved_s[EXPECTED],
            intervals=self._interval_s,
        )
        return None if rate is None else rate / self.run.nodes

    def even_usd_per_hour(self) -> float:
        """The spot price at which both cost the same at the assumed rate."""
        share = break_even_price_share(
            self.run.work_s[EXPECTED],
            self.run.preemption(EXPECTED),
            on_demand_s=self.on_demand_s,
            before_s=self.run.before_s[EXPECTED],
            after_s=self.run.after_s[EXPECTED],
            moved_s=self.run.moved_s[EXPECTED],
            intervals=self._interval_s,
        )
        return share * (self.on_demand_usd_per_hour + self.besides_usd_per_hour) - self.besides_usd_per_hour

    def _interval_s(self, preemption: Preemption) -> float:
        work_s = self.run.work_s[EXPECTED]
        return checkpoint_steps(self.variant, work_s, preemption) * work_s / self.variant.profile.steps


def _told(other: Estimate, offer: Offer) -> OnDemand:
    price = other.offer.price_usd_per_hour
    assert price is not None
    return OnDemand(
        key=other.offer.key,
        region=other.offer.region,
        is_same_region=other.offer.region == offer.region,
        price_usd_per_hour=price,
        cost_usd=other.cost_usd,
        hours=other.hours,
    )


def _on_demand(planner: Planner, offer: Offer, where: Where) -> _Other | None:
    """The cheapest in the region of the spot offer, else in the regions that may be taken."""
    wishes = Wishes.of(where)
    found = [
        (quote.region != offer.region, quote.usd, seat, quote)
        for seat in _seats(planner, offer, use_spot=False)
        for quote in seat.rental.quotes
        if quote.price and (quote.region == offer.region or wishes.allows_region(quote.region))
    ]
    if not found:
        return None
    _, _, seat, quote = min(found, key=lambda one: one[:2])
    verdict = planner.verdict(seat, offer.num_nodes)
    estimate = priced(seat.rental.offer(quote, offer.num_nodes), verdict)
    price, hours = estimate.offer.price_usd_per_hour, verdict.billed_hours[EXPECTED]
    return _Other(estimate, price, hours) if price and hours else None


def _seats(planner: Planner, offer: Offer, *, use_spot: bool) -> Iterator[Seat]:
    """The machine of an offer on one of the two markets."""
    machine = _machine(offer)
    for seat in planner.index.seats:
        if seat.rental.use_spot == use_spot and _machine(seat.rental) == machine:
            yield seat


def _machine(one: Rental | Offer) -> tuple[object, ...]:
    """All that tells machines apart, where they lie and what they cost left out."""
    return (
        one.cloud,
        one.instance_type,
        one.accelerator,
        one.accelerator_count,
        one.accelerator_memory_bytes,
        one.vcpus,
        one.host_memory_bytes,
    )
