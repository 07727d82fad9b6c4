"""Runs of other processes: stop them; adopt or end those whose client has died."""

from __future__ import annotations

from manager.runs.reconcile import Reconciled, reconcile, stop
from manager.runs.records import RunRecord
from manager.runs.updates import OnUpdate
from manager.service.context import Context
from manager.service.inspection import open_ledger
from manager.service.running import engines, supervise_settings
from manager.service.staging import settle_bucket


def stop_run(context: Context, run: str, *, on_update: OnUpdate, now: bool = False) -> RunRecord:
    """Save a checkpoint, end the run, take its machine down; returns when that is done.

    Args:
        context: surroundings.
        run: id or its unique beginning.
        on_update: called for every change where this process has to end the run, since it has no client.
        now: kill the task at once, without a checkpoint.

    Raises:
        UsageError: no such run.
        StateError: its client does not obey in time.
    """
    with open_ledger(context) as ledger, engines() as known:
        detail = "tunefare stop --now" if now else "tunefare stop"
        settings = supervise_settings(context)
        return stop(run, ledger, known, context.clock, on_update, detail=detail, now=now, settings=settings)


def reconcile_runs(
    context: Context, runs: list[str] | None, *, end: bool, on_update: OnUpdate
) -> tuple[Reconciled, ...]:
    """Bring runs (None: all) that may be billed and have no client to their end, with all events and evidence."""
    settings = supervise_settings(context)
    with open_ledger(context) as ledger, engines() as known:
        results = reconcile(ledger, known, context.clock, on_update, run_ids=runs, end=end, settings=settings)
    for result in results:
        if result.outcome is not None and result.outcome.error is None:
            settle_bucket(result.run_id, result.outcome.record.run_dir, on_update)
    return results
