"""Ranking: rentals judged under limits, cheapest job first; estimates are made only for what is looked at.

Within a rental dollars grow with the price and hours are the same, so that its quotes need no judgement of their own:
a market of tens of thousands of prices is ranked by its few thousand rentals.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from manager.planner.estimate import REASON_HOST, REASON_PREEMPTED, REASON_PRICE, Verdict, priced
from manager.planner.judge import REASON_BATCH, REASON_FIT
from manager.planner.limits import (
    REASON_BUDGET,
    REASON_DEADLINE,
    REASON_REGION,
    Wishes,
    beyond_limits,
    cost_at,
    kind_of,
    refused,
)
from manager.planner.machine import REASON_PROGRAM
from manager.planner.plan import Estimate, ReasonCount
from manager.planner.rank import rank_key
from manager.prices.market import UNKNOWN_USD, Quote, Rental
from manager.prices.offer import Offer
from manager.spec.model import Budget, Where

_NEAREST_KINDS = (
    REASON_BUDGET,
    REASON_DEADLINE,
    REASON_FIT,
    REASON_HOST,
    REASON_BATCH,
    REASON_PRICE,
    REASON_PREEMPTED,
    REASON_PROGRAM,
)
"""Nearest to a choice first; what the user does not want comes last."""
_FASTER = 0.99
TIE_USD = 1e-4
"""Dollars within which floats do not decide: a bill's lines are rounded to a millionth each and their hours to a
billionth, which adds up to half of this at some thousand dollars an hour."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rental in some number of nodes that can carry the job."""

    rental: Rental
    num_nodes: int
    verdict: Verdict
    quotes: Sequence[Quote]
    """Allowed ones with a known price within the limits, cheapest first."""
    usd_per_price: float
    """Expected dollars of the job per dollar an hour of one node."""
    side_usd: float
    """Expected dollars besides machines."""

    def usd(self, place: int) -> float:
        """Expected dollars at one of the quotes."""
        return self.quotes[place].usd * self.usd_per_price + self.side_usd

    @property
    def hours(self) -> float:
        """Expected, launch to machine gone."""
        hours = self.verdict.hours
        assert hours is not None
        return hours[1]


