"""`worth`: does the tuning pay, from when on, and what else would."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import console, emit_json, narrate
from manager.cli.plan_command import CatalogsOption, FileArgument
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context

if TYPE_CHECKING:
    from manager.planner.worth_question import Quantity


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worth")(worth)


def worth(
    file: FileArgument = DEFAULT_FILE,
    metric: Annotated[str | None, typer.Option("--metric", help="Default: the run file's target or metric.")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Score of the present solution, a share such as 0.81.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Score to be reached; default: target in the run file.")
    ] = None,
    gain_points: Annotated[
        str | None, typer.Option("--gain-points", help="In place of a target: points gained, low,expected,high.")
    ] = None,
    usd_per_point: Annotated[
        str | None,
        typer.Option("--usd-per-point", help="Dollars that one point (0.01 of the metric) is worth over all months."),
    ] = None,
    replaces: Annotated[
        str | None, typer.Option("--replaces-usd-per-month", help="What is paid today, an API bill say.")
    ] = None,
    serving: Annotated[
        str | None, typer.Option("--serving-usd-per-month", help="What the tuned model will cost to serve.")
    ] = None,
    months: Annotated[int, typer.Option("--months", help="Horizon.")] = 12,
    once_usd: Annotated[str | None, typer.Option("--once-usd", help="Labelling and people, paid once.")] = None,
    again: Annotated[
        int | None, typer.Option("--again-every-months", help="How often the model is tuned again.")
    ] = None,
    runs: Annotated[
        str | None,
        typer.Option("--runs", help="Runs until one is good enough: 3, or 1,3,10; default: an assumption."),
    ] = None,
    catalogs: CatalogsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Cost against value, break-even, a recommendation with its reason. Free, offline, no account needed."""
    # The planner's libraries cost 0.3 s to load: `--help` must not wait for them.
    from manager.cli.worth_view import print_worth, worth_to_json
    from manager.service.starting import load_spec
    from manager.service.worth import Stakes, worth_report

    stakes = Stakes(
        metric=metric,
        baseline=_number("--baseline", baseline),
        target=_number("--target", target),
        gain_points=_three("--gain-points", gain_points),
        usd_per_point=_number("--usd-per-point", usd_per_point),
        replaces_usd_per_month=_number("--replaces-usd-per-month", replaces),
        serving_usd_per_month=_number("--serving-usd-per-month", serving),
        months=months,
        once_usd=_number("--once-usd", once_usd),
        again_every_months=again,
        runs=_three("--runs", runs),
    )
    report = worth_report(open_context(), load_spec(file), stakes, catalogs=catalogs, tell=None if as_json else narrate)
    if as_json:
        emit_json(worth_to_json(report))
    else:
        print_worth(report, console())
        advised = report.recommendation.tuning
        if advised is not None and advised.plan_id is not None:
            narrate(f"next: tunefare run --plan {advised.plan_id}")
    return ExitCode.DONE


def _number(option: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return Decimal(text.strip().removeprefix("$"))
    except InvalidOperation as error:
        raise UsageError(f"{option} {text!r} is not a number", hint="give a number, such as 0.81 or 200") from error


def _three(option: str, text: str | None) -> Quantity | None:
    """`3`, or `low,expected,high`."""
    if text is None:
        return None
    from manager.planner.worth_question import Quantity  # As above.

    numbers = [_number(option, part) for part in text.split(",")]
    if len(numbers) not in (1, 3):
        raise UsageError(f"{option} {text!r} is neither one number nor three", hint="give 3, or low,expected,high")
    low, expected, high = (number or Decimal(0) for number in (numbers * 3)[:3])
    return Quantity(low=low, expected=expected, high=high)
