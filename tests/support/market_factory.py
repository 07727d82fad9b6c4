"""Random markets with what makes ranking hard, and plans of them offer by offer, to compare the planner with."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

import pytest

from manager.catalog.accelerators import accelerator
from manager.planner.assumptions import Assumptions, shipped_assumptions
from manager.planner.build import Planner
from manager.planner.estimate import Verdict, priced, verdict
from manager.planner.judge import judge_shape
from manager.planner.market_index import MarketIndex
from manager.planner.phases import PhaseBook
from manager.planner.plan import Estimate
from manager.planner.shape import shape_of
from manager.planner.variant import StepVariant
from manager.prices.market import Market
from manager.prices.offer import Offer
from manager.service import planning
from manager.service.context import Context
from manager.service.planning import OpenJob
from manager.service.variants import shardings_of
from manager.spec.model import Budget, RunSpec, Where
from tests.support.plan_factory import GIB, make_cpu_offer, make_data, make_gpu_offer, make_profile, make_traces

_CARDS = ("T4", "L4", "L4", "A10G", "A100", "A100-80GB", "H100", "V100", "MI300X", "tpu-v5litepod-8", "no-such-card")
_COUNTS = (0.5, 1.0, 1.0, 2.0, 4.0, 8.0, 3.0)
_CLOUDS = ("aws", "gcp", "azure", "runpod")
_REGIONS = ("us-east-1", "eu-west-1", "asia-1", None)
_ALONE = ("local", "runpod")
"""SkyPilot rents no cluster of several machines there."""
_HOSTS = (None, GIB // 2, 16 * GIB, 64 * GIB, 1024 * GIB)


def random_offers(seed: int, number: int) -> list[Offer]:
    """Offers of a few kinds of machines; prices come in steps, so that many jobs cost the same to a micro-dollar."""
    chance = random.Random(seed)
    return [make_cpu_offer(), *(_random_offer(chance) for _ in range(number))]


def _random_offer(chance: random.Random) -> Offer:
    cloud, region, spot = chance.choice(_CLOUDS), chance.choice(_REGIONS), chance.random() < 0.4
    price = None if chance.random() < 0.1 else Decimal(chance.choice((1, 2, 5, 40, 977))) / 4
    host = chance.choice(_HOSTS)
    if chance.random() < 0.15:
        offer = replace(make_cpu_offer(memory_bytes=None), vcpus=chance.choice((None, 2.0, 16.0)), cloud=cloud)
        kind, flags = f"c{offer.vcpus}-{host}", ("arm64",) if chance.random() < 0.2 else ()
        offer = replace(offer, instance_type=kind, flags=flags)
    else:
        offer = make_gpu_offer(chance.choice(_CARDS), count=chance.choice(_COUNTS), cloud=cloud)
    return replace(offer, region=region, use_spot=spot, host_memory_bytes=host, price_usd_per_hour=price)


def variant_of(spec: RunSpec, model: str = "minilm", *, samples: int = 1780, tokens: int = 200) -> StepVariant:
    """A variant of a job on synthetic steps."""
    data = make_data(samples=samples, tokens=tokens)
    return StepVariant(
        profile=make_profile(model, spec, data), traces=make_traces(model, spec), shardings=shardings_of(spec)
    )


def planner_of(offers: Iterable[Offer], *variants: StepVariant, assumptions: Assumptions | None = None) -> Planner:
    """A planner over these offers."""
    assumed = assumptions or shipped_assumptions()
    return Planner(MarketIndex.of(Market.of_offers(offers), assumed), variants, assumptions=assumed)


def open_job_of(offers: Iterable[Offer], spec: RunSpec) -> OpenJob:
    """A job on the smallest model that has been measured and may choose among these offers."""
    return OpenJob(spec=spec, planner=planner_of(offers, variant_of(spec)), notes=(), created_at_s=0.0)


def set_open_job(monkeypatch: pytest.MonkeyPatch, offers: Iterable[Offer], spec: RunSpec) -> None:
    """Let commands open this job, whatever the run file asks for."""
    job = open_job_of(offers, spec)

    def opened(context: Context, *_: object, **__: object) -> OpenJob:
        context.home.ensure()
        return job

    monkeypatch.setattr(planning, "open_job", opened)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a plan should be."""

    chosen: list[Estimate]
    """In order."""
    reasons: Counter[str]
    """Kinds of reasons of all others."""