class Rejected(NamedTuple):
    """Quotes of a rental that one reason rules out."""

    rental: Rental
    num_nodes: int
    verdict: Verdict | None
    """None where the user does not want it."""
    quote: Quote
    """The cheapest of them."""
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A rental with what was found of it, before limits."""

    rental: Rental
    num_nodes: int
    verdict: Verdict


@dataclass(slots=True, kw_only=True)
class Ranking:
    """What can be chosen and what cannot, under one set of limits."""

    budget: Budget
    on_paper: bool
    """Whether machines count on which the training program does not run yet."""
    candidates: list[Candidate]
    rejected: list[Rejected]
    counts: Counter[str]
    """Rejected offers by kind of reason."""
    offers_total: int
    _made: dict[tuple[int, int], Estimate] = field(default_factory=dict)

    def top(self, number: int) -> list[Estimate]:
        """The cheapest to finish, in order."""
        found: list[Estimate] = []
        last = float("inf")
        for usd, candidate, place in self._by_usd():
            if len(found) >= number and usd > last + TIE_USD:
                break
            estimate = self._estimate(candidate, place)
            # Rounded hours may pass a deadline that floats have just kept to.
            if beyond_limits(self.budget, estimate) is None:
                found.append(estimate)
                last = usd if len(found) <= number else last
        return sorted(found, key=rank_key)[:number]

    def usd_of(self, number: int) -> float:
        """Expected dollars of the last of so many; infinite where there are fewer."""
        last = float("inf")
        for place, (usd, _, _) in enumerate(self._by_usd(), start=1):
            if place == number:
                last = usd
                break
        return last

    def pareto(self) -> list[Estimate]:
        """Offers that none beats in both expected dollars and expected hours, from the cheapest to the fastest.

        A gain of less than a hundredth of the time is none: every estimate errs by more.
        """
        ordered = sorted(
            (candidate.usd(0), candidate.hours, candidate.rental.use_spot, at)
            for at, candidate in enumerate(self.candidates)
        )
        front: list[Estimate] = []
        fastest = float("inf")
        for _, hours, _, at in ordered:
            if hours < fastest * _FASTER:
                fastest = hours
                front.append(self._estimate(self.candidates[at], 0))
        return front

    def nearest_rejected(self, number: int) -> list[Estimate]:
        """Of the rejected those nearest to a choice; at least one of each kind of reason."""
        end = _end(self.budget)
        ordered = sorted(range(len(self.rejected)), key=lambda at: (*_nearness(self.rejected[at], end), at))
        shown: list[Estimate] = []
        kinds: set[str] = set()
        for at in ordered:
            kind = kind_of(self.rejected[at].reason)
            if len(shown) < number or kind not in kinds:
                shown.append(self._rejected_estimate(self.rejected[at]))
            kinds.add(kind)
        return shown

    def reason_counts(self) -> tuple[ReasonCount, ...]:
        """Most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda entry: (-entry[1], entry[0]))
        return tuple(ReasonCount(reason=reason, offers=offers) for reason, offers in ordered)

    def _by_usd(self) -> Iterator[tuple[float, Candidate, int]]:
        """Every quote of every candidate, cheapest job first."""
        heap = [(candidate.usd(0), at, 0) for at, candidate in enumerate(self.candidates)]
        heapq.heapify(heap)
        while heap:
            usd, at, place = heap[0]
            candidate = self.candidates[at]
            if place + 1 < len(candidate.quotes):
                heapq.heapreplace(heap, (candidate.usd(place + 1), at, place + 1))
            else:
                heapq.heappop(heap)
            yield usd, candidate, place

    def _estimate(self, candidate: Candidate, place: int) -> Estimate:
        key = (id(candidate), place)
        known = self._made.get(key)
        if known is None:
            offer = candidate.rental.offer(candidate.quotes[place], candidate.num_nodes)
            known = self._made[key] = estimate_of(candidate.verdict, offer, on_paper=self.on_paper)
        return known

    def _rejected_estimate(self, one: Rejected) -> Estimate:
        offer = one.rental.offer(one.quote, one.num_nodes)
        if one.verdict is None:
            return refused(offer, one.reason)
        estimate = estimate_of(one.verdict, offer, on_paper=self.on_paper)
        return replace(estimate, reason=estimate.reason or beyond_limits(self.budget, estimate) or one.reason)


def estimate_of(verdict: Verdict, offer: Offer, *, on_paper: bool) -> Estimate:
    """The estimate of an offer before limits.

    With `on_paper`, that the training program does not run there yet is told apart and no reason against it.
    """
    estimate = priced(offer, verdict)
    if not on_paper or not verdict.is_on_paper:
        return estimate
    reason = verdict.host_refusal(offer.host_memory_bytes)
    if reason is None and offer.price_usd_per_hour is None:
        reason = f"{REASON_PRICE}: {offer.price_source}"
    return replace(estimate, on_paper=verdict.reason, reason=reason)


def rank(judged: Sequence[Judged], unwanted: Sequence[Rejected], where: Where, budget: Budget) -> Ranking:
    """Put limits on judged rentals.

    Args:
        judged: rentals that the user's wishes leave, regions apart.
        unwanted: the others.
        where: whose regions and `on_paper` hold here.
        budget: cap and deadline.
    """
    wishes = Wishes.of(where)
    ranking = Ranking(
        budget=budget,
        on_paper=where.on_paper,
        candidates=[],
        rejected=list(unwanted),
        counts=Counter(),
        offers_total=0,
    )
    for refusal in unwanted:
        ranking.counts[kind_of(refusal.reason)] += len(refusal.rental.quotes)
    for one in judged:
        quotes: Sequence[Quote] = one.rental.quotes
        if wishes.regions:
            quotes = _in_regions(one, wishes, ranking)
        if quotes:
            _place(one, quotes, ranking)
    return ranking


