"""Planning questions with answers found by hand, from data sheets, prices and arithmetic, not by this program.

The steps are the shipped traces of real models, so that neither a network nor a training library is needed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from manager.catalog.models import resolve_entry
from manager.planner.assumptions import shipped_assumptions
from manager.planner.build import Planner, explain_no_choice, plan_of
from manager.planner.market_index import MarketIndex
from manager.planner.plan import Estimate, Plan
from manager.prices.market import Market
from manager.service.variants import VariantSource
from tests.golden.planning_questions.question import Question, by_hand, questions

QUESTIONS = questions()


def plan(question: Question, cache_dir: Path) -> Plan:
    """The plan of a question's job on its market."""
    source = VariantSource(
        spec=question.spec,
        entry=resolve_entry(question.spec.model.source, None),
        data=question.data,
        has_cpu_offers=any(offer.accelerator is None for offer in question.offers.values()),
        cache_dir=cache_dir,
        timeout_s=1.0,
    )
    assumptions = shipped_assumptions()
    planner = Planner(
        MarketIndex.of(Market.of_offers(question.offers.values()), assumptions),
        [source.first(), *source.others(traces_checkpointing=False).variants],
        assumptions=assumptions,
    )
    return plan_of(planner, question.spec, created_at_s=1_790_000_000.0, notes=())


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_question(question: Question, tmp_path: Path) -> None:
    answer, made = question.answer, plan(question, tmp_path)
    names = {offer.price_source: name for name, offer in question.offers.items()}
    rejected = {name_of(names, estimate): estimate.reason or "" for estimate in made.rejected}
    for name, reason in answer.not_chosen.items():
        assert rejected.get(name, "").startswith(reason), rejected
    if answer.chosen is None:
        assert made.choice is None
        error = explain_no_choice(made)
        assert any(reason.startswith(answer.nothing or "?") for reason in rejected.values()), rejected
        for word in answer.names:
            assert word in f"{error.message} {error.hint}"
        return
    choice = made.choice
    assert choice is not None, rejected
    assert name_of(names, choice) == answer.chosen, table(names, made)
    assert choice.offer.num_nodes == answer.nodes
    assert answer.sharding in (None, choice.sharding)
    assert choice.cost_usd is not None
    assert choice.hours is not None
    if answer.usd is not None:
        ratio = float(choice.cost_usd.expected) / answer.usd
        assert 1 / answer.within <= ratio <= answer.within, f"{ratio:.2f} x by hand; {table(names, made)}"
    if answer.hours is not None:
        ratio = choice.hours.expected / answer.hours
        assert 1 / answer.within <= ratio <= answer.within, f"{ratio:.2f} x by hand; {table(names, made)}"


def test_there_are_thirty_different_ones() -> None:
    assert len(QUESTIONS) >= 30
    assert max(Counter(question.id for question in QUESTIONS).values()) == 1
    assert sum(question.answer.usd is not None for question in QUESTIONS) >= 18


@pytest.mark.parametrize(("arithmetic", "value"), [("2 + 3 * 4", 14.0), ("(1e9 / 2) ** 2", 2.5e17)])
def test_arithmetic(arithmetic: str, value: float) -> None:
    assert by_hand(arithmetic) == value


@pytest.mark.parametrize("arithmetic", ["max(1, 2)", "x", "'1'"])
def test_arithmetic_is_plain(arithmetic: str) -> None:
    with pytest.raises(ValueError, match="not plain arithmetic"):
        by_hand(arithmetic)


def name_of(names: dict[str, str], estimate: Estimate) -> str:
    """The question's name of an offer, which its price source ends with."""
    return names[estimate.offer.price_source]


def table(names: dict[str, str], made: Plan) -> str:
    """What was found, for people."""
    offers = [
        f"{name_of(names, one)} x{one.offer.num_nodes}: "
        f"{one.cost_usd.expected if one.cost_usd else None} USD, {one.hours.expected if one.hours else 0:.2f} h, "
        f"micro-batch {one.micro_batch}, {one.sharding}, checkpointing {one.gradient_checkpointing}"
        for one in made.offers
    ]
    return "\n".join([*offers, *(f"{name_of(names, one)}: {one.reason}" for one in made.rejected)])
