"""Plan a job: profile it, gather offers, rank them, keep the plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from manager.catalog.models import check_use, reason_to_plan_only, resolve_entry
from manager.errors import StateError, UsageError
from manager.planner.build import explain_no_choice, make_plan
from manager.planner.calibration import Calibration
from manager.planner.codec import plan_to_json, plan_to_text
from manager.planner.plan import Plan
from manager.prices.local import detect_device
from manager.prices.offer import Offer
from manager.prices.sources import OffersReading, gather_offers
from manager.profiling.measure import measure_data
from manager.profiling.run_traces import run_traces
from manager.runs.states import FINAL
from manager.service.context import Context
from manager.service.known_names import CLOUDS_WITHOUT_CATALOG, check_names
from manager.service.starting import write_whole
from manager.spec.model import RunSpec
from manager.workload.build import build_profile
from tasks.kinds import TASK_KINDS

__all__ = ["can_run", "explain_no_choice", "narrowed", "plan_job", "plan_to_json", "save_plan"]

CHEAPEST = "cheapest"


def plan_job(
    context: Context, spec: RunSpec, *, catalogs: Path | None = None, tell: Callable[[str], None] | None = None
) -> Plan:
    """Estimate the job on every offer and choose; the plan is saved under its id.

    Args:
        context: surroundings.
        spec: the job.
        catalogs: folder of price catalogs; None: the setting, else SkyPilot's own, else the shipped list prices.
        tell: is told of work that takes long, before it is done.

    Raises:
        DataError: model or data cannot be used.
        PriceError: `catalogs` cannot be read.
        UsageError: a cloud, region or accelerator is asked for that nobody knows.
        StateError: the plan cannot be saved.
    """
    context.home.ensure()
    now_s = context.clock()
    entry = resolve_entry(spec.model.source, spec.model.revision)
    check_use(entry, task=spec.task, max_length=longest_text(spec))
    data = measure_data(
        spec, cache_dir=context.home.cache_dir, timeout_s=float(context.config.number("measure_timeout_s"))
    )
    reading = read_offers(context, catalogs)
    _check_where(spec, reading.offers)
    traces = run_traces(
        spec,
        entry,
        data=data,
        has_cpu_offers=any(offer.accelerator is None for offer in reading.offers),
        cache_dir=context.home.cache_dir,
        timeout_s=float(context.config.number("measure_timeout_s")),
        tell=tell,
    )
    plan = make_plan(
        spec=spec,
        profile=build_profile(spec, entry, data, traces),
        traces=traces,
        offers=reading.offers,
        created_at_s=now_s,
        notes=(*reading.notes, *_task_notes(spec), *traces.notes),
        calibration=_calibration(context),
    )
    save_plan(context, plan)
    return plan


def read_offers(context: Context, catalogs: Path | None) -> OffersReading:
    """All offers of today, with their prices.

    Raises:
        PriceError: `catalogs` cannot be read.
    """
    return gather_offers(
        catalogs=catalogs or context.config.catalogs,
        home=context.user_home,
        now_s=context.clock(),
        local=detect_device(),
        local_price_usd_per_hour=context.config.number("local_price_usd_per_hour"),
        local_price_source=_local_price_source(context),
    )


def longest_text(spec: RunSpec) -> int | None:
    """Most tokens of a sample; None where samples are no text."""
    kind = TASK_KINDS[spec.task]
    return spec.training.max_length if kind.length == "tokens" and kind.samples != "audio" else None


def can_run(spec: RunSpec) -> bool:
    """Whether `run` takes the job at all; else it can be planned alone."""
    return TASK_KINDS[spec.task].is_trained and reason_to_plan_only(spec.model.source) is None


def narrowed(spec: RunSpec, *, on: str | None, max_usd: Decimal | None) -> RunSpec:
    """The spec with the command line's cloud and cap laid over it; flags win over the file.

    Raises:
        UsageError: the cap is not positive.
    """
    where = spec.where if on in (None, CHEAPEST) else dataclasses.replace(spec.where, clouds=(str(on).lower(),))
    if max_usd is None:
        return dataclasses.replace(spec, where=where)
    if not max_usd.is_finite() or max_usd <= 0:
        raise UsageError(f"--max-usd {max_usd} is no cap", hint="give dollars above 0, such as --max-usd 5")
    return dataclasses.replace(spec, where=where, budget=dataclasses.replace(spec.budget, max_usd=max_usd))


def save_plan(context: Context, plan: Plan) -> Path:
    """Keep a plan under its id.

    Raises:
        StateError: the file cannot be written.
    """
    file = context.home.plans_dir / f"{plan.plan_id}.json"
    try:
        write_whole(file, plan_to_text(plan) + "\n")
    except OSError as error:
        raise StateError(f"plan {file} cannot be written: {error.strerror}", hint="free some disk space") from error
    return file


def _task_notes(spec: RunSpec) -> tuple[str, ...]:
    kind = TASK_KINDS[spec.task]
    task = () if kind.is_trained else (f"{kind.name} can be planned, not run yet",)
    reason = reason_to_plan_only(spec.model.source)
    return task if reason is None else (*task, f"{reason}: it can be planned, not run")


def _check_where(spec: RunSpec, offers: tuple[Offer, ...]) -> None:
    """Refuse names that no offer has: a typing error would otherwise look like a market without machines."""
    where = spec.where
    clouds = {offer.cloud for offer in offers} | CLOUDS_WITHOUT_CATALOG
    check_names("cloud", where.clouds, clouds)
    if set(where.clouds) & CLOUDS_WITHOUT_CATALOG:
        return  # their regions and accelerators may be unknown here
    check_names("region", where.regions, {offer.region for offer in offers if offer.region})
    check_names("accelerator", where.accelerators, {offer.accelerator or "cpu" for offer in offers})


def _local_price_source(context: Context) -> str:
    value = next(value for value in context.config.values if value.setting.name == "local_price_usd_per_hour")
    if value.origin == "default":
        return f"assumption, setting local_price_usd_per_hour: {value.setting.text}"
    return f"setting local_price_usd_per_hour, from {value.origin}"


def _calibration(context: Context) -> tuple[Calibration, ...]:
    """What this user's own runs say about devices; nothing before the first run."""
    if not context.home.ledger_file.exists():
        return ()
    # Ledger and reports cost a seventh of a cold plan to load; the first plan of a user has no use for them.
    from manager.reports.calibrate import calibration_from
    from manager.service.inspection import open_ledger

    with open_ledger(context) as ledger:
        return calibration_from(ledger.run_events(run_id) for run_id in ledger.run_ids(FINAL))
