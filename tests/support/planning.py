"""Plans and verdicts of one variant over a few offers, without a market that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manager.catalog.accelerators import Accelerator
from manager.catalog.accelerators import accelerator as accelerator_of_catalog
from manager.planner.assumptions import Assumptions, shipped_assumptions
from manager.planner.build import Planner, plan_of
from manager.planner.calibration import Calibration
from manager.planner.estimate import Verdict, memory_factor_of, verdict
from manager.planner.judge import judge_shape
from manager.planner.market_index import MarketIndex
from manager.planner.phases import PhaseBook
from manager.planner.plan import Plan
from manager.planner.shape import shape_of
from manager.planner.variant import StepVariant
from manager.prices.market import Market
from manager.prices.offer import Offer
from manager.spec.model import RunSpec
from manager.workload.profile import WorkloadProfile
from manager.workload.traces import RunTraces


def make_plan(
    *,
    spec: RunSpec,
    profile: WorkloadProfile,
    traces: RunTraces,
    offers: Sequence[Offer],
    created_at_s: float,
    notes: Sequence[str],
    calibration: Sequence[Calibration] = (),
    assumptions: Assumptions | None = None,
    accelerator: Callable[[str], Accelerator | None] = accelerator_of_catalog,
) -> Plan:
    """Judge offers for one variant of a job and choose the cheapest by expected dollars to a finished job.

    Args:
        spec: what the user wants; its `where` and `budget` filter.
        profile: what the run demands.
        traces: its training step.
        offers: machines with prices, in any order.
        created_at_s: Unix time in seconds, stored in the plan.
        notes: what the user should know of the prices; notes of the planner are added.
        calibration: what measured runs say about devices.
        assumptions: None: the table that ships with the product.
        accelerator: looks up specifications; the catalog's by default.
    """
    assumed = assumptions or shipped_assumptions()
    planner = Planner(
        MarketIndex.of(Market.of_offers(offers), assumed),
        [StepVariant(profile=profile, traces=traces)],
        assumptions=assumed,
        calibration=calibration,
        accelerator=accelerator,
    )
    return plan_of(planner, spec, created_at_s=created_at_s, notes=notes)


def judge_machine(
    profile: WorkloadProfile,
    traces: RunTraces,
    offer: Offer,
    accelerator: Accelerator | None,
    assumptions: Assumptions,
    calibration: Calibration | None,
) -> Verdict:
    """Fit and hours of one variant on one offer's kind of machine; nothing of its price or region enters."""
    shape = shape_of(offer, num_nodes=offer.num_nodes)
    variant = StepVariant(profile=profile, traces=traces)
    judgement = judge_shape([variant], shape, accelerator, assumptions, memory_factor=memory_factor_of(calibration))
    book = PhaseBook(assumptions=assumptions)
    return verdict(judgement, book, cloud=offer.cloud, use_spot=offer.use_spot, calibration=calibration)
