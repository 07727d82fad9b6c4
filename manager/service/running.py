"""Launch a plan: choose the engine and the fall-backs, write the job, supervise it to its end."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import SystemRandom

from manager.catalog.models import reason_to_plan_only
from manager.errors import OverBudgetError, UsageError, how_to_install
from manager.launch.engine import Engine, LaunchRequest, SpotRecovery
from manager.launch.local import LocalEngine, missing_to_train
from manager.launch.managed import RecoveringSkyEngine
from manager.launch.render import render_yaml
from manager.launch.sky_resources import asks_alike
from manager.launch.sky_upload import stage_upload
from manager.planner.build import explain_no_choice
from manager.planner.limits import cost_at, cost_told
from manager.planner.machine import FSDP
from manager.planner.plan import Estimate, Plan
from manager.planner.storage import side_usd
from manager.runs.ids import new_run_id
from manager.runs.requote import Ask
from manager.runs.supervise import RunOrder, RunOutcome, SuperviseSettings, supervise
from manager.runs.updates import LogUpdate, OnUpdate
from manager.service.budgets import launch_cap
from manager.service.context import Context
from manager.service.guards import guarded, missing_guards
from manager.service.inspection import open_ledger
from manager.service.requotes import asking
from manager.service.spot_words import spot_warning
from manager.service.staging import settle_bucket, stage_request
from manager.service.storing import store_of
from manager.units import SECONDS_PER_HOUR, format_usd
from tasks.job import GuardChoice, Job, ProbeChoice
from tasks.kinds import TASK_KINDS
from tasks.redaction import MASK, remember

LOCAL = "local"
SKY = "sky"
MOST_FALLBACKS = 4
"""Offers tried after the chosen one; each attempt costs minutes."""
_HOLD_FILES = (".parquet", ".npz")
"""Data files that hold images or recordings, where other tables name them."""


def launch(
    context: Context,
    plan: Plan,
    *,
    cap_usd: Decimal | None,
    on_update: OnUpdate,
    run_id: str | None = None,
    ask: Ask | None = None,
    asks_from_afar: bool = False,
) -> RunOutcome:
    """Carry a plan out: launch its choice, else the next offer with capacity; returns when the machine is gone.

    Args:
        context: surroundings.
        plan: what was shown to the user.
        cap_usd: dollars that the whole run may cost; None: what the user's budgets leave, without one no cap.
        on_update: called for every change, from this thread.
        run_id: of the run, where it was told to somebody before; None: a new one.
        ask: puts questions to somebody at a terminal while the run goes on; None: nobody is there.
        asks_from_afar: put them through the ledger where there is no terminal; beside one that is done anyway.

    Raises:
        NothingFitsError: the plan chose nothing because nothing fits.
        OverBudgetError: the plan chose nothing because of a limit, or costs more than the cap.
        UsageError: the engine that the choice needs is not installed; nothing was started.
        EngineError: the data cannot be staged in the bucket; nothing was started.
        StateError: the ledger cannot be used; what had been started was taken down.
    """
    cap_usd = launch_cap(context, plan, cap_usd)
    request, engine = ready(context, plan, cap_usd=cap_usd, run_id=run_id)
    if (warning := missing_guards(request)) is not None:
        on_update(LogUpdate(run_id=request.run_id, text=warning, source="manager"))
    if (warning := spot_warning(request)) is not None:
        on_update(LogUpdate(run_id=request.run_id, text=warning, source="manager"))
    if engine == SKY:
        request = stage_request(context, request, on_update)
    questions = None if ask is None and not asks_from_afar else asking(context, request.run_id, ask)
    with open_ledger(context) as ledger, engines() as known:
        outcome = supervise(
            RunOrder(request=request, plan=plan, cap_usd=cap_usd, user=context.user, ask=questions),
            known[engine],
            ledger,
            context.clock,
            on_update,
            supervise_settings(context),
        )
    if outcome.error is None:
        settle_bucket(request.run_id, request.run_dir, on_update)
    return outcome


def ready(
    context: Context, plan: Plan, *, cap_usd: Decimal | None, run_id: str | None = None
) -> tuple[LaunchRequest, str]:
    """What `launch` asks for, and the name of the engine, which is at hand; all that can be refused beforehand is.

    Raises:
        NothingFitsError, OverBudgetError, UsageError: as `launch`.
    """
    request, engine = prepare(context, plan, cap_usd=cap_usd, run_id=run_id)
    if engine == SKY and importlib.util.find_spec("sky") is None:
        raise UsageError(
            "this offer is launched through SkyPilot, which is not installed",
            hint=f"{how_to_install('sky')}; or run here: --on local",
        )
    if engine == LOCAL and (missing := missing_to_train()):
        raise UsageError(
            f"this machine cannot train yet: {', '.join(missing)} not installed", hint=how_to_install("local")
        )
    return request, engine


def render_plan(context: Context, plan: Plan) -> str:
    """The SkyPilot task of the chosen offer as YAML; its working directory is laid out in the state folder.

    One offer only: the guard inside the task counts with one price.

    Raises:
        NothingFitsError, OverBudgetError: the plan chose nothing.
        UsageError: it chose this machine.
        EngineError: the files for the machine cannot be prepared.
    """
    alone = dataclasses.replace(plan, offers=(plan.choice,), chosen=0) if plan.choice else plan
    # The values are masked in what is printed, so that nobody needs to have them for it.
    environment = {**dict.fromkeys(plan.spec.secrets, MASK), **context.environment}
    context = dataclasses.replace(context, environment=environment)
    request, engine = prepare(context, alone, cap_usd=plan.limits.max_usd)
    if engine == LOCAL:
        raise UsageError(
            "the cheapest offer is this machine, which SkyPilot does not launch",
            hint="name a cloud: --render --on aws",
        )
    request = dataclasses.replace(request, run_dir=context.home.rendered_dir / request.run_id)
    return render_yaml(request, upload_dir=stage_upload(request))


def prepare(
    context: Context, plan: Plan, *, cap_usd: Decimal | None, run_id: str | None = None
) -> tuple[LaunchRequest, str]:
    """The launch request of a plan and the name of the engine that carries it; nothing is started or written.

    Raises:
        NothingFitsError, OverBudgetError: the plan chose nothing, or costs more than the cap.
        UsageError: the plan's task cannot be trained yet, its model folder has no weights, its data would not travel.
    """
    _check_trainable(plan)
    choice = plan.choice
    if choice is None:
        raise explain_no_choice(plan)
    if choice.on_paper is not None:
        raise UsageError(
            f"the cheapest offer can be planned, not run: {choice.on_paper}",
            hint="set where.on_paper to false, so that only machines are ranked on which it runs",
        )
    _check_cap(plan, choice, cap_usd)
    _check_travels(plan, choice)
    estimates = tuple(one for one in with_fallbacks(plan, choice) if _leaves_some(one, cap_usd))
    max_duration_s = _max_duration_s(context, plan, estimates, cap_usd)
    run_id = run_id or new_run_id(plan.spec.name, context.clock(), SystemRandom())
    request = LaunchRequest(
        run_id=run_id,
        job=dataclasses.replace(
            build_job(plan, estimates, run_id=run_id, cap_usd=cap_usd, max_duration_s=max_duration_s),
            store=store_of(context, plan.spec, run_id, cloud=choice.offer.cloud),
        ),
        offers=tuple(estimate.offer for estimate in estimates),
        run_dir=context.home.runs_dir / run_id,
        idle_minutes_to_autostop=int(context.config.number("idle_minutes_to_autostop")),
        launch_timeout_s=float(context.config.number("launch_timeout_s")),
        max_duration_s=max_duration_s,
        disks_gib={one.offer.key: one.disk_gib for one in estimates if one.disk_gib is not None},
        beside={one.offer.key: side_usd(one.lines) for one in estimates},
        secrets=_secrets(context, plan),
        spot_recovery=SpotRecovery(context.config.text("spot_recovery")),
        image=plan.spec.where.image,
    )
    engine = LOCAL if choice.offer.cloud == LOCAL else SKY
    if engine == LOCAL and request.image is not None:
        raise UsageError(
            f"this machine does not boot the image {request.image}",
            hint="take where.image out of the run file, or name a cloud with --on",
        )
    return guarded(context, request, estimates, engine=engine, settings=supervise_settings(context)), engine


def _secrets(context: Context, plan: Plan) -> dict[str, str]:
    """Values of the secrets that the run file names, from this environment; refuses where one is missing."""
    if missing := [name for name in plan.spec.secrets if not context.environment.get(name)]:
        raise UsageError(
            f"the run file names secrets that the environment does not have: {', '.join(missing)}",
            hint=f"export {missing[0]}=... in this shell, or take it out of `secrets`",
        )
    secrets = {name: context.environment[name] for name in plan.spec.secrets}
    remember(secrets)
    return secrets


def _check_cap(plan: Plan, choice: Estimate, cap_usd: Decimal | None) -> None:
    """Refuse what the cap does not hold, at the end of the interval that the budget compares."""
    budget, cost = plan.spec.budget, choice.cost_usd
    if cap_usd is None or cost is None:
        return
    cap, hint = format_usd(cap_usd), "raise --max-usd, or choose a smaller model, method or number of epochs"
    if cost_at(budget, cost) > cap_usd:
        raise OverBudgetError(f"the plan costs {cost_told(budget, cost)}, over the cap of {cap}", hint=hint)
    if not _leaves_some(choice, cap_usd):
        once = format_usd(side_usd(choice.lines).usd_once)
        raise OverBudgetError(f"traffic home may cost {once}, which leaves nothing of the cap of {cap}", hint=hint)


def _leaves_some(estimate: Estimate, cap_usd: Decimal | None) -> bool:
    """Whether traffic home leaves something of the cap for machines."""
    once = side_usd(estimate.lines).usd_once
    return cap_usd is None or once == 0 or once < cap_usd


def _check_trainable(plan: Plan) -> None:
    """Refuse what can be planned only, before a machine costs anything."""
    spec = plan.spec
    if not TASK_KINDS[spec.task].is_trained:
        trained = ", ".join(kind.name for kind in TASK_KINDS.values() if kind.is_trained)
        raise UsageError(f"the task {spec.task} can be planned, not run yet", hint=f"tasks that run: {trained}")
    if (reason := reason_to_plan_only(spec.model.source)) is not None:
        raise UsageError(f"{reason}: it can be planned, not run", hint="take a model of the hub with *.safetensors")
    folder = Path(spec.model.source).expanduser()
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"the model folder {folder} has no *.safetensors, so it can be planned, not run",
            hint="put the weights beside config.json; convert pickled ones with `save_pretrained`",
        )


def _check_travels(plan: Plan, choice: Estimate) -> None:
    """Refuse a table that names files on this machine where the run is elsewhere: the table alone would travel."""
    data = Path(plan.spec.data.source).expanduser()
    names_files = TASK_KINDS[plan.spec.task].samples != "tokens" and data.suffix.lower() not in _HOLD_FILES
    if choice.offer.cloud != LOCAL and names_files and data.is_file():
        raise UsageError(
            f"{data.name} names files on this machine, and it alone would be sent",
            hint=f"give the folder that holds table and files: data.source: {data.parent}",
        )


def with_fallbacks(plan: Plan, choice: Estimate) -> tuple[Estimate, ...]:
    """The choice and the next offers that run the very same job as they were estimated: same engine, same micro-batch.

    A micro-batch is the smallest with its number of passes, so that an offer which was estimated with a larger one
    would make more passes with that of the choice, and take longer than its estimate says. A launch that was refused
    is not made again under another name, and behind spot there are machines on demand: spot may be gone everywhere.
    """
    if choice.offer.cloud == LOCAL:
        return (choice,)
    rest = [
        estimate
        for estimate in plan.offers
        if estimate is not choice
        and estimate.offer.cloud != LOCAL
        and estimate.offer.num_nodes == choice.offer.num_nodes
        and estimate.micro_batch == choice.micro_batch
        and _is_trained_alike(estimate, choice)
    ]
    others: list[Estimate] = []
    for one in rest:
        if not any(asks_alike(before.offer, one.offer) for before in (choice, *others)):
            others.append(one)
    demand = [one for one in others if not one.offer.use_spot] if choice.offer.use_spot else []
    spots = [one for one in others if one not in demand][: MOST_FALLBACKS - min(len(demand), MOST_FALLBACKS // 2)]
    kept = [*spots, *demand[: MOST_FALLBACKS - len(spots)]]
    return (choice, *(one for one in others if one in kept))


def _is_trained_alike(one: Estimate, other: Estimate) -> bool:
    """Whether one job file serves both: what it says of the step is the same, and shards stay shards."""
    return (one.precision, one.gradient_checkpointing, one.sharding == FSDP, one.on_paper) == (
        other.precision,
        other.gradient_checkpointing,
        other.sharding == FSDP,
        other.on_paper,
    )


def build_job(
    plan: Plan, estimates: Sequence[Estimate], *, run_id: str, cap_usd: Decimal | None, max_duration_s: float
) -> Job:
    """The job file of a launch; the engine puts what the offer that it takes costs into the guard.

    Args:
        plan: says what the user asked for.
        estimates: the choice, then its fall-backs; checkpoints are written as often as the one that wants most.
        run_id: of the run.
        cap_usd: dollars that the whole run may cost; None: no cap.
        max_duration_s: longest time since the start of billing.
    """
    spec, choice = plan.spec, estimates[0]
    price = choice.offer.price_usd_per_hour
    wanted = [one.checkpoint_every_steps for one in estimates if one.checkpoint_every_steps is not None]
    return Job(
        run_id=run_id,
        task=spec.task,
        model=spec.model,
        data=spec.data,
        method=spec.method,
        training=dataclasses.replace(
            spec.training,
            micro_batch=spec.training.micro_batch or choice.micro_batch,
            precision=choice.precision or spec.training.precision,
            gradient_checkpointing=bool(choice.gradient_checkpointing),
            sharding=choice.sharding if choice.sharding == FSDP else spec.training.sharding,
            checkpoint_every_steps=spec.training.checkpoint_every_steps or min(wanted, default=None),
        ),
        guard=GuardChoice(
            price_usd_per_hour=None if price is None else float(price),
            max_usd=None if cap_usd is None else float(cap_usd),
            max_duration_s=max_duration_s,
        ),
        target=spec.target,
        probe=ProbeChoice(),
    )


@contextmanager
def engines() -> Iterator[dict[str, Engine]]:
    """Both engines by name; worker processes of theirs end with the context."""
    sky = RecoveringSkyEngine()
    try:
        yield {LOCAL: LocalEngine(), SKY: sky}
    finally:
        sky.close()


def supervise_settings(context: Context) -> SuperviseSettings:
    """Patience of supervision, from the settings."""
    return SuperviseSettings(
        cancel_grace_s=float(context.config.number("stop_grace_s")),
        # A watcher takes a client that writes nothing for some heartbeats for one that hangs.
        charge_interval_s=float(context.config.number("heartbeat_s")),
        hang_s=60.0 * float(context.config.number("hang_minutes")) or None,
    )


def _max_duration_s(context: Context, plan: Plan, estimates: tuple[Estimate, ...], cap_usd: Decimal | None) -> float:
    """Longest time from launch to end: the deadline, what the cap buys where it buys most, the user's setting.

    The task itself keeps what the cap buys on the offer that was taken.
    """
    hours = [context.config.number("longest_run_hours")]
    if plan.spec.budget.deadline_hours is not None:
        hours.append(Decimal(str(plan.spec.budget.deadline_hours)))
    if cap_usd is not None:
        bought = [_hours_for(estimate, cap_usd) for estimate in estimates]
        if bought and None not in bought:
            hours.append(max(one for one in bought if one is not None))
    return float(min(hours)) * SECONDS_PER_HOUR


def _hours_for(estimate: Estimate, cap_usd: Decimal) -> Decimal | None:
    """Hours that the cap buys with what is billed besides the machine; None: no end of them, or nobody knows."""
    beside, price = side_usd(estimate.lines), estimate.offer.price_usd_per_hour
    rate = None if price is None else price + beside.usd_per_hour
    return (cap_usd - beside.usd_once) / rate if rate else None
