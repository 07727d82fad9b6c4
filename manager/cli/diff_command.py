"""`diff`: what a change of the run file does to memory, hours and dollars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import console, emit, emit_json, narrate
from manager.cli.plan_command import CatalogsOption, parse_usd
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context

if TYPE_CHECKING:
    from manager.planner.difference import PlanDifference
    from manager.planner.difference_limits import Limits
    from manager.service.differing import Comparer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diff")(diff)


def diff(
    plans: Annotated[
        list[str],
        typer.Argument(
            metavar="OLD NEW",
            help="Each a run file (planned now), the id of a saved plan, or a file of `plan --json`; OLD may be - for "
            "standard input. With --git: run files.",
        ),
    ],
    git: Annotated[
        str | None,
        typer.Option("--git", metavar="REV", help="Compare each run file with what it was in this revision of git."),
    ] = None,
    relative_to: Annotated[
        Path | None,
        typer.Option(
            "--relative-to",
            metavar="DIR",
            help="Where relative paths of OLD start; its own folder, and that of NEW for standard input.",
        ),
    ] = None,
    catalogs: CatalogsOption = None,
    fail_over_usd: Annotated[
        str | None, typer.Option("--fail-over-usd", metavar="X", help="Exit with 6 when expected dollars rise by more.")
    ] = None,
    fail_over_percent: Annotated[
        str | None,
        typer.Option(
            "--fail-over-percent", metavar="X", help="Exit with 6 when expected dollars rise by more per cent."
        ),
    ] = None,
    fail_over_hours: Annotated[
        str | None, typer.Option("--fail-over-hours", metavar="X", help="Exit with 6 when expected hours rise by more.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="A comment for a pull request.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable, schema 1; with --git one line per run file.")
    ] = False,
) -> int:
    """Compare two plans: what was asked, memory, hours and dollars line by line. Free and offline, as `plan`."""
    # The planner's libraries: `--help` must not wait for them.
    from manager.planner.difference_limits import exceeded
    from manager.service.differing import Comparer

    if markdown and as_json:
        raise UsageError("--markdown and --json exclude each other", hint="choose one")
    limits = _limits(fail_over_usd, fail_over_percent, fail_over_hours)
    comparer = Comparer(open_context(), catalogs=catalogs, tell=narrate)
    is_over = False
    for position, (name, found) in enumerate(_compared(comparer, plans, git=git, relative_to=relative_to)):
        over = exceeded(found, limits)
        is_over = is_over or bool(over)
        if markdown and position:
            emit("")
        _show(found, name=name, over=over, markdown=markdown, as_json=as_json, indent=2 if git is None else None)
        for sentence in over:
            narrate(f"over a limit: {name or found.new.name}: {sentence}")
    return ExitCode.OVER_LIMIT if is_over else ExitCode.DONE


def _compared(
    comparer: Comparer, plans: list[str], *, git: str | None, relative_to: Path | None
) -> Iterator[tuple[str | None, PlanDifference]]:
    if git is not None:
        if relative_to is not None:
            raise UsageError("--relative-to is for two plans", hint="with --git, paths start in the file's folder")
        for file in plans:
            yield file, comparer.compare_with_revision(Path(file), git)
        return
    if len(plans) != 2:
        raise UsageError(
            f"diff compares two plans, {len(plans)} are given",
            hint="tunefare diff OLD NEW, or tunefare diff --git main FILE...",
        )
    if relative_to is not None and not relative_to.is_dir():
        raise UsageError(f"{relative_to} is no folder", hint="name the folder in which relative paths of OLD start")
    yield None, comparer.compare(*plans, relative_to=relative_to, read_stdin=_stdin)


def _show(
    found: PlanDifference, *, name: str | None, over: tuple[str, ...], markdown: bool, as_json: bool, indent: int | None
) -> None:
    if as_json:
        from manager.reports.plan_difference_json import difference_to_json

        emit_json(difference_to_json(found, name=name, over=over), indent=indent)
    elif markdown:
        from manager.reports.plan_difference_markdown import difference_markdown

        emit(difference_markdown(found, title=name, over=over).rstrip("\n"))
    else:
        from manager.cli.diff_view import print_difference

        print_difference(found, console(), name=name, over=over)


def _stdin() -> str:
    if sys.stdin.isatty():
        raise UsageError(
            "OLD is - and standard input is a terminal", hint="git show main:run.yaml | tunefare diff - NEW"
        )
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("standard input is no text in UTF-8", hint="a run file is YAML in UTF-8") from error


def _limits(usd: str | None, percent: str | None, hours: str | None) -> Limits:
    from manager.planner.difference_limits import Limits

    dollars = parse_usd(usd)
    if dollars is not None:
        _check(dollars, "--fail-over-usd")
    part = _number(percent, "--fail-over-percent", "%")
    time = _number(hours, "--fail-over-hours", "h")
    return Limits(usd=dollars, percent=part, hours=None if time is None else float(time))


def _number(text: str | None, option: str, unit: str) -> Decimal | None:
    if text is None:
        return None
    try:
        value = Decimal(text.removesuffix(unit).strip())
    except InvalidOperation as error:
        raise UsageError(f"{option} {text!r} is no number", hint=f"give a number of {unit}, such as 10") from error
    _check(value, option)
    return value


def _check(value: Decimal, option: str) -> None:
    if not value.is_finite() or value < 0:
        raise UsageError(f"{option} {value} is no limit", hint="give a number that is not negative")
