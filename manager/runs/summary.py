"""Each run in one line, for lists: read from what the ledger keeps for them, never from plans, all charges or events.

A run that an older client wrote meanwhile stands there too: what lists need of it is then unknown (None), but for its
state and its cost, which are always those of its newest rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any

from manager.runs.bills import bill_of
from manager.runs.database import Database
from manager.runs.milestones import Milestone, holding_seqs
from manager.runs.rows import money_from_text, money_to_text, offer_from_json
from manager.runs.states import MAY_BILL, RunState
from manager.units import SECONDS_PER_HOUR, MoneyInterval
from tasks.kinds import headline_metric
from tasks.protocol import EvaluationStage

Scores = tuple[dict[str | None, float | None], dict[str | None, float | None]]
"""Metrics on the test split: of the untouched model, and of the weights that were kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run as a list shows it; None is unknown, never 0."""

    run_id: str
    name: str | None
    """Of the run file; None where an old plan cannot be read, as for the next four."""
    project: str | None
    """None too where the run file names none."""
    task: str | None
    model: str | None
    method: str | None
    steps: int | None
    """Planned optimizer steps."""
    engine: str | None
    user: str | None
    """Who launched it; None: nobody knows."""
    state: RunState
    created_at_s: float
    changed_at_s: float
    """When it entered its state; Unix times in seconds."""
    has_client: bool | None
    """Whether the process that supervises it lives; None for runs that are over, and where nobody looked."""
    machine: str | None
    """Cloud and machine in a few words, as taken, before a launch as planned; None: nothing was chosen."""
    price_usd_per_hour: Decimal | None
    """Of that; None: unknown."""
    is_launched: bool
    """Whether the machine was taken."""
    estimate: MoneyInterval | None
    """The plan's whole bill on this machine."""
    estimated_machine_usd: Decimal | None
    """Of that what is expected for the machine alone: what the cost can be compared with."""
    cost_usd: Decimal | None
    """Sum of the charges; None: one of them is unknown; 0 before the first."""
    billed_hours: float | None
    """None before the first charge."""
    cap_usd: Decimal | None
    """None: none."""
    metric: str | None
    """What before and after are: accuracy, or perplexity of language models."""
    metric_before: float | None
    """Of the untouched model, on the test split."""
    metric_after: float | None
    """Of the weights that were kept, on the test split."""
    evidence_confirmed: bool | None
    """The provider's last answer: whether nothing is left; None: it was never asked."""

    @property
    def may_bill(self) -> bool:
        """Whether a machine may be billed at this moment."""
        return self.state in MAY_BILL

    @property
    def cost_ratio(self) -> float | None:
        """Cost over what was estimated for the machine; None while the run goes on, and where it did not come to the
        end that was planned: then it is no test of the estimate."""
        if self.state is not RunState.SUCCEEDED or self.cost_usd is None or not self.estimated_machine_usd:
            return None
        return float(self.cost_usd / self.estimated_machine_usd)


_ONLY = "run_id IN (SELECT value FROM json_each(?))"
_NEWEST = "SELECT max(id) FROM {table} WHERE run_id = r.run_id"
_SUMMARIES = f"""
    SELECT r.run_id, f.name, f.project, f.task, f.model, f.method, f.steps, f.engine, f.user_name,
        s.state, coalesce(f.created_at_s, (SELECT created_at_s FROM runs WHERE run_id = r.run_id)), s.at_s,
        e.machine, e.price_usd_per_hour, e.usd_low, e.usd_expected, e.usd_high, e.machine_usd,
        l.run_id IS NOT NULL, CASE WHEN l.offer_json = e.offer_json THEN NULL ELSE l.offer_json END,
        b.billed_s, b.cost_usd, f.cap_usd, v.confirmed,
        coalesce(b.charge_id, 0) = coalesce(({_NEWEST.format(table="charges")}), 0)
    FROM (SELECT run_id FROM runs WHERE {{only}}) r
    LEFT JOIN run_facts f ON f.run_id = r.run_id
    JOIN state_changes s ON s.id = ({_NEWEST.format(table="state_changes")})
    LEFT JOIN estimates e ON e.id = ({_NEWEST.format(table="estimates")})
    LEFT JOIN launches l ON l.run_id = r.run_id
    LEFT JOIN evidence v ON v.id = ({_NEWEST.format(table="evidence")})
    LEFT JOIN bills b ON b.run_id = r.run_id
        AND b.charge_id = (SELECT max(charge_id) FROM bills WHERE run_id = r.run_id)"""
