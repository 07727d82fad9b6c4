"""`runs`: the list of all runs, and the part of it that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from manager.cli.limit_options import names
from manager.cli.output import console, emit_json, narrate
from manager.errors import ExitCode, UsageError
from manager.service.context import open_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manager.runs.summary import RunSummary

_WIDE = 120
"""Columns of a terminal from which on the estimate and the metric have room."""
_NEWEST = "newest"


def runs(
    words: Annotated[list[str] | None, typer.Argument(help="Words that a run's line must have.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only in this state; several times: any.")] = None,
    project: Annotated[str | None, typer.Option("--project", help="Only of this project.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only launched by this user.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Created since 2026-11-21 (UTC), 12h, 7d, 2w.")] = None,
    may_bill: Annotated[bool, typer.Option("--may-bill", help="Only what may be billed now.")] = False,
    sort: Annotated[
        str, typer.Option("--sort", help="newest, oldest, cost, hours, ratio, metric, name, project, user or state.")
    ] = _NEWEST,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first of them.")] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="RUNS", help="Two runs or more side by side: ids, or their beginnings."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1, one line a run.")] = False,
) -> int:
    """All runs, newest first; what may still be billed stands on top."""
    if compare is not None:
        _check_alone(words, state, project=project, user=user, since=since, may_bill=may_bill, sort=sort, limit=limit)
        return _show_compared(names(compare) or (), as_json=as_json)
    # The ledger's libraries: `--help` must not wait for them.
    from manager.service.inspection import run_json
    from manager.service.run_list import RunChoice, billing_text, choose_runs, moment_s, records_of, run_summaries

    context = open_context()
    choice = RunChoice(
        text=" ".join(words or ()),
        states=tuple(state or ()),
        project=project,
        user=user,
        since_s=None if since is None else moment_s(since, context.clock()),
        may_bill=may_bill,
        sort=sort,
        limit=limit,
    )
    everything = run_summaries(context)
    found = choose_runs(everything, choice)
    if as_json:
        for record in records_of(context, found):
            emit_json(run_json(context, record), indent=None)
        return ExitCode.DONE
    if not everything:
        narrate("no runs yet")
        narrate("next: tunefare init, then tunefare plan")
        return ExitCode.DONE
    if found:
        _print(found)
    else:
        narrate(f"none of {len(everything):,} runs is asked for")
    billing = billing_text(everything)
    if billing is not None:
        narrate(f"{billing}; to end them all: tunefare panic")
    return ExitCode.DONE


def _check_alone(
    words: list[str] | None,
    state: list[str] | None,
    *,
    project: str | None,
    user: str | None,
    since: str | None,
    may_bill: bool,
    sort: str,
    limit: int | None,
) -> None:
    """Refuse what chooses or orders runs beside --compare, which names them in their order.

    Raises:
        UsageError: with the names of these options.
    """
    given = {
        "WORDS": words,
        "--state": state,
        "--project": project,
        "--user": user,
        "--since": since,
        "--may-bill": may_bill,
        "--sort": None if sort == _NEWEST else sort,
        "--limit": limit,
    }
    named = [name for name, value in given.items() if value]
    if named:
        raise UsageError(
            f"--compare names its runs; {', '.join(named)} would choose others",
            hint="leave one of them out: tunefare runs --compare RUN,RUN",
        )


def _show_compared(run_ids: Sequence[str], *, as_json: bool) -> int:
    from manager.cli.compare_view import print_side_by_side, rows_to_json  # reports' libraries: only here
    from manager.service.run_compare import runs_side_by_side  # as above

    if len(run_ids) < 2:
        raise UsageError("--compare wants two runs or more", hint="separate their ids by commas: --compare a-1,a-2")
    rows = runs_side_by_side(open_context(), run_ids)
    if as_json:
        emit_json({"schema": 1, "runs": list(run_ids), "rows": rows_to_json(rows)})
    else:
        print_side_by_side(rows, run_ids, console())
    return ExitCode.DONE


_ROOM_FOR_SECONDS = 90
"""Columns from which on a start is told with its year and to the second."""
_YEAR = len("2026-")


def _print(found: Sequence[RunSummary]) -> None:
    from manager.units import format_usd  # only for tables

    screen = console()
    is_wide = screen.width >= _WIDE
    table = Table(box=None, pad_edge=False)
    table.add_column("cost", justify="right", no_wrap=True)
    if is_wide:
        table.add_column("of estimate", justify="right", no_wrap=True)
    # Dollars and the id, which has to be typed, are whole on any terminal.
    table.add_column("state", no_wrap=is_wide, overflow="fold", min_width=None if is_wide else 11)
    for title in ("run", "started (UTC)"):
        table.add_column(title, no_wrap=True)
    if is_wide:
        table.add_column("before -> after tuning", no_wrap=True)
    table.add_column("machine", overflow="fold")
    for run in found:
        cells = [format_usd(run.cost_usd), _ratio(run), *_names(run), _metric(run), escape(run.machine or "-")]
        if not is_wide:
            if screen.width < _ROOM_FOR_SECONDS:
                cells[4] = cells[4][_YEAR:].rpartition(":")[0]
            del cells[5], cells[1]
        table.add_row(*cells)
    screen.print(table)


def _names(run: RunSummary) -> list[str]:
    from datetime import UTC, datetime  # only for tables

    from manager.service.state_words import state_words  # as above

    started = datetime.fromtimestamp(run.created_at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [state_words(run.state, has_client=run.has_client), run.run_id, started]


def _ratio(run: RunSummary) -> str:
    return "-" if run.cost_ratio is None else f"{run.cost_ratio:.2f}x"


def _metric(run: RunSummary) -> str:
    if run.metric is None or (run.metric_before is None and run.metric_after is None):
        return "-"
    from manager.reports.wording import metric_value  # only for tables

    before, after = (metric_value(run.metric, value, 1) for value in (run.metric_before, run.metric_after))
    return f"{run.metric} {before} -> {after}"
