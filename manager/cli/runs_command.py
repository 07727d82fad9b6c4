"""`show`, `logs`, `stop`, `reconcile`: the runs that the ledger knows; their list is `run_list_command`."""

from __future__ import annotations

from typing import Annotated

import typer

from manager.cli.output import emit, emit_json, narrate
from manager.cli.run_list_command import runs
from manager.errors import EngineError, ExitCode, InterruptedRunError, TeardownUnconfirmedError
from manager.runs.states import MAY_BILL, RunState
from manager.service.context import Context, open_context

RunArgument = Annotated[str, typer.Argument(help="Run id, or its unique beginning.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("runs")(runs)
    app.command("show")(show)
    app.command("logs")(logs)
    app.command("stop")(stop)
    app.command("reconcile")(reconcile)


def show(
    run: RunArgument,
    live: Annotated[
        bool, typer.Option("--live", help="How it stands now: phases, dollars, what is ahead, newest figures.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """One run: state, history, charges, evidence of teardown."""
    from manager.service.inspection import find_run, run_json  # the ledger's libraries, only here
    from manager.units import format_seconds, format_usd

    context = open_context()
    if live:
        return _show_live(context, run, as_json=as_json)
    record = find_run(context, run)
    if as_json:
        emit_json(run_json(context, record))
        return ExitCode.DONE
    emit(f"{record.run_id}  {record.state}  {format_usd(record.cost_usd)}")
    emit(f"folder: {record.run_dir}")
    for change in record.history:
        emit(f"  {_utc(change.at_s)}  {change.state}{f'  {change.detail}' if change.detail else ''}")
    for attempt in record.failed_attempts:
        emit(f"  no capacity: {attempt}")
    for charge in record.charges:
        emit(f"  {format_usd(charge.amount_usd)}  {charge.what}, {format_seconds(charge.to_s - charge.from_s)}")
    for evidence in record.evidence:
        word = "gone" if evidence.confirmed else "NOT CONFIRMED"
        emit(f"  {_utc(evidence.asked_at_s)}  {word}: {evidence.answer} ({evidence.source})")
    return ExitCode.DONE


def _show_live(context: Context, run: str, *, as_json: bool) -> int:
    from manager.service.live import live_run  # as above
    from manager.service.live_run import live_to_json
    from manager.service.live_words import live_lines

    found = live_run(context, run)
    if as_json:
        emit_json(live_to_json(found))
    else:
        for line in live_lines(found):
            emit(line)
    return ExitCode.DONE


def logs(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    events: Annotated[bool, typer.Option("--events", help="The events of the ledger, one JSON object a line.")] = False,
) -> int:
    """The log of a run: what the training program and the machine printed."""
    from manager.service.inspection import event_lines, log_lines  # the ledger's libraries, only here

    context = open_context()
    told = False
    for line in event_lines(context, run) if events else log_lines(context, run, follow=follow):
        emit(line)
        told = True
    if not told and not events:
        narrate("the run has printed nothing but events: `tunefare logs RUN --events` shows them")
    return ExitCode.DONE


def stop(
    run: RunArgument,
    now: Annotated[bool, typer.Option("--now", help="Kill the task at once, without a checkpoint.")] = False,
) -> int:
    """Save a checkpoint, end the run, take the machine down."""
    # The ledger's and the engines' libraries: `--help` must not wait for them.
    from manager.cli.live_view import LiveView
    from manager.service.recovery import stop_run

    with LiveView(steps=None, as_json=False) as view:
        record = stop_run(open_context(), run, on_update=view.update, now=now)
    narrate(f"{record.run_id}: {record.state}")
    if record.state in (RunState.RUNNING, RunState.STOPPING, RunState.TEARING_DOWN):
        raise EngineError(
            f"{record.run_id} was asked to stop and has not ended yet: {str(record.state).replace('_', ' ')}",
            hint=f"look again: `tunefare show {record.run_id}`; if its client hangs, end it, then `tunefare reconcile`",
        )
    if record.state in MAY_BILL:
        raise _unconfirmed([record.run_id])
    return ExitCode.DONE


def reconcile(
    runs: Annotated[list[str] | None, typer.Argument(help="Run ids or their beginnings; none: all.")] = None,
    end: Annotated[bool, typer.Option("--end", help="End what still runs instead of following it.")] = False,
) -> int:
    """Compare the ledger with what is really there: adopt or end runs whose client has died, and machines of none."""
    # The ledger's and the engines' libraries: `--help` must not wait for them.
    from manager.cli.live_view import LiveView
    from manager.service.recovery import reconcile_runs

    context = open_context()
    with LiveView(steps=None, as_json=False) as view:
        results = reconcile_runs(context, runs or None, end=end, on_update=view.update)
    if not results:
        narrate("nothing to reconcile: no run may still be billed")
    left = () if runs else _reconcile_providers(context, end=end)
    for result in results:
        state = result.outcome.record.state if result.outcome else "unchanged"
        reason = f": {result.error.message}" if result.error else ""
        narrate(f"{result.run_id}: {str(result.action).replace('_', ' ')}, {state}{reason}")
    open_runs = [
        result.run_id
        for result in results
        if result.error is not None or (result.outcome is not None and result.outcome.record.state in MAY_BILL)
    ]
    for result in results:
        if isinstance(result.error, InterruptedRunError):
            raise result.error
    if open_runs or left:
        raise _unconfirmed([*open_runs, *left])
    return ExitCode.DONE


def _reconcile_providers(context: Context, *, end: bool) -> tuple[str, ...]:
    """Machines that only a provider knows: ended, or told; those that are left, and places that did not answer."""
    from manager.service.leftover_ends import reconcile_providers  # as above

    found, removals = reconcile_providers(context, end=end, tell=narrate)
    gone = {removal.leftover.rented.id for removal in removals if removal.is_gone}
    left = [item.rented for item in found.machines_without_run if item.rented.id not in gone]
    for rented in left:
        narrate(f"{rented.told}, {rented.name}, is used by no run of this ledger; to end it: {rented.remove_command}")
    for place in found.silent_of_runs:
        narrate(f"{place} did not answer: {found.silent[place]}")
    return (*(f"{rented.id} ({rented.place})" for rented in left), *found.silent_of_runs)


def _unconfirmed(runs: list[str]) -> TeardownUnconfirmedError:
    return TeardownUnconfirmedError(
        f"not confirmed to be gone: {', '.join(runs)}",
        hint="these may still be billed: look at the provider's console, then run `tunefare reconcile` again",
    )


def _utc(time_s: float) -> str:
    from datetime import UTC, datetime  # only for tables

    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