def _in_regions(one: Judged, wishes: Wishes, ranking: Ranking) -> Sequence[Quote]:
    allowed = [quote for quote in one.rental.quotes if wishes.allows_region(quote.region)]
    if len(allowed) < len(one.rental.quotes):
        first = next(quote for quote in one.rental.quotes if not wishes.allows_region(quote.region))
        ranking.counts[REASON_REGION] += len(one.rental.quotes) - len(allowed)
        reason = f"{REASON_REGION}: {first.region or 'not named'}"
        ranking.rejected.append(Rejected(one.rental, one.num_nodes, None, first, reason))
    return allowed


def _place(one: Judged, quotes: Sequence[Quote], ranking: Ranking) -> None:
    """Sort the quotes of one rental into candidates and rejected ones."""
    verdict, budget = one.verdict, ranking.budget

    def reject(some: Sequence[Quote], reason: str) -> None:
        if some:
            ranking.counts[kind_of(reason)] += len(some)
            ranking.rejected.append(Rejected(one.rental, one.num_nodes, verdict, some[0], reason))

    reason = verdict.reason
    if ranking.on_paper and verdict.is_on_paper:
        reason = None
    reason = reason or verdict.host_refusal(one.rental.host_memory_bytes)
    if reason is not None or verdict.hours is None:
        reject(quotes, reason or "not estimated")
        return
    known = len(quotes)
    if quotes[-1].usd == UNKNOWN_USD:
        known = bisect_left(quotes, UNKNOWN_USD, key=lambda quote: quote.usd)
    reject(quotes[known:], f"{REASON_PRICE}: {one.rental.price_source}")
    if budget.deadline_hours is not None and verdict.hours[_end(budget)] > budget.deadline_hours:
        reject(quotes[:known], REASON_DEADLINE)
        return
    affordable = known if budget.max_usd is None else _affordable(one, quotes[:known], budget, budget.max_usd)
    reject(quotes[affordable:known], REASON_BUDGET)
    if affordable:
        per_price = verdict.billed_hours[1] * one.num_nodes
        ranking.candidates.append(
            Candidate(one.rental, one.num_nodes, verdict, quotes[:affordable], per_price, verdict.side_usd[1])
        )
        ranking.offers_total += affordable


def _affordable(one: Judged, quotes: Sequence[Quote], budget: Budget, cap_usd: Decimal) -> int:
    """How many of the quotes, cheapest first, keep to the cap; near it exact money decides."""
    verdict, end = one.verdict, _end(budget)
    left_usd, hours = float(cap_usd) - verdict.side_usd[end], verdict.billed_hours[end] * one.num_nodes
    if not hours:
        return len(quotes)

    def within(usd: float) -> int:
        return bisect_right(quotes, usd / hours, key=lambda quote: quote.usd)

    surely, perhaps = within(left_usd - TIE_USD), within(left_usd + TIE_USD)
    for count in range(perhaps, surely, -1):
        cost = priced(one.rental.offer(quotes[count - 1], one.num_nodes), verdict).cost_usd
        if cost is not None and cost_at(budget, cost) <= cap_usd:
            return count
    return surely


def _end(budget: Budget) -> int:
    """Which of low, expected and high is compared with limits."""
    return 2 if budget.is_sure else 1


def _nearness(one: Rejected, end: int) -> tuple[int, float, float]:
    kind = kind_of(one.reason)
    place = _NEAREST_KINDS.index(kind) if kind in _NEAREST_KINDS else len(_NEAREST_KINDS)
    verdict = one.verdict
    missing = verdict.judgement.missing_bytes if verdict is not None and kind == REASON_FIT else None
    hours = None if verdict is None else verdict.hours
    usd = float("inf")
    if verdict is not None and hours is not None:
        usd = verdict.billed_hours[end] * one.quote.usd * one.num_nodes + verdict.side_usd[end]
    if kind == REASON_DEADLINE and hours is not None:
        return place, hours[end], usd
    return place, float("inf") if missing is None else missing, usd