# A start as the first event is no resume.
_MILESTONES = """
    SELECT run_id, seq, type, stage, step, values_json FROM milestones
    WHERE {only} AND ((stage IS NULL AND seq > 0) OR stage != 'interval') ORDER BY run_id, seq"""
_json_at = json.JSONDecoder().raw_decode


def read_summaries(db: Database, only: Collection[str] | None = None) -> list[RunSummary]:
    """The runs in no order; the caller holds the transaction. `has_client` is None of all.

    Args:
        db: a ledger.
        only: names of those that are read; None: all.
    """
    which, names = ("1 = 1", ()) if only is None else (_ONLY, (json.dumps(list(only)),))
    milestones = db.execute(_MILESTONES.format(only=which), names).fetchall()
    scores = {run_id: _scores(list(rows)) for run_id, rows in groupby(milestones, key=itemgetter(0))}
    none: Scores = ({}, {})
    rows = db.execute(_SUMMARIES.format(only=which), names).fetchall()
    return [_summary(db, row, scores.get(row[0], none)) for row in rows]


def _summary(db: Database, row: tuple[Any, ...], scores: Scores) -> RunSummary:
    (run_id, name, project, task, model, method, steps, engine, user, state, created_at_s, changed_at_s) = row[:12]
    machine, price_usd, low, expected, high, machine_usd = row[12:18]
    is_launched, other_offer_json, billed_s, cost_usd, cap_usd, confirmed, is_billed = row[18:]
    if other_offer_json is not None:  # a client of an older version launched it: the figures are of another offer
        taken = offer_from_json(other_offer_json)
        machine, price_usd = taken.short_name, money_to_text(taken.price_usd_per_hour)
        low = machine_usd = None
    cost = Decimal(0) if billed_s is None else money_from_text(cost_usd)
    if not is_billed:
        bill = bill_of(db, run_id)
        cost, billed_s = bill.cost_usd, bill.billed_s
    metric = None if task is None else headline_metric(task)
    return RunSummary(
        run_id=run_id,
        name=name,
        project=project,
        task=task,
        model=model,
        method=method,
        steps=steps,
        engine=engine,
        user=user,
        state=RunState(state),
        created_at_s=created_at_s,
        changed_at_s=changed_at_s,
        has_client=None,
        machine=machine,
        price_usd_per_hour=money_from_text(price_usd),
        is_launched=bool(is_launched),
        estimate=None
        if low is None
        else MoneyInterval(low=Decimal(low), expected=Decimal(expected), high=Decimal(high)),
        estimated_machine_usd=money_from_text(machine_usd),
        cost_usd=cost,
        billed_hours=None if billed_s is None else billed_s / SECONDS_PER_HOUR,
        cap_usd=money_from_text(cap_usd),
        metric=metric,
        metric_before=scores[0].get(metric),
        metric_after=scores[1].get(metric),
        evidence_confirmed=None if confirmed is None else bool(confirmed),
    )


def _scores(rows: list[tuple[Any, ...]]) -> Scores:
    """From the milestones of one run."""
    milestones = [Milestone._make(row[1:5]) for row in rows]
    before, after = (holding_seqs(milestones, stage) for stage in (EvaluationStage.BASELINE, EvaluationStage.FINAL))
    return _metrics(rows, before), _metrics(rows, after)


def _metrics(rows: list[tuple[Any, ...]], holding: set[int]) -> dict[str | None, float | None]:
    if not holding:
        return {}
    newest = max(holding)
    values = next(row[5] for row in rows if row[1] == newest)
    return _json_at(values)[0] if values else {}
