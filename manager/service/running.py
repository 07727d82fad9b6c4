"""Launch a plan: choose the engine and the fall-backs, write the job, supervise it to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal

from manager.errors import OverBudgetError
from manager.launch.engine import Engine, LaunchRequest
from manager.launch.local import LocalEngine
from manager.launch.sky_engine import SkyEngine
from manager.planner.build import explain_no_choice
from manager.planner.plan import Estimate, Plan
from manager.runs.ledger import Ledger, new_run_id
from manager.runs.supervise import RunOutcome, Update, supervise
from manager.service.context import Context
from tasks.protocol import GuardChoice, Job

LOCAL = "local"
MAX_FALLBACKS = 4


def launch(context: Context, plan: Plan, *, cap_usd: Decimal | None, on_update: Callable[[Update], None]) -> RunOutcome:
    """Carry a plan out: launch its choice, else the next offer with capacity; returns when the machine is gone.

    Args:
        context: surroundings.
        plan: what was shown to the user.
        cap_usd: dollars that the whole run may cost; None: no cap.
        on_update: called for every change, from this thread.

    Raises:
        NothingFitsError, OverBudgetError: the plan chose nothing.
        StateError: the ledger cannot be used; nothing was started.
    """
    request, engine_name = prepare(context, plan, cap_usd=cap_usd)
    with Ledger.open(context.home.ledger_file) as ledger:
        ledger.create_run(
            request.run_id,
            plan=plan,
            run_dir=request.run_dir,
            engine=engine_name,
            cap_usd=cap_usd,
            at_s=context.clock(),
        )
        return supervise(
            request=request,
            engine=engines(context)[engine_name],
            ledger=ledger,
            clock=context.clock,
            on_update=on_update,
            stop_grace_s=float(context.config.number("stop_grace_s")),
        )


def prepare(context: Context, plan: Plan, *, cap_usd: Decimal | None) -> tuple[LaunchRequest, str]:
    """The launch request of a plan and the engine that carries it; nothing is started or written.

    Raises:
        NothingFitsError, OverBudgetError: the plan chose nothing, or the cap lies under the estimate.
    """
    choice = plan.choice
    if choice is None:
        raise explain_no_choice(plan)
    if cap_usd is not None and choice.cost_usd is not None and choice.cost_usd.expected > cap_usd:
        raise OverBudgetError(
            f"the plan expects ${choice.cost_usd.expected:.2f}, over the cap of ${cap_usd}",
            hint="raise --max-usd, or plan again with it",
        )
    estimates = _with_fallbacks(plan, choice, cap_usd)
    run_id = new_run_id(plan.spec.name, context.clock())
    deadline_hours = plan.spec.budget.deadline_hours
    request = LaunchRequest(
        run_id=run_id,
        job=build_job(plan, estimates, run_id=run_id, cap_usd=cap_usd),
        offers=tuple(estimate.offer for estimate in estimates),
        run_dir=context.home.runs_dir / run_id,
        idle_minutes_to_autostop=int(context.config.number("idle_minutes_to_autostop")),
        launch_timeout_s=float(context.config.number("launch_timeout_s")),
        max_duration_s=None if deadline_hours is None else deadline_hours * 3600,
    )
    return request, LOCAL if choice.offer.cloud == LOCAL else "sky"


def engines(context: Context) -> dict[str, Engine]:
    """Both engines by name."""
    return {LOCAL: LocalEngine(python=sys.executable), "sky": SkyEngine(python=sys.executable)}


def build_job(plan: Plan, estimates: tuple[Estimate, ...], *, run_id: str, cap_usd: Decimal | None) -> Job:
    """The job file of a launch; its guard counts with the dearest of the offers that may be taken."""
    spec = plan.spec
    prices = [e.offer.price_usd_per_hour for e in estimates if e.offer.price_usd_per_hour is not None]
    training = _replace_micro_batch(plan, estimates)
    deadline_hours = spec.budget.deadline_hours
    return Job(
        run_id=run_id,
        task=spec.task,
        model=spec.model,
        data=spec.data,
        method=spec.method,
        training=training,
        guard=GuardChoice(
            price_usd_per_hour=float(max(prices)) if prices else None,
            max_usd=None if cap_usd is None else float(cap_usd),
            max_duration_s=None if deadline_hours is None else deadline_hours * 3600,
        ),
        target=spec.target,
    )
