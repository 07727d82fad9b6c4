"""What own finished runs have reached: scores on the test split, by the job that was run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manager.runs.records import RunEvents
from manager.runs.states import RunState
from manager.service.context import Context
from manager.spec.model import RunSpec
from manager.workload.profile import DataStats


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnScore:
    """One finished run's score."""

    run_id: str
    spec: RunSpec
    data_sha256: str | None
    """Of the data as it was planned; None: not known."""
    baseline: float | None
    """Of the untouched model; with a new head that is chance, and no present solution."""
    tuned: float

    def is_of(self, spec: RunSpec, data: DataStats | None) -> bool:
        """Whether the run tuned the same model in the same way on the same data; hyper-parameters may differ."""
        mine, other = self.spec, spec
        same = (mine.task, mine.model, mine.data, mine.method.kind) == (
            other.task,
            other.model,
            other.data,
            other.method.kind,
        )
        known = data is not None and data.sha256 is not None and self.data_sha256 is not None
        return same and (not known or data is None or data.sha256 == self.data_sha256)


def own_scores(context: Context, metric: str) -> Sequence[OwnScore]:
    """Of all runs that succeeded and measured this metric; empty before the first run."""
    if not context.has_ledger:
        return ()
    from manager.service.inspection import (
        open_ledger,  # The ledger's libraries: the first question has no use for them.
    )

    with open_ledger(context) as ledger:
        runs = [ledger.run_events(run_id) for run_id in ledger.run_ids((RunState.SUCCEEDED,))]
    return tuple(score for run in runs if (score := _score(run, metric)) is not None)


def _score(run: RunEvents, metric: str) -> OwnScore | None:
    from manager.reports.quality import read_scores  # As above.

    found = next((score for score in read_scores(run.events) if score.metric == metric), None)
    if found is None or found.tuned is None:
        return None
    plan = run.record.plan
    return OwnScore(
        run_id=run.record.run_id,
        spec=plan.spec,
        data_sha256=plan.profile.data.sha256,
        baseline=found.baseline,
        tuned=found.tuned,
    )
