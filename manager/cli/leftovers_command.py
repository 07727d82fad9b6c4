"""`leftovers`: what providers still bill under the tag of runs, and its removal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.limit_options import names
from manager.cli.output import console, emit, emit_json, narrate
from manager.errors import EngineError, ExitCode, StateError, TeardownUnconfirmedError, UsageError
from manager.service.context import Context, open_context

if TYPE_CHECKING:
    from rich.table import Table

    from manager.service.leftover_ends import Removal
    from manager.service.leftovers_report import Leftover, Leftovers


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("leftovers")(leftovers)


def leftovers(
    clouds: Annotated[
        str | None, typer.Option("--clouds", help="Only these, with a comma; default: those that runs were on.")
    ] = None,
    regions: Annotated[
        str | None, typer.Option("--regions", help="Of AWS, with a comma; default: all that are enabled.")
    ] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="ID", help="Remove this one; asks first.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Machines, disks, addresses and folders in buckets that runs left, with what they cost a month."""
    # The ledger's and the clouds' libraries: `--help` must not wait for them.
    from manager.service.leftover_ends import find_one
    from manager.service.leftovers import find_leftovers_anyway
    from manager.service.leftovers_report import leftovers_to_json

    context = open_context()
    if not as_json:
        narrate("asking the providers ...")
    found, ledger_error = find_leftovers_anyway(context, clouds=names(clouds) or (), regions=names(regions) or ())
    if ledger_error is not None and remove is not None:
        raise ledger_error
    if ledger_error is not None:
        narrate(f"tunefare: error: {ledger_error.message}")
        narrate("which run a thing is of is told by the folders of runs alone")
    if remove is not None:
        return _remove(context, find_one(found, remove), yes=yes, as_json=as_json)
    if as_json:
        emit_json(leftovers_to_json(found))
    else:
        _show(found)
    _warn(found)
    if ledger_error is not None:
        raise StateError("what a thing costs, and whether its run lives, was not looked up", hint=ledger_error.hint)
    if found.silent_of_runs:
        raise EngineError(
            f"{', '.join(found.silent_of_runs)} did not answer: what is there is unknown",
            hint="the reasons stand above; ask again when it answers",
        )
    return ExitCode.DONE


def _show(found: Leftovers) -> None:
    from manager.service.leftover_words import partial_words, total_words  # as above

    if found.items:
        screen = console()
        screen.print(_table(found))
        emit(f"{total_words(found.items)}; disks, addresses and buckets at list prices of {found.prices_as_of}")
    else:
        told = ", ".join(found.asked)
        unknown = "; but not everybody answered" if found.silent else ""
        emit(f"nothing was found under the tag of a run ({told}){unknown}" if told else "nobody was asked")
    for sentence in partial_words(found):
        narrate(sentence)


def _table(found: Leftovers) -> Table:
    from rich.markup import escape  # only for tables
    from rich.table import Table

    from manager.service.leftover_words import price_words, standing_words
    from manager.service.leftovers_report import Standing

    table = Table(box=None, pad_edge=False)
    for name in ("what", "where", "id", "state", "run"):
        table.add_column(name, overflow="fold")
    table.add_column("cost", justify="right", no_wrap=True)
    for item in found.items:
        rented = item.rented
        kind = str(rented.kind).replace("_", " ")
        what = f"{kind}: {rented.name}"
        run = f"{rented.run_id or ('-' if item.standing is Standing.KEPT else '?')}: {standing_words(item)}"
        cells = (what, rented.place, rented.id, rented.state, run, price_words(rented.usd_per_month))
        table.add_row(*map(escape, cells), style="bold" if item.is_machine_without_run else None)
    return table


def _warn(found: Leftovers) -> None:
    """Raises:
    TeardownUnconfirmedError: a machine is billed that no run uses.
    """
    machines = found.machines_without_run
    if machines:
        ids = ", ".join(f"{item.rented.id} ({item.rented.place})" for item in machines)
        raise TeardownUnconfirmedError(
            f"machines without a living run, which ARE BILLED: {ids}",
            hint="`tunefare reconcile --end` or `tunefare panic` ends them; one: `tunefare leftovers --remove ID`",
        )


def _remove(context: Context, item: Leftover, *, yes: bool, as_json: bool) -> int:
    from manager.service.leftover_ends import remove_leftover  # as above

    if not yes:
        _confirm(item)
    removal = remove_leftover(context, item)
    if as_json:
        emit_json(_to_json(removal))
    else:
        emit(f"{item.rented.id}  {'GONE' if removal.is_gone else 'NOT CONFIRMED'}: {removal.told}")
        for command in removal.commands:
            emit(f"    {command}")
    if not removal.is_gone:
        raise TeardownUnconfirmedError(
            f"not confirmed to be gone: {item.rented.id}: MAY STILL BE BILLED", hint="type the command above"
        )
    return ExitCode.DONE


def _confirm(item: Leftover) -> None:
    """Raises:
    UsageError: nobody can answer.
    typer.Abort: the answer was no.
    """
    from manager.service.leftover_words import price_words, standing_words  # as above

    rented = item.rented
    narrate(f"{str(rented.kind).replace('_', ' ')} {rented.id}: {rented.name} in {rented.place}, {rented.state}")
    narrate(f"{rented.run_id or '-'}: {standing_words(item)}; {price_words(rented.usd_per_month)}")
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing is removed without a confirmation, and standard input is no terminal", hint="add --yes"
        )
    typer.confirm("remove it for good?", abort=True, err=True)


def _to_json(removal: Removal) -> dict[str, object]:
    return {
        "schema": 1,
        "type": "removal",
        "id": removal.leftover.rented.id,
        "run_id": removal.leftover.rented.run_id,
        "gone": removal.is_gone,
        "told": removal.told,
        "commands": list(removal.commands),
    }
