"""`run`: show the plan, ask, launch, stream, tear down, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.attach_command import run_detached
from manager.cli.output import console, emit, emit_json, narrate
from manager.cli.plan_command import CatalogsOption, FileArgument, MaxUsdOption, OnOption, parse_usd
from manager.cli.preflight_command import before_launch
from manager.cli.run_end import report_end
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, StateError, UsageError
from manager.service.context import Context, open_context
from manager.spec.model import Requoting

if TYPE_CHECKING:
    from manager.planner.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    file: FileArgument = DEFAULT_FILE,
    on: OnOption = None,
    max_usd: MaxUsdOption = None,
    catalogs: CatalogsOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needs --max-usd.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Also write the report to this HTML file.")] = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="ID", help="Launch a saved plan (an id of `plans`, or its unique beginning)."),
    ] = None,
    replan: Annotated[
        bool, typer.Option("--replan", help="With --plan: plan its question anew, and launch that.")
    ] = False,
    render: Annotated[bool, typer.Option("--render", help="Print the SkyPilot task instead of launching it.")] = False,
    skip_preflight: Annotated[
        bool, typer.Option("--skip-preflight", help="Launch without the checks of `tunefare preflight`.")
    ] = False,
    requote: Annotated[
        Requoting | None,
        typer.Option(
            "--requote", help="What follows where the machine measures more than was quoted (budget.requote)."
        ),
    ] = None,
    requote_above: Annotated[
        float | None,
        typer.Option(
            "--requote-above", min=0, max=100, metavar="SHARE", help="Share above the quote that is fine; 0.25."
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Let a process of its own supervise the run; prints the run's id.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, schema 1.")] = False,
) -> int:
    """Plan, ask, launch, stream metrics and dollars, tear down, and report."""
    # The planner's and the ledger's libraries: `--help` must not wait for them.
    from manager.cli.launch_view import confirm
    from manager.cli.live_view import LiveView
    from manager.cli.plan_view import print_plan
    from manager.cli.requote_question import ask, can_ask
    from manager.service.launch_terms import launch_terms
    from manager.service.planning import explain_no_choice, plan_to_json
    from manager.service.running import launch, render_plan

    cap = parse_usd(max_usd)
    if yes and cap is None and not render:
        raise UsageError("--yes needs --max-usd", hint="say what the run may cost: --yes --max-usd 5")
    if detach and (render or html is not None):
        raise UsageError(
            "--detach returns before there is anything to write", hint="later: tunefare attach RUN --html FILE"
        )
    context = open_context()
    _tell_left(context)
    tell = None if as_json else narrate
    if plan is not None:
        _check_alone(file, on)
        # A plan that is shown has these sentences among its notes.
        is_shown = not (render or (yes and as_json))
        made = _saved(context, plan, cap, catalogs=catalogs, replan=replan, is_shown=is_shown, tell=tell)
    elif replan:
        raise UsageError("--replan is for --plan", hint="without it a run is planned anew anyway")
    else:
        made = _planned(context, file, on, cap, catalogs=catalogs, tell=tell)
    made = _requoting(made, requote, requote_above)
    if made.chosen is None:
        if not as_json:
            print_plan(made, console(), top=5)
        raise explain_no_choice(made)
    if render:
        emit(render_plan(context, made))
        narrate(
            "used by hand with `sky launch`, ledger, teardown and the cap at home are yours; the task keeps its own"
        )
        return ExitCode.DONE
    if as_json and not detach:
        emit_json({"schema": 1, "type": "plan", "plan": plan_to_json(made)}, indent=None)
    if not yes or not as_json:
        print_plan(made, console(to_stderr=as_json), top=5)
    cap = made.limits.max_usd
    if not skip_preflight:
        before_launch(context, made, cap_usd=cap, catalogs=catalogs, as_json=as_json and not detach)
    if not yes:
        terms = launch_terms(context, made)
        confirm(terms)
        cap = terms.cap_usd
    if detach:
        return run_detached(context, made, cap_usd=cap, as_json=as_json)
    with LiveView(steps=made.profile.steps, as_json=as_json) as view:
        answers = ask if can_ask() and not as_json else None
        outcome = launch(context, made, cap_usd=cap, on_update=view.update, ask=answers)
    run_id, exit_code, error = outcome.record.run_id, outcome.exit_code, outcome.error
    return report_end(context, run_id, exit_code=exit_code, error=error, html=html, as_json=as_json)


def _requoting(made: Plan, requote: Requoting | None, above: float | None) -> Plan:
    """The plan with what the command line says of a renewed quote."""
    budget = made.spec.budget
    rule = budget.requote if requote is None else str(requote)
    tolerated = budget.requote_above if above is None else above
    changed = dataclasses.replace(budget, requote=rule, requote_above=tolerated)
    return dataclasses.replace(made, spec=dataclasses.replace(made.spec, budget=changed))


def _tell_left(context: Context) -> None:
    """Before something new is billed: what is billed already and has nobody."""
    from manager.service.watching import unsupervised  # as above

    # A ledger that cannot be used is told of by the launch itself.
    with suppress(StateError):
        left = unsupervised(context)
        if left:
            narrate(f"WARNING: nobody supervises what may be billed: {', '.join(left)}; `tunefare watch --once` does")


def _planned(
    context: Context,
    file: Path,
    on: str | None,
    cap: Decimal | None,
    *,
    catalogs: Path | None,
    tell: Callable[[str], None] | None,
) -> Plan:
    from manager.service.planning import narrowed, plan_job  # as above
    from manager.service.starting import load_spec

    return plan_job(context, narrowed(load_spec(file), on=on, max_usd=cap), catalogs=catalogs, tell=tell)


def _saved(
    context: Context,
    plan_id: str,
    cap: Decimal | None,
    *,
    catalogs: Path | None,
    replan: bool,
    is_shown: bool,
    tell: Callable[[str], None] | None,
) -> Plan:
    """A saved plan at today's prices, or the answer of today to its question; what moved since is told."""
    from manager.planner.difference import difference  # as above
    from manager.reports.plan_difference import headline
    from manager.service.planned_run import capped, revisit
    from manager.service.planning import plan_job
    from manager.service.saved_plans import find_plan

    plan = capped(find_plan(context, plan_id), cap)
    if replan:
        made = plan_job(context, plan.spec, catalogs=catalogs, tell=tell)
        narrate(f"plan {plan.plan_id} made anew as {made.plan_id}: {headline(difference(plan, made))}")
        return made
    found = revisit(context, plan, catalogs=catalogs)
    for sentence in () if is_shown else found.told:
        narrate(f"plan {plan.plan_id}: {sentence}")
    return found.plan


def _check_alone(file: Path, on: str | None) -> None:
    """A saved plan has its own question; what would change it is refused."""
    if file != DEFAULT_FILE:
        raise UsageError(f"{file} and --plan are two questions", hint="give a run file, or --plan ID")
    if on is not None:
        raise UsageError(
            "a saved plan has its machine already, and --on chooses one",
            hint="leave out --on; for another machine plan anew: tunefare run --on ...",
        )
