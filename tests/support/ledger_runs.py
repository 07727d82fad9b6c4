"""Runs of the factory written into a real ledger, row by row as supervision writes them."""

from __future__ import annotations

from manager.launch.engine import Handle, Launched
from manager.runs.records import RunEvents
from manager.runs.states import RunState
from manager.service.context import Context
from manager.service.inspection import open_ledger


def keep_runs(context: Context, *runs: RunEvents) -> None:
    """Write these runs; the ledger is created where there is none."""
    with open_ledger(context) as ledger:
        for run in runs:
            record = run.record
            ledger.create_run(
                record.run_id, record.plan, record.run_dir, record.engine, record.cap_usd, record.created_at_s
            )
            for change in record.history[1:]:
                if change.state is RunState.RUNNING and record.offer and record.billing_started_at_s is not None:
                    launched = Launched(
                        handle=Handle(
                            engine=record.engine, run_dir=str(record.run_dir), name=record.run_id, details={}
                        ),
                        offer=record.offer,
                        billing_started_at_s=record.billing_started_at_s,
                        failed_attempts=record.failed_attempts,
                    )
                    ledger.store_launched(record.run_id, launched, change.at_s)
                if change is record.history[-1]:
                    ledger.append_events(record.run_id, run.events)
                    for charge in record.charges:
                        ledger.add_charge(record.run_id, charge)
                    for evidence in record.evidence:
                        ledger.add_evidence(record.run_id, evidence)
                ledger.transition(record.run_id, change.state, change.at_s, change.detail)
