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
from typing import NamedTuple

from manager.planner.estimate import REASON_HOST, REASON_PRICE, Verdict, priced
from manager.planner.judge import REASON_BATCH, REASON_FIT
from manager.planner.limits import (
    EVEN,
    REASON_BUDGET,
    REASON_DEADLINE,
    REASON_REGION,
    Wishes,
    beyond_limits,
    refused,
)
from manager.planner.plan import Estimate, ReasonCount
from manager.planner.rank import rank_key
from manager.prices.market import UNKNOWN_USD, Quote, Rental
from manager.prices.offer import Offer
from manager.spec.model import Budget, Where

_NEAREST_KINDS = (REASON_BUDGET, REASON_DEADLINE, REASON_FIT, REASON_HOST, REASON_BATCH, REASON_PRICE)
_FASTER = 0.99
_TIE_USD = 1e-5
"""Dollars within which the order of floats is not trusted: lines are rounded to a millionth each."""


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
            if len(found) >= number and usd > last + _TIE_USD:
                break
            estimate = self._estimate(candidate, place)
            # Exact money may pass a cap that floats have just kept to.
            if beyond_limits(self.budget, estimate) is None:
                found.append(estimate)
                last = usd if len(found) <= number else last
        return sorted(found, key=rank_key)[:number]

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
        ordered = sorted(range(len(self.rejected)), key=lambda at: (*_nearness(self.rejected[at]), at))
        shown: list[Estimate] = []
        kinds: set[str] = set()
        for at in ordered:
            kind = kind_of(self.rejected[at].reason)
            if len(shown) < number or kind not in kinds:
                shown.append(_rejected_estimate(self.rejected[at], self.budget))
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
            known = self._made[key] = estimate_of(
                candidate.verdict, candidate.rental.offer(candidate.quotes[place], candidate.num_nodes)
            )
        return known


def estimate_of(verdict: Verdict, offer: Offer) -> Estimate:
    """The estimate of an offer that may be chosen: where the training program does not run yet it is on paper."""
    estimate = priced(offer, verdict)
    if verdict.is_on_paper:
        return replace(estimate, on_paper=estimate.reason, reason=None)
    return estimate


def rank(judged: Sequence[Judged], unwanted: Sequence[Rejected], where: Where, budget: Budget) -> Ranking:
    """Put limits on judged rentals.

    Args:
        judged: rentals that the user's wishes leave, regions apart.
        unwanted: the others.
        where: whose regions and `on_paper` hold here.
        budget: cap and deadline.
    """
    wishes = Wishes.of(where)
    ranking = Ranking(budget=budget, candidates=[], rejected=list(unwanted), counts=Counter(), offers_total=0)
    for refusal in unwanted:
        ranking.counts[kind_of(refusal.reason)] += len(refusal.rental.quotes)
    for one in judged:
        quotes: Sequence[Quote] = one.rental.quotes
        if wishes.regions:
            quotes = _in_regions(one, wishes, ranking)
        if quotes:
            _place(one, quotes, where, budget, ranking)
    return ranking


def _in_regions(one: Judged, wishes: Wishes, ranking: Ranking) -> Sequence[Quote]:
    allowed = [quote for quote in one.rental.quotes if wishes.allows_region(quote.region)]
    if len(allowed) < len(one.rental.quotes):
        first = next(quote for quote in one.rental.quotes if not wishes.allows_region(quote.region))
        ranking.counts[REASON_REGION] += len(one.rental.quotes) - len(allowed)
        reason = f"{REASON_REGION}: {first.region or 'not named'}"
        ranking.rejected.append(Rejected(one.rental, one.num_nodes, None, first, reason))
    return allowed


def _place(one: Judged, quotes: Sequence[Quote], where: Where, budget: Budget, ranking: Ranking) -> None:
    """Sort the quotes of one rental into candidates and rejected ones."""
    verdict = one.verdict

    def reject(some: Sequence[Quote], reason: str) -> None:
        if some:
            ranking.counts[kind_of(reason)] += len(some)
            ranking.rejected.append(Rejected(one.rental, one.num_nodes, verdict, some[0], reason))

    reason = verdict.reason
    if reason is not None and where.on_paper and verdict.is_on_paper:
        reason = None
    reason = reason or verdict.host_refusal(one.rental.host_memory_bytes)
    if reason is not None or verdict.hours is None:
        reject(quotes, reason or "not estimated")
        return
    known = len(quotes)
    if quotes[-1].usd == UNKNOWN_USD:
        known = bisect_left(quotes, UNKNOWN_USD, key=lambda quote: quote.usd)
    reject(quotes[known:], f"{REASON_PRICE}: {one.rental.price_source}")
    end = 2 if budget.confidence > EVEN else 1
    affordable = known
    if budget.max_usd is not None:
        left, hours = float(budget.max_usd) + _TIE_USD - verdict.side_usd[end], verdict.billed_hours[end]
        dearest = left / (hours * one.num_nodes) if hours else UNKNOWN_USD
        affordable = bisect_right(quotes, dearest, hi=known, key=lambda quote: quote.usd)
    reject(quotes[affordable:known], REASON_BUDGET)
    if budget.deadline_hours is not None and verdict.hours[end] > budget.deadline_hours:
        reject(quotes[:affordable], REASON_DEADLINE)
    elif affordable:
        per_price = verdict.billed_hours[1] * one.num_nodes
        ranking.candidates.append(
            Candidate(one.rental, one.num_nodes, verdict, quotes[:affordable], per_price, verdict.side_usd[1])
        )
        ranking.offers_total += affordable


def kind_of(reason: str) -> str:
    """The reason without its figures, so that equal ones can be counted."""
    return reason.split(":", 1)[0]


def _nearness(one: Rejected) -> tuple[int, float, float]:
    kind = kind_of(one.reason)
    place = _NEAREST_KINDS.index(kind) if kind in _NEAREST_KINDS else len(_NEAREST_KINDS)
    verdict = one.verdict
    missing = verdict.judgement.missing_bytes if verdict is not None and kind == REASON_FIT else None
    hours = None if verdict is None else verdict.hours
    usd = float("inf")
    if verdict is not None and hours is not None:
        usd = verdict.billed_hours[1] * one.quote.usd * one.num_nodes + verdict.side_usd[1]
    if kind == REASON_DEADLINE and hours is not None:
        return place, hours[1], usd
    return place, float("inf") if missing is None else missing, usd


def _rejected_estimate(one: Rejected, budget: Budget) -> Estimate:
    offer = one.rental.offer(one.quote, one.num_nodes)
    if one.verdict is None:
        return refused(offer, one.reason)
    estimate = priced(offer, one.verdict)
    return replace(estimate, reason=estimate.reason or beyond_limits(budget, estimate) or one.reason)
