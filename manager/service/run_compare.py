"""Marked runs side by side, for front ends; the same runs as a report of several are `tunefare report RUN RUN`."""

from __future__ import annotations

from collections.abc import Sequence

from manager.reports.offer_compare import ComparedRow
from manager.reports.run_compare import compare_runs
from manager.service.context import Context
from manager.service.reporting import build_reports

__all__ = ["ComparedRow", "runs_side_by_side"]


def runs_side_by_side(context: Context, run_ids: Sequence[str]) -> tuple[ComparedRow, ...]:
    """One row a property, one cell a run, in the order of the names.

    Raises:
        UsageError: no such run.
        StateError: the ledger cannot be read.
    """
    return compare_runs(build_reports(context, run_ids))
