"""Runs of other processes: stop them; adopt or end those whose client has died."""

from __future__ import annotations

from manager.runs.reconcile import Reconciled, reconcile, stop
from manager.runs.records import RunRecord
from manager.runs.updates import OnUpdate
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.running import engines, supervise_settings


def stop_run(context: Context, run: str, *, on_update: OnUpdate) -> RunRecord:
    """Save a checkpoint, end the run, take its machine down; returns when that is done.

    Raises:
        UsageError: no such run.
        StateError: its client does not obey in time.
    """
    with open_ledger(context) as ledger, engines() as known:
        return stop(run, ledger, known, context.clock, on_update, settings=supervise_settings(context))


def reconcile_runs(
    context: Context, runs: list[str] | None, *, end: bool, on_update: OnUpdate
) -> tuple[Reconciled, ...]:
    """Bring runs (None: all) that may be billed and have no client to their end, with all events and evidence."""
    settings = supervise_settings(context)
    with open_ledger(context) as ledger, engines() as known:
        return reconcile(ledger, known, context.clock, on_update, run_ids=runs, end=end, settings=settings)
