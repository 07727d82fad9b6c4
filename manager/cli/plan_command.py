"""`plan`: what the job would cost on every machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manager.cli.limit_options import (
    CloudsOption,
    ConfidenceOption,
    DeadlineOption,
    GpusOption,
    NodesOption,
    OnPaperOption,
    RegionsOption,
    SpotOption,
    names,
)
from manager.cli.output import console, emit_json, narrate
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, UsageError
from manager.service.context import Context, open_context

if TYPE_CHECKING:
    from manager.planner.plan import Plan
    from manager.service.planning import OpenJob
    from manager.spec.model import RunSpec

DEFAULT_TOP = 10
_MOST_TOP = 10_000
_LEAST_COMPARED = 2

FileArgument = Annotated[Path, typer.Argument(help="Run file.")]
OnOption = Annotated[
    str | None, typer.Option("--on", help="local, slurm, aws, gcp, ... or cheapest (the default: all of them).")
]
CatalogsOption = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of price catalogs in SkyPilot's layout.")
]
MaxUsdOption = Annotated[str | None, typer.Option("--max-usd", "--budget", help="Cap on the whole run, in dollars.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan)


def plan(
    file: FileArgument = DEFAULT_FILE,
    on: OnOption = None,
    max_usd: MaxUsdOption = None,
    deadline: DeadlineOption = None,
    confidence: ConfidenceOption = None,
    clouds: CloudsOption = None,
    regions: RegionsOption = None,
    gpus: GpusOption = None,
    spot: SpotOption = None,
    nodes: NodesOption = None,
    on_paper: OnPaperOption = None,
    catalogs: CatalogsOption = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, max=_MOST_TOP, help="How many offers to show; 10, and 200 with --json."),
    ] = None,
    why: Annotated[
        str | None,
        typer.Option("--why", metavar="OFFER", help="One offer in full, chosen or not: its key, or a part of it."),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="OFFERS", help="Two offers or more side by side: keys, or parts of them."),
    ] = None,
    pareto: Annotated[
        bool,
        typer.Option("--pareto", help="Only offers that none beats in both dollars and hours (by 1 % of the time)."),
    ] = False,
    constraints: Annotated[
        bool, typer.Option("--constraints", help="What each limit costs, and what one more would.")
    ] = False,
    buys: Annotated[
        str | None, typer.Option("--buys", metavar="USD", help="What so many dollars buy: epochs, tokens, model size.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Estimate memory, hours and dollars on every offer. Free, offline, no account needed."""
    # The planner's libraries cost 0.3 s to load: `--help` must not wait for them.
    from manager.service.overlay import Overlay, clouds_of, overlaid
    from manager.service.planning import can_run, open_job, settle
    from manager.service.starting import load_spec

    if on is not None and clouds is not None:
        raise UsageError("--on and --clouds both say where", hint="give one of them: --clouds aws,gcp")
    context = open_context()
    overlay = Overlay(
        max_usd=parse_usd(max_usd),
        deadline_hours=deadline,
        confidence=confidence,
        clouds=names(clouds) or clouds_of(on),
        regions=names(regions),
        accelerators=names(gpus),
        spot=spot,
        max_nodes=nodes,
        on_paper=on_paper,
    )
    asked = load_spec(file)
    spec = overlaid(asked, overlay)
    tell = None if as_json else narrate
    if (money := parse_usd(buys)) is not None:
        return _show_purchase(context, spec, money, catalogs, top=top, as_json=as_json)
    job = open_job(context, spec, catalogs=catalogs, tell=tell)
    made = settle(context, job.plan())
    if why is not None:
        return _show_one(job, made, why, as_json=as_json)
    if compare is not None:
        return _show_compared(job, names(compare) or (), as_json=as_json)
    if as_json:
        emit_json(_to_json(job, made, top=top, has_constraints=constraints))
    else:
        _print(job, made, top=top or DEFAULT_TOP, is_pareto=pareto, has_constraints=constraints)
        if made.choice is not None and made.choice.on_paper is None and can_run(made.spec):
            # Flags are in the saved plan, and not in the file.
            narrate(f"next: tunefare run {file if spec == asked else f'--plan {made.plan_id}'}")
    if made.chosen is None:
        from manager.planner.build import explain_no_choice

        raise explain_no_choice(made)
    return ExitCode.DONE


def _to_json(job: OpenJob, made: Plan, *, top: int | None, has_constraints: bool) -> dict[str, Any]:
    from manager.planner.codec import limit_costs_to_json, plan_to_json

    shown = made
    if top is not None:
        offers = made.offers[:top] if top <= len(made.offers) else tuple(job.top(top))
        shown = dataclasses.replace(made, offers=offers, rejected=made.rejected[:top])
    record = plan_to_json(shown)
    if has_constraints:
        record["constraints"] = limit_costs_to_json(job.limit_costs())
    return record


def _print(job: OpenJob, made: Plan, *, top: int, is_pareto: bool, has_constraints: bool) -> None:
    from manager.cli.limits_view import print_limit_costs, print_pareto
    from manager.cli.plan_view import print_plan

    out = console()
    if top > len(made.offers):
        made = dataclasses.replace(made, offers=tuple(job.top(top)))
    if is_pareto:
        print_pareto(made, out)
    else:
        print_plan(made, out, top=top)
    if has_constraints:
        print_limit_costs(job.limit_costs(), out)


def _show_one(job: OpenJob, made: Plan, key: str, *, as_json: bool) -> int:
    from manager.cli.limits_view import print_why, why_to_json
    from manager.planner.spot_break_even import spot_break_even

    estimate = job.find(key)
    break_even = spot_break_even(job.planner, estimate, job.spec.where)
    if as_json:
        emit_json(why_to_json(estimate, break_even))
    else:
        print_why(estimate, console(), break_even, made.choice)
    return ExitCode.DONE


def _show_compared(job: OpenJob, keys: Sequence[str], *, as_json: bool) -> int:
    from manager.cli.compare_view import compared_to_json, print_compared

    if len(keys) < _LEAST_COMPARED:
        raise UsageError(
            "--compare wants two offers or more", hint="separate their keys by commas: --compare L4:1,H100:1"
        )
    estimates = [job.find(key) for key in keys]
    if as_json:
        emit_json(compared_to_json(estimates))
    else:
        print_compared(estimates, console())
    return ExitCode.DONE


def _show_purchase(
    context: Context, spec: RunSpec, usd: Decimal, catalogs: Path | None, *, top: int | None, as_json: bool
) -> int:
    from manager.cli.buys_view import print_purchase, purchase_to_json
    from manager.service.buying import what_buys

    purchase = what_buys(context, spec, usd, catalogs=catalogs, tell=None if as_json else narrate)
    if as_json:
        emit_json(purchase_to_json(purchase, top=top))
    else:
        print_purchase(purchase, console(), top=top or DEFAULT_TOP)
    return ExitCode.DONE


def parse_usd(text: str | None) -> Decimal | None:
    """Dollars from the command line.

    Raises:
        UsageError: not a number.
    """
    if text is None:
        return None
    try:
        return Decimal(text.removeprefix("$"))
    except InvalidOperation as error:
        raise UsageError(f"{text!r} is not an amount in dollars", hint="give a number, such as 2.50") from error
