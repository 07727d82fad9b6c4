"""The lazy ranking against every offer priced on its own, and what it says of limits, wishes and the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from manager.planner.plan import Estimate
from manager.planner.ranking import Ranking
from manager.spec.model import Budget, Where
from tests.support.market_factory import Answers, brute_force, planner_of, random_offers, variant_of
from tests.support.plan_factory import make_cpu_offer, make_gpu_offer, make_spec

ANY = Where(spot=True)
SPECS = {
    "small": (make_spec(), "minilm"),
    "large": (make_spec(precision="bf16", batch_size=24), "tinyllama"),
    "huge": (make_spec(method="lora", precision="bf16"), "mistral"),
}
VARIANTS = {name: variant_of(spec, model) for name, (spec, model) in SPECS.items()}
LIMITS = [
    (ANY, Budget()),
    (Where(), Budget(max_usd=Decimal("2.5"))),
    (ANY, Budget(max_usd=Decimal("4"), deadline_hours=1.5)),
    (ANY, Budget(max_usd=Decimal("4"), deadline_hours=1.5, confidence=0.9)),
    (Where(spot=True, regions=("us-east-1", "asia-1"), clouds=("aws", "gcp", "local")), Budget(deadline_hours=2.0)),
    (Where(spot=True, accelerators=("L4:1", "A100", "cpu")), Budget(max_usd=Decimal("0.9"))),
    (Where(spot=True, on_paper=True, max_nodes=3), Budget(deadline_hours=1.0)),
    (Where(on_paper=True, max_nodes=4, regions=("eu-west-1",)), Budget(max_usd=Decimal("9"))),
]


def ranked(seed: int, name: str, where: Where, budget: Budget) -> tuple[Ranking, Answers]:
    """The ranking of a random market, and what it should be."""
    offers, variant = random_offers(seed, 200), VARIANTS[name]
    return planner_of(offers, variant).rank(where, budget), brute_force(offers, [variant], where, budget)


def shown(estimates: list[Estimate]) -> list[tuple[object, ...]]:
    """What people see of each."""
    return [
        (one.cost_usd, one.hours, one.offer.key, one.offer.price_usd_per_hour, one.micro_batch) for one in estimates
    ]


@pytest.mark.parametrize("limits", range(len(LIMITS)))
@pytest.mark.parametrize("name", SPECS)
def test_it_is_what_pricing_each_offer_gives(name: str, limits: int) -> None:
    where, budget = LIMITS[limits]
    ranking, answers = ranked(17 * limits + len(name), name, where, budget)
    assert ranking.offers_total == len(answers.chosen)
    assert ranking.counts == answers.reasons
    assert shown(ranking.top(10_000)) == shown(answers.chosen)
    for number in (1, 2, 7, 50):
        assert shown(ranking.top(number)) == shown(answers.chosen[:number])
    assert {count.reason: count.offers for count in ranking.reason_counts()} == answers.reasons


def test_the_markets_hold_what_they_are_made_for() -> None:
    seen: Counter[str] = Counter()
    chosen = nodes = on_paper = ties = 0
    for limits, (where, budget) in enumerate(LIMITS):
        _, answers = ranked(17 * limits + 5, "small", where, budget)
        seen += answers.reasons
        costs = [estimate.cost_usd for estimate in answers.chosen]
        chosen += len(costs)
        ties += len(costs) - len(set(costs))
        nodes += sum(estimate.offer.num_nodes > 1 for estimate in answers.chosen)
        on_paper += sum(estimate.reason is not None for estimate in answers.chosen)
    assert min(chosen, nodes, on_paper) > 30
    assert ties > 10
    assert set(seen) >= {
        "over budget",
        "past deadline",
        "region not allowed",
        "cloud not allowed",
        "accelerator not allowed",
        "spot not allowed",
        "unknown price",
        "host's memory is too small",
        "training program does not run there yet",
        "unknown accelerator",
        "batch cannot be shared",
    }


@pytest.mark.parametrize("limits", range(len(LIMITS)))
def test_none_beats_what_is_on_the_front_and_the_front_leaves_nothing_out(limits: int) -> None:
    where, budget = LIMITS[limits]
    ranking, answers = ranked(limits, "small", where, budget)
    front = [dollars_and_hours(estimate) for estimate in ranking.pareto()]
    rest = [dollars_and_hours(estimate) for estimate in answers.chosen]
    assert front == sorted(front)
    assert [hours for _, hours in front] == sorted((hours for _, hours in front), reverse=True)
    assert len(front) == len(set(front)) > 0
    for usd, hours in front:
        assert (usd, hours) in rest
        assert not [one for one in rest if one[0] <= usd and one[1] <= hours and one != (usd, hours)]
    for usd, hours in rest:
        # Less than a hundredth of the time is no gain.
        assert [one for one in front if one[0] <= usd and one[1] * 0.99 <= hours]
    assert front[0] == rest[0]


def dollars_and_hours(estimate: Estimate) -> tuple[Decimal, float]:
    """Expected."""
    assert estimate.cost_usd is not None
    assert estimate.hours is not None
    return estimate.cost_usd.expected, estimate.hours.expected


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_a_cap_is_kept_to_the_micro_dollar(confidence: float) -> None:
    offers, variant = random_offers(3, 60), VARIANTS["small"]
    planner = planner_of(offers, variant)
    every = brute_force(offers, [variant], ANY, Budget()).chosen
    for estimate in every[:: max(1, len(every) // 12)]:
        assert estimate.cost_usd is not None
        cost = estimate.cost_usd.expected if confidence == 0.5 else estimate.cost_usd.high
        for cap in (cost, cost - Decimal("0.000001"), cost + Decimal("0.000001")):
            budget = Budget(max_usd=cap, confidence=confidence)
            answers, ranking = brute_force(offers, [variant], ANY, budget), planner.rank(ANY, budget)
            assert ranking.offers_total == len(answers.chosen) == len(ranking.top(1000))
            assert ranking.counts == answers.reasons
            assert (estimate.offer.key in {one.offer.key for one in answers.chosen}) >= (cap >= cost)


def test_what_is_rejected_is_shown_nearest_first_and_of_every_kind() -> None:
    where, budget = LIMITS[2]
    ranking, _ = ranked(4, "large", where, budget)
    everything = ranking.nearest_rejected(10_000)
    assert len(everything) == len(ranking.rejected) < sum(ranking.counts.values())
    assert {kind(one) for one in everything} == set(ranking.counts)
    few = ranking.nearest_rejected(3)
    assert few[:3] == everything[:3]
    assert {kind(one) for one in few} == set(ranking.counts)
    assert len(few) <= 3 + len(ranking.counts)
    kinds = [kind(one) for one in everything]
    near = ["over budget", "past deadline", "does not fit", "host's memory is too small", "batch cannot be shared"]
    kinds_of_near = kinds[: sum(map(kinds.count, near))]
    assert kinds_of_near == [name for name in near for _ in range(kinds.count(name))]
    over = [dollars_and_hours(one)[0] for one in everything if kind(one) == "over budget"]
    assert over == sorted(over)
    assert min(over) > (budget.max_usd or 0)
    late = [dollars_and_hours(one)[1] for one in everything if kind(one) == "past deadline"]
    assert late == sorted(late)


def kind(estimate: Estimate) -> str:
    """Of the reason."""
    assert estimate.reason is not None
    return estimate.reason.split(":", 1)[0]


def test_regions_split_a_rental() -> None:
    offers = [make_gpu_offer(price=price, region=region) for region, price in (("a", "1"), ("b", "2"), ("c", "3"))]
    ranking = planner_of(offers, VARIANTS["small"]).rank(Where(regions=("C", "b")), Budget())
    assert [estimate.offer.region for estimate in ranking.top(9)] == ["b", "c"]
    assert [(one.offer.region, one.reason) for one in ranking.nearest_rejected(9)] == [("a", "region not allowed: a")]


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        (("L4",), {1.0, 4.0}),
        (("l4:1",), {1.0}),
        (("L4:4", "T4"), {4.0, 8.0}),
        (("L4:2",), set()),
        (("cpu",), {0.0}),
    ],
)
def test_a_wish_may_name_how_many_accelerators(asked: tuple[str, ...], counts: set[float]) -> None:
    offers = [make_gpu_offer("L4"), make_gpu_offer("L4", count=4), make_gpu_offer("T4", count=8), make_cpu_offer()]
    ranking = planner_of(offers, VARIANTS["small"]).rank(Where(accelerators=asked), Budget())
    assert {estimate.offer.accelerator_count for estimate in ranking.top(9)} == counts


def test_what_does_not_run_yet_is_ranked_on_paper_only_when_asked() -> None:
    tpu = make_gpu_offer("tpu-v5litepod-8", price="0.1")
    planner = planner_of([make_gpu_offer(), tpu], VARIANTS["small"])
    refused = planner.rank(Where(), Budget())
    assert [estimate.offer.accelerator for estimate in refused.top(9)] == ["L4"]
    assert refused.counts == {"training program does not run there yet": 1}
    best = planner.rank(Where(on_paper=True), Budget()).top(1)[0]
    assert (best.offer, best.reason) == (tpu, None)
    assert best.on_paper == "training program does not run there yet: TPU"


def test_confidence_compares_the_high_ends() -> None:
    planner = planner_of([make_gpu_offer()], VARIANTS["small"])
    (estimate,) = planner.rank(Where(), Budget()).top(1)
    assert estimate.cost_usd is not None
    assert estimate.hours is not None
    between = Budget(max_usd=(estimate.cost_usd.expected + estimate.cost_usd.high) / 2)
    assert planner.rank(Where(), between).top(1) == [estimate]
    sure = planner.rank(Where(), replace(between, confidence=0.9))
    assert sure.top(1) == []
    (refused,) = sure.nearest_rejected(1)
    assert refused.reason is not None
    assert refused.reason.startswith("over budget: $0.33 at 90%, cap $0.23")
    late = Budget(deadline_hours=(estimate.hours.expected + estimate.hours.high) / 2)
    assert planner.rank(Where(), late).top(1) == [estimate]
    assert planner.rank(Where(), replace(late, confidence=0.9)).counts == {"past deadline": 1}


class TestFind:
    """One offer by its key, chosen or not."""

    offers = random_offers(11, 120)
    planner = planner_of(offers, VARIANTS["small"])

    @pytest.mark.parametrize("limits", range(len(LIMITS)))
    def test_it_says_what_the_ranking_says(self, limits: int) -> None:
        where, budget = LIMITS[limits]
        chosen = {one.offer.key: one for one in self.planner.rank(where, budget).top(10_000)[::-1]}
        for offer in self.offers:
            found = self.planner.find(offer.key, where, budget)
            assert found is not None
            assert found.offer.key == offer.key
            if offer.key in chosen:
                assert found == chosen[offer.key]
            else:
                assert found.reason is not None, (offer.key, found.on_paper)

    def test_an_unknown_key_is_none(self) -> None:
        assert self.planner.find("aws/mars/x/L4:1/on-demand", ANY, Budget()) is None

    def test_several_machines_have_keys_of_their_own(self) -> None:
        planner = planner_of([make_gpu_offer()], VARIANTS["small"])
        key = make_gpu_offer(nodes=2).key
        assert planner.find(key, Where(), Budget()) is None
        assert planner.keys_with("L4:1", Where()) == [make_gpu_offer().key]
        assert planner.keys_with("L4:1", Where(max_nodes=2)) == [make_gpu_offer().key, key]
        found = planner.find(key, Where(max_nodes=2), Budget())
        assert found is not None
        assert found.offer.num_nodes == 2
        assert found.offer.price_usd_per_hour == 2 * Decimal("0.8048")
