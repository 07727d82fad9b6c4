"""The cheapest offers without judging all machines: what a screen shows while someone types.

Branch and bound: each machine has a bound that its job cannot cost less than, made of the phases that do not depend on
it and of the arithmetic at the card's best rate. Machines are judged in the order of their bounds, until no bound is
below the offers already found. The answer is that of `Ranking.top`; what was not judged is not counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, ref

from manager.planner.build import Planner
from manager.planner.limits import Wishes
from manager.planner.machine import machine_of
from manager.planner.market_index import Seat
from manager.planner.plan import Estimate
from manager.planner.ranking import TIE_USD, Judged, Ranking, rank
from manager.planner.shape import Shape
from manager.planner.variant import StepVariant
from manager.prices.market import UNKNOWN_USD
from manager.spec.model import Budget, Where
from manager.units import SECONDS_PER_HOUR
from manager.workload.work import flops_of

_PASSES = ("forward", "backward")
_AT_ONCE = 64
"""Machines that are judged before limits are put on all of them again."""


def cheapest(planner: Planner, where: Where, budget: Budget, number: int) -> list[Estimate]:
    """So many of the cheapest offers under these wishes and limits, in the order of `Ranking.top`."""
    bounds = _bounds_of(planner)
    waiting = list(_bounded(planner, where, bounds))
    heapq.heapify(waiting)
    judged: list[Judged] = []
    found: Ranking | None = None
    last = float("inf")
    while waiting and waiting[0][0] <= last + TIE_USD:
        for _ in range(min(_AT_ONCE, len(waiting))):
            _, at, nodes = heapq.heappop(waiting)
            seat = planner.index.seats[at]
            judged.append(Judged(seat.rental, nodes, planner.verdict(seat, nodes, on_paper=where.on_paper)))
        found = rank(judged, (), where, budget)
        last = found.usd_of(number)
    return [] if found is None else found.top(number)


def _bounded(planner: Planner, where: Where, bounds: _Bounds) -> Iterator[tuple[float, int, int]]:
    """Bound, place in the index and number of nodes of each machine that is wanted and has a price."""
    wishes = Wishes.of(where)
    for at, seat in enumerate(planner.index.seats):
        quotes = seat.rental.quotes
        if not quotes or quotes[0].usd == UNKNOWN_USD or wishes.refusal(seat.rental) is not None:
            continue
        for nodes in seat.node_counts(where.max_nodes):
            yield quotes[0].usd * nodes * bounds.hours(seat, nodes), at, nodes


def _bounds_of(planner: Planner) -> _Bounds:
    """Those of earlier questions: no limit changes them."""
    known = _KNOWN.get(planner)
    if known is None:
        known = _KNOWN[planner] = _Bounds(ref(planner))
    return known


@dataclass(slots=True)
class _Bounds:
    """Hours below which no machine does the job."""

    _planner: ref[Planner]
    """Weak: they are kept by planner, and must not keep it."""
    _seconds: dict[tuple[Shape, str, bool], float] = field(default_factory=dict)
    _arithmetic: dict[Shape, float] = field(default_factory=dict)
    _fixed: dict[tuple[str, bool], float] = field(default_factory=dict)
    _flops: dict[tuple[int, bool], float] = field(default_factory=dict)

    def hours(self, seat: Seat, num_nodes: int) -> float:
        """Of so many nodes of a rental."""
        rental = seat.rental
        shape = seat.shape if num_nodes == 1 else seat.shape._replace(num_nodes=num_nodes)
        key = (shape, rental.cloud, rental.use_spot)
        seconds = self._seconds.get(key)
        if seconds is None:
            arithmetic_s = self._arithmetic.get(shape)
            if arithmetic_s is None:
                least_s = (self._least_s(place, variant, shape) for place, variant in enumerate(self._variants))
                arithmetic_s = self._arithmetic[shape] = min(least_s)
            factor = self.planner.time_factor(rental.cloud, rental.accelerator)
            seconds = self._seconds[key] = self._fixed_s(rental.cloud, rental.use_spot) + factor * arithmetic_s
        return seconds / SECONDS_PER_HOUR

    def _fixed_s(self, cloud: str, use_spot: bool) -> float:
        known = self._fixed.get((cloud, use_spot))
        if known is None:
            book = self.planner.book
            least_s = (book.least_s(variant.profile, cloud, use_spot=use_spot) for variant in self._variants)
            known = self._fixed[cloud, use_spot] = min(least_s)
        return known

    @property
    def planner(self) -> Planner:
        """Whose machines these are."""
        planner = self._planner()
        assert planner is not None, "who asks for bounds holds the planner"
        return planner

    @property
    def _variants(self) -> tuple[StepVariant, ...]:
        return self.planner.variants

    def _least_s(self, place: int, variant: StepVariant, shape: Shape) -> float:
        """Seconds of the training arithmetic of one variant at the best rate, without padding."""
        machine = machine_of(variant.profile, shape, self.planner.card(shape), self.planner.assumptions)
        if isinstance(machine, str):
            return 0.0
        flops = self._flops.get((place, machine.is_cpu))
        if flops is None:
            flops = self._flops[place, machine.is_cpu] = _least_flops(variant, is_cpu=machine.is_cpu)
        return flops / (machine.replicas * max(machine.speed.rates.values()))


def _least_flops(variant: StepVariant, *, is_cpu: bool) -> float:
    """Of all training samples, what a pass costs once apart; of the mean length, which long samples exceed."""
    profile, traces = variant.profile, variant.traces
    trace, rank_ = traces.timed(is_cpu=is_cpu), traces.rank or 0
    length = profile.step_length or profile.data.mean_tokens
    two, one = (flops_of(trace, _PASSES, batch=batch, length=length, rank=rank_) for batch in (2.0, 1.0))
    return max(0.0, two - one) * profile.samples_seen


_KNOWN: WeakKeyDictionary[Planner, _Bounds] = WeakKeyDictionary()
