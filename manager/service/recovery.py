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
    with open_ledger(context) as ledger:
        return stop(run, ledger, engines(), context.clock, on_update, settings=supervise_settings(context))


def reconcile_runs(context: Context, *, end: bool, on_update: OnUpdate) -> tuple[Reconciled, ...]:
    """Bring every run that may be billed and has no client to its end, with all its events and evidence."""
    with open_ledger(context) as ledger:
        return reconcile(ledger, engines(), context.clock, on_update, end=end, settings=supervise_settings(context))