def brute_force(offers: Sequence[Offer], variants: Sequence[StepVariant], where: Where, budget: Budget) -> Answers:
    """Every offer in every number of machines priced on its own; wishes and limits written down once more."""
    chosen, reasons = [], Counter[str]()
    for offer in _in_numbers(offers, where.max_nodes, where):
        reason = _unwanted(offer, where)
        if reason is None:
            estimate = priced(offer, _verdict(tuple(variants), offer, where.on_paper))
            reason = _kind(estimate.reason)
            if where.on_paper and reason == "training program does not run there yet" and estimate.hours is not None:
                reason = None if estimate.cost_usd is not None else "unknown price"
                reason = reason if _host_is_enough(estimate) else "host's memory is too small"
            reason = reason or _beyond(estimate, budget)
        if reason is None:
            chosen.append(estimate)
        else:
            reasons[reason] += 1
    return Answers(chosen=sorted(chosen, key=_order), reasons=reasons)


def _in_numbers(offers: Sequence[Offer], max_nodes: int, where: Where) -> Iterator[Offer]:
    """Several machines are tried of whole cards."""
    for offer in offers:
        yield offer
        name = offer.accelerator or "tpu-"
        is_whole = not name.startswith("tpu-") and offer.accelerator_count >= 1
        if not is_whole or offer.cloud in _ALONE or _unwanted(offer, where, all_of=True):
            continue
        for nodes in sorted({*(2**power for power in range(1, 7) if 2**power <= max_nodes), max_nodes} - {1}):
            price = offer.price_usd_per_hour
            yield replace(offer, num_nodes=nodes, price_usd_per_hour=None if price is None else price * nodes)


def _unwanted(offer: Offer, where: Where, *, all_of: bool = False) -> str | None:
    """Why a user does not want it; with `all_of` only what holds for a machine in every region."""
    name = offer.accelerator or "cpu"
    asked = {f"{name}", f"{name}:{offer.accelerator_count:g}"}
    if where.clouds and offer.cloud not in where.clouds:
        return "cloud not allowed"
    if where.accelerators and not asked & set(where.accelerators):
        return "accelerator not allowed"
    if offer.use_spot and not where.spot:
        return "spot not allowed"
    if where.regions and offer.region not in where.regions and not all_of:
        return "region not allowed"
    return None


@lru_cache(maxsize=100_000)
def _verdict_of_machine(variants: tuple[int, ...], machine: Offer, on_paper: bool) -> Verdict:
    card = None if machine.accelerator is None else accelerator(machine.accelerator)
    assumed = shipped_assumptions()
    judgement = judge_shape(
        _VARIANTS[variants],
        shape_of(machine, num_nodes=machine.num_nodes),
        card,
        assumed,
        estimates_refused=on_paper,
    )
    return verdict(
        judgement, PhaseBook(assumptions=assumed), cloud=machine.cloud, use_spot=machine.use_spot, calibration=None
    )


_VARIANTS: dict[tuple[int, ...], tuple[StepVariant, ...]] = {}
"""By identity, so that verdicts can be remembered; the objects stay alive here."""


def _verdict(variants: tuple[StepVariant, ...], offer: Offer, on_paper: bool) -> Verdict:
    key = tuple(id(variant) for variant in variants)
    _VARIANTS[key] = variants
    return _verdict_of_machine(key, replace(offer, region=None, price_usd_per_hour=None, zones=()), on_paper)


def _host_is_enough(estimate: Estimate) -> bool:
    has, needs = estimate.offer.host_memory_bytes, estimate.host_bytes
    return has is None or needs is None or needs.low <= has


def _beyond(estimate: Estimate, budget: Budget) -> str | None:
    assert estimate.cost_usd is not None
    assert estimate.hours is not None
    end = "high" if budget.confidence > 0.5 else "expected"
    if budget.deadline_hours is not None and getattr(estimate.hours, end) > budget.deadline_hours:
        return "past deadline"
    dear = budget.max_usd is not None and getattr(estimate.cost_usd, end) > budget.max_usd
    return "over budget" if dear else None


def _kind(reason: str | None) -> str | None:
    return None if reason is None else reason.split(":", 1)[0]


def _order(estimate: Estimate) -> tuple[Decimal, float, bool, str, str]:
    cost, hours, offer = estimate.cost_usd, estimate.hours, estimate.offer
    assert cost is not None
    return (
        cost.expected,
        math.inf if hours is None else hours.expected,
        offer.use_spot,
        offer.key,
        offer.price_source,
    )
