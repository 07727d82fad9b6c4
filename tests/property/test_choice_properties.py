"""What must hold for every market: more choice is never dearer, tighter limits never cheaper, unknown never wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manager.planner.assumptions import Assumptions, shipped_assumptions
from manager.planner.build import plan_of
from manager.planner.plan import Estimate, Plan
from manager.planner.variant import StepVariant
from manager.prices.offer import Offer
from manager.spec.model import Budget, Where
from manager.units import Interval
from tests.support.market_factory import brute_force, planner_of, random_offers, variant_of
from tests.support.plan_factory import make_spec

PATIENT = settings(deadline=None)
"""The first plan of a job judges machines that later ones find judged."""
JOBS = ("small", "large", "adapter")
CLOUDS = ("aws", "gcp", "azure", "runpod", "local")
SEEDS = st.integers(0, 10_000)
CAPS = st.none() | st.decimals("0.02", "30", places=2)
DEADLINES = st.none() | st.floats(0.1, 20)


@lru_cache(maxsize=16)
def variants(job: str) -> tuple[StepVariant, ...]:
    """Ways to train a job; the same objects each time, since planners remember what they made of them."""
    if job == "small":
        return (variant_of(make_spec()),)
    if job == "large":
        specs = [make_spec(precision=name) for name in ("bf16-mixed", "fp16-mixed", "fp32")]
        return tuple(variant_of(spec, "tinyllama") for spec in specs)
    both = [make_spec(method="lora", precision="bf16", checkpointing=is_on) for is_on in (False, True)]
    return tuple(variant_of(spec, "mistral", tokens=1024) for spec in both)


WHERES = st.builds(
    Where,
    spot=st.booleans(),
    on_paper=st.booleans(),
    max_nodes=st.sampled_from([1, 1, 2, 3]),
    clouds=st.sets(st.sampled_from(CLOUDS)).map(lambda names: tuple(sorted(names))),
    regions=st.sampled_from([(), ("us-east-1",), ("us-east-1", "asia-1")]),
    accelerators=st.sampled_from([(), ("L4", "A100", "cpu"), ("L4:1", "H100:8", "T4")]),
)
BUDGETS = st.builds(Budget, max_usd=CAPS, deadline_hours=DEADLINES, confidence=st.sampled_from([0.5, 0.9]))


def best(
    job: str, offers: Sequence[Offer], where: Where, budget: Budget, assumptions: Assumptions | None = None
) -> Estimate | None:
    """The choice."""
    found = planner_of(offers, *variants(job), assumptions=assumptions).rank(where, budget).top(1)
    return found[0] if found else None


def dollars(estimate: Estimate | None) -> Decimal:
    """Infinite where nothing can be chosen."""
    if estimate is None:
        return Decimal("Infinity")
    assert estimate.cost_usd is not None
    return estimate.cost_usd.expected


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS, more=SEEDS, where=WHERES, budget=BUDGETS)
def test_another_offer_never_makes_the_choice_dearer(
    job: str, seed: int, more: int, where: Where, budget: Budget
) -> None:
    offers = random_offers(seed, 12)
    added = random_offers(more, 1)[-1]
    assert dollars(best(job, [*offers, added], where, budget)) <= dollars(best(job, offers, where, budget))


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS, where=WHERES, budget=BUDGETS, data=st.data())
def test_tighter_limits_never_make_the_choice_cheaper(
    job: str, seed: int, where: Where, budget: Budget, data: st.DataObject
) -> None:
    offers = random_offers(seed, 25)
    cap, hours = budget.max_usd, budget.deadline_hours
    tighter = [
        (where, replace(budget, max_usd=data.draw(st.decimals("0.01", cap or 30, places=2)))),
        (where, replace(budget, deadline_hours=data.draw(st.floats(0.05, hours or 20)))),
        (where, replace(budget, confidence=0.9)),
        (replace(where, spot=False), budget),
        (replace(where, on_paper=False), budget),
        (replace(where, max_nodes=1), budget),
        (replace(where, clouds=data.draw(st.sampled_from([(name,) for name in where.clouds or CLOUDS]))), budget),
        (replace(where, regions=(where.regions or ("eu-west-1",))[:1]), budget),
        (replace(where, accelerators=(where.accelerators or ("A10G",))[:1]), budget),
    ]
    free = dollars(best(job, offers, where, budget))
    for narrow, strict in tighter:
        assert dollars(best(job, offers, narrow, strict)) >= free


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS, where=WHERES, budget=BUDGETS, cap=st.decimals("0.01", "30", places=2))
def test_a_tighter_cap_leaves_the_choice_or_none(
    job: str, seed: int, where: Where, budget: Budget, cap: Decimal
) -> None:
    assume(budget.max_usd is None or cap <= budget.max_usd)
    offers = random_offers(seed, 20)
    free, strict = best(job, offers, where, budget), best(job, offers, where, replace(budget, max_usd=cap))
    assert strict is None or budget.confidence == 0.9 or strict == free
    # At the high ends another offer may keep the cap; it is never the cheaper one.
    assert dollars(strict) >= dollars(free)


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS, where=WHERES, budget=BUDGETS, kept=st.integers(1, 30))
def test_bills_add_up_and_limits_are_kept(job: str, seed: int, where: Where, budget: Budget, kept: int) -> None:
    plan = made(job, seed, where, budget, kept)
    end = "high" if budget.confidence == 0.9 else "expected"
    for estimate in plan.offers:
        assert estimate.offer.price_usd_per_hour is not None
        assert estimate.cost_usd is not None
        assert estimate.hours is not None
        assert budget.max_usd is None or getattr(estimate.cost_usd, end) <= budget.max_usd
        assert budget.deadline_hours is None or getattr(estimate.hours, end) <= budget.deadline_hours
        assert (estimate.on_paper is None) or where.on_paper
    for estimate in (*plan.offers, *plan.rejected, *plan.pareto):
        cost = estimate.cost_usd
        if cost is not None:
            for name in ("low", "expected", "high"):
                assert sum(getattr(line.total_usd, name) for line in estimate.lines) == getattr(cost, name)
            assert cost.low <= cost.expected <= cost.high
    assert plan.offers_total is not None
    assert len(plan.offers) == min(kept, plan.offers_total)
    assert plan.rejected_total == sum(count.offers for count in plan.reasons)
    shown = {(estimate.reason or "").split(":")[0] for estimate in plan.rejected}
    assert shown == {count.reason for count in plan.reasons}


def made(job: str, seed: int, where: Where, budget: Budget, kept: int) -> Plan:
    """A plan that keeps so many offers."""
    spec = replace(make_spec(), where=where, budget=budget)
    planner = planner_of(random_offers(seed, 30), *variants(job))
    return plan_of(planner, spec, created_at_s=0.0, notes=(), kept_offers=kept, kept_rejected=kept)


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS, where=WHERES, budget=BUDGETS)
def test_the_ranking_is_that_of_every_offer_priced_alone(job: str, seed: int, where: Where, budget: Budget) -> None:
    offers = random_offers(seed, 15)
    ranking = planner_of(offers, *variants(job)).rank(where, budget)
    answers = brute_force(offers, variants(job), where, budget)
    found = ranking.top(100)
    assert [(one.offer, one.cost_usd, one.hours) for one in found] == [
        (one.offer, one.cost_usd, one.hours) for one in answers.chosen
    ]
    assert ranking.counts == answers.reasons


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS, where=WHERES, at=st.integers(0, 11))
def test_an_unknown_price_never_wins(job: str, seed: int, where: Where, at: int) -> None:
    offers = random_offers(seed, 12)
    before = best(job, offers, where, Budget())
    unknown = replace(offers[at], price_usd_per_hour=None)
    assert best(job, [*offers, unknown], where, Budget()) == before
    rest = [*offers[:at], unknown, *offers[at + 1 :]]
    assert dollars(best(job, rest, where, Budget())) >= dollars(before)


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS, more=st.floats(1, 30), cloud=st.sampled_from(CLOUDS))
def test_more_preemptions_never_make_spot_cheaper(job: str, seed: int, more: float, cloud: str) -> None:
    offers = [offer for offer in random_offers(seed, 40) if offer.use_spot and offer.cloud == cloud]
    where = Where(spot=True)
    calm = planner_of(offers, *variants(job)).rank(where, Budget()).top(100)
    rough = planner_of(offers, *variants(job), assumptions=preempted(more)).rank(where, Budget()).top(100)
    after = {(one.offer, one.micro_batch): one for one in rough}
    for one in calm:
        other = after.get((one.offer, one.micro_batch))
        if other is None:
            continue  # preempted so often that it may never come to its end
        assert dollars(one) <= dollars(other)
        # Checkpoints follow what is expected: where they come more often, the worst that may happen can be less bad.
        assert one.checkpoint_every_steps != other.checkpoint_every_steps or high(one) <= high(other)


def high(estimate: Estimate) -> Decimal:
    """The most it may cost."""
    assert estimate.cost_usd is not None
    return estimate.cost_usd.high


def preempted(more: float) -> Assumptions:
    """So many times as often as is assumed."""
    rows = dict(shipped_assumptions().rows)
    for key, row in rows.items():
        if key[0] == "preemption_rate":
            value = row.value
            scaled = Interval(low=value.low, expected=value.expected * more, high=value.high * more)
            rows[key] = replace(row, value=scaled)
    return Assumptions(rows)


@PATIENT
@given(job=st.sampled_from(JOBS), seed=SEEDS)
def test_spot_at_the_same_price_is_never_cheaper(job: str, seed: int) -> None:
    offers = [replace(offer, use_spot=False) for offer in random_offers(seed, 20) if offer.cloud != "local"]
    calm = planner_of(offers, *variants(job)).rank(Where(), Budget()).top(100)
    spot = [replace(offer, use_spot=True) for offer in offers]
    for one in planner_of(spot, *variants(job)).rank(Where(spot=True), Budget()).top(100):
        twins = [other for other in calm if replace(other.offer, use_spot=True) == one.offer]
        assert twins
        assert dollars(one) >= dollars(twins[0])
        assert high(one) >= high(twins[0])
