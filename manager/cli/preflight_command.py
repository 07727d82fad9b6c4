"""`preflight`: what can be known before anything costs, a line a check; `run` makes the same checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import emit, emit_json, narrate, wrapped
from manager.cli.plan_command import CatalogsOption, FileArgument, MaxUsdOption, OnOption, parse_usd
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode
from manager.service.context import Context, open_context

if TYPE_CHECKING:
    from manager.planner.plan import Plan
    from manager.service.preflight import Preflight

_NAME_WIDTH = 12
_STATE_WIDTH = 8


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("preflight")(preflight)


def preflight(
    file: FileArgument = DEFAULT_FILE,
    on: OnOption = None,
    max_usd: MaxUsdOption = None,
    catalogs: CatalogsOption = None,
    plan: Annotated[
        str | None,
        typer.Option("--plan", metavar="ID", help="Check a saved plan (an id of `plans`, or its unique beginning)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Check credentials, quota, bucket, data, one step on this CPU, disk and price. Launches nothing."""
    # The planner's libraries: `--help` must not wait for them.
    from manager.service.planning import explain_no_choice, narrowed, plan_job
    from manager.service.preflight import CheckState, preflight_to_json
    from manager.service.preflight import preflight as checks
    from manager.service.saved_plans import find_plan
    from manager.service.starting import load_spec

    context = open_context()
    cap = parse_usd(max_usd)
    if plan is None:
        spec = narrowed(load_spec(file), on=on, max_usd=cap)
        made = plan_job(context, spec, catalogs=catalogs, tell=None if as_json else narrate)
    else:
        made = find_plan(context, plan)
    if made.choice is None:
        raise explain_no_choice(made)
    if not as_json:
        narrate(f"before a launch on {made.choice.offer.key} (plan {made.plan_id}):")
    found = _told(checks(context, made, cap_usd=made.limits.max_usd, catalogs=catalogs), None if as_json else emit)
    if as_json:
        lines = [preflight_to_json(one) for one in found]
        emit_json({"schema": 1, "plan_id": made.plan_id, "offer": made.choice.offer.key, "checks": lines})
    return ExitCode.TASK_FAILED if any(one.state is CheckState.FAILED for one in found) else ExitCode.DONE


def before_launch(
    context: Context, made: Plan, *, cap_usd: Decimal | None, catalogs: Path | None, as_json: bool
) -> None:
    """Make the checks, tell them, and refuse a launch that one of them speaks against.

    Raises:
        UsageError: a check failed.
    """
    from manager.service.preflight import check_launch, preflight_to_json  # As above.
    from manager.service.preflight import preflight as checks

    if not as_json:
        narrate("checking before anything costs (--skip-preflight leaves this out):")
    asked = checks(context, made, cap_usd=cap_usd, catalogs=catalogs, is_launch=True)
    found = _told(asked, None if as_json else narrate)
    for one in found if as_json else ():
        emit_json({"schema": 1, "type": "preflight", **preflight_to_json(one)}, indent=None)
    check_launch(found)


def _told(checks: Iterable[Preflight], tell: Callable[[str], None] | None) -> list[Preflight]:
    """All checks, each told as soon as it is through."""
    found = []
    for one in checks:
        found.append(one)
        if tell is not None:
            for line in _lines(one):
                tell(line)
    return found


def _lines(one: Preflight) -> list[str]:
    margin = " " * (_NAME_WIDTH + _STATE_WIDTH + 3)
    lines = wrapped(f"  {one.name:<{_NAME_WIDTH}}{one.state:<{_STATE_WIDTH}} {one.text}", margin=margin)
    return lines if one.hint is None else [*lines, *wrapped(f"{margin}{one.hint}", margin=margin)]
